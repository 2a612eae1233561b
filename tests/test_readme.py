"""What the README tells people to type and write must be there."""

import re
from pathlib import Path

import pytest
import typer

from pipeline.cli.app import app
from pipeline.config.config import load_config
from tests.paths import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_every_make_target_is_in_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", README, flags=re.MULTILINE))
    assert {"demo", "test", "features", "train-heads", "report"} <= named
    for target in named:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_every_command_is_one_of_the_program() -> None:
    command = typer.main.get_command(app)
    for line in re.findall(r"(?<!import )audioheads ([a-z][a-z -]*[a-z])", README):
        words = line.split()
        known = command.commands
        assert words[0] in known, line
        if hasattr(known[words[0]], "commands") and len(words) > 1:
            assert words[1] in known[words[0]].commands, line


@pytest.mark.parametrize("text", blocks("yaml"))
def test_every_config_in_it_is_valid(text: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    load_config(path)


def test_every_file_it_links_or_names_is_there() -> None:
    for target in [*re.findall(r"\]\(([^)#:]+)\)", README), *re.findall(r"`(configs/[\w-]+\.yaml)`", README)]:
        assert (ROOT / target).exists(), target


def test_its_python_names_what_is_there() -> None:
    import audioheads

    (text,) = blocks("python")
    for name in re.findall(r"\bah\.(\w+)", text):
        assert hasattr(audioheads, name), name
    for name in re.findall(r"results\.(\w+)", text):
        assert hasattr(audioheads.Results, name), name


def test_it_is_short() -> None:
    assert len(README.split()) < 900
