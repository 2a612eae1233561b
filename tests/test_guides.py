"""What the guides tell people to type runs, what they tell them to write is valid, and all of them are in the site.

A fence marked `sh` is run, line by line, in a folder of its own; one marked `bash` is not (it needs the network, a
cluster or the reader's own files), but its options are checked. A `yaml` or `python` fence is written to a file where
its first line or the line above names one; other Python is run.
"""

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
import typer

from pipeline.cli.app import app, main
from pipeline.config.config import load_config
from pipeline.config.yaml import parse_yaml
from tests.once import made_once
from tests.paths import ROOT
from tests.pipeline.small_corpora import tone

DOCS = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md"]
GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))
# Programs whose lines in `sh` fences are not run, and why.
EXCEPTIONS = {
    "make": "its targets are checked against the Makefile below",
    "pip": "needs a package index",
    "hear-validator": "a tool of others, not installed here",
}
_FENCE = re.compile(r"^(?P<above>[^\n]*)\n(?:\n)?```(?P<language>\w*)\n(?P<text>.*?)^```", re.DOTALL | re.MULTILINE)
_NAME = r"[\w-]+\.(?:py|yaml|csv)"


@dataclass(frozen=True)
class Fence:
    language: str
    text: str
    file: str  # which it is to be written to; empty: none

    @classmethod
    def all_of(cls, path: Path) -> list["Fence"]:
        found = []
        for fence in _FENCE.finditer(path.read_text(encoding="utf-8")):
            own = re.match(rf"# ({_NAME})\n", fence["text"])
            above = re.search(rf"`({_NAME})`[^`]*:$", fence["above"])
            named = own or (above if fence["language"] in ("python", "yaml") else None)
            found.append(cls(fence["language"], fence["text"], named[1] if named else ""))
        return found

    def commands(self) -> list[str]:
        lines = self.text.replace("\\\n", " ").splitlines()
        return [line for line in lines if line.strip() and not line.startswith("#")]


def make_sounds(folder: Path) -> None:
    """`my-sounds/` with six tones of each of three classes."""
    for number, label in enumerate(("low", "mid", "high")):
        for take in range(6):
            tone(folder / "my-sounds" / label / f"{take}.wav", 300 + 300 * number, 0.5, 16_000, 10 * number + take)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder `runs` of the config that `init` writes for `my-sounds/`."""

    def make(folder: Path) -> None:
        make_sounds(folder)
        with contextlib.chdir(folder):
            assert [run("audioheads init my-sounds"), run("audioheads run my-sounds.yaml")] == [0, 0]

    return made_once(tmp_path_factory, "guides", make) / "runs"


@pytest.fixture
def world(tmp_path, monkeypatch, global_state):
    """What a reader is taken to have: a folder of sounds, the command, and this project's modules."""
    monkeypatch.chdir(tmp_path)
    make_sounds(tmp_path)
    command = tmp_path / "bin" / "audioheads"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pipeline.cli "$@"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    paths, modules = sys.path[:], {*sys.modules}
    yield tmp_path
    sys.path[:] = paths  # a config's own code is found through it; other tests have code of the same name
    for name in {*sys.modules} - modules:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


def run(line: str) -> int:
    """One command: ours in this process, others (and pipes) in a shell."""
    words = shlex.split(line, comments=True)
    if words[0] in EXCEPTIONS:
        return 0
    if words[0] != "audioheads" or any(mark in line for mark in "|<>;&$"):
        line = re.sub(r"^python ", f"{shlex.quote(sys.executable)} ", line)
        return subprocess.run(line, shell=True, check=False).returncode
    with pytest.raises(SystemExit) as end:
        main(words[1:])
    return int(end.value.code or 0)


@pytest.mark.docs
@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.stem)
def test_what_a_guide_says_runs(path: Path, world: Path, request, capfd: pytest.CaptureFixture[str]) -> None:
    if "\naudioheads init my-sounds\n" in path.read_text(encoding="utf-8"):
        # Heads that several guides train are there already; what differs from them is trained.
        shutil.copytree(request.getfixturevalue("trained"), world / "runs")
    names: dict[str, object] = {}
    for fence in Fence.all_of(path):
        if fence.file:
            (world / fence.file).write_text(fence.text, encoding="utf-8")
        elif fence.language == "python":
            exec(fence.text, names)
        elif fence.language == "sh":
            for line in fence.commands():
                assert run(line) == 0, f"{line}\n{capfd.readouterr().err}"


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.stem)
def test_configs_are_valid(path: Path, tmp_path: Path) -> None:
    for fence in Fence.all_of(path):
        if fence.language == "yaml":
            values = parse_yaml(fence.text)
            assert isinstance(values, dict), fence.text
            if "dataset" in values:
                (tmp_path / "config.yaml").write_text(fence.text, encoding="utf-8")
                load_config(tmp_path / "config.yaml")


def ours(path: Path) -> list[list[str]]:
    """The words of every line in a fence that begins with our command."""
    lines = [line for fence in Fence.all_of(path) if fence.language in ("sh", "bash") for line in fence.commands()]
    found = (re.search(r"(?:^|\s|/)audioheads (.*)", line) for line in lines)
    return [shlex.split(re.split(r"[|>&;]", match[1])[0], comments=True) for match in found if match]


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.stem)
def test_commands_and_options_exist(path: Path) -> None:
    for words in ours(path):
        command: click.Command = typer.main.get_command(app)
        rest = list(words)
        while hasattr(command, "commands"):
            assert rest and rest[0] in command.commands, words
            command = command.commands[rest.pop(0)]
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        for word in rest:
            assert word == "-" or not word.startswith("-") or word.partition("=")[0] in {*known, "--help"}, (
                word,
                words,
            )


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.stem)
def test_make_targets_exist(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    lines = [line for fence in Fence.all_of(path) if fence.language in ("sh", "bash") for line in fence.commands()]
    for line in lines:
        if line.startswith("make "):
            assert shlex.split(line, comments=True)[1] in targets, line


def test_the_fences_are_found() -> None:
    fences = {path.stem: Fence.all_of(path) for path in GUIDES}
    own = [(fence.language, fence.file) for fence in fences["own-folder"]]
    assert own[:3] == [("", ""), ("python", "make_sounds.py"), ("sh", "")]
    for path in GUIDES:
        text = path.read_text(encoding="utf-8")
        assert len(re.findall(r"^```\w+$", text, flags=re.MULTILINE)) == sum(
            bool(f.language) for f in fences[path.stem]
        )
