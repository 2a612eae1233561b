"""The help: a sentence for every command and option, as wide as the terminal, without options that do nothing."""

import pytest
import typer

from pipeline.cli.app import app, main

WITHOUT_EFFECT = ("--device", "--limit", "--strict")


def commands(command, path=()):
    """Yield every command below a group, with its words."""
    for name, below in getattr(command, "commands", {}).items():
        yield (*path, name), below
        yield from commands(below, (*path, name))


EVERY = dict(commands(typer.main.get_command(app)))


@pytest.fixture
def shown(monkeypatch, capsys):
    """Return a function that prints the help of a command at some width, and returns its lines."""

    def show(*words, width=100):
        monkeypatch.setenv("COLUMNS", str(width))
        with pytest.raises(SystemExit) as ended:
            main([*words, "--help"])
        assert ended.value.code == 0
        return capsys.readouterr().out.splitlines()

    return show


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_every_command_and_option_is_explained_in_a_sentence(words):
    texts = {"": EVERY[words].help.split("\n\n")[0]}
    texts |= {parameter.name: parameter.help for parameter in EVERY[words].params if not parameter.hidden}
    for name, text in texts.items():
        assert text and text[0].isupper() and text.rstrip().endswith("."), (name, text)


@pytest.mark.parametrize("width", [60, 140])
def test_the_help_is_as_wide_as_the_terminal(shown, width):
    lines = shown("features", width=width)
    assert max(map(len, lines)) == width
    assert "Repeat it for more values." in " ".join(" ".join(lines).replace("│", " ").split())


def test_commands_and_options_are_grouped(shown):
    lines = shown()
    headings = [line.split("─ ")[1].split(" ─")[0] for line in lines if line.startswith("╭")]
    assert headings == ["Options", "Experiments", "Trained models", "Setup", "Sounds, backbones and cache"]
    assert any("Windows, decisions and events" in line for line in shown("predict"))


def test_brackets_are_not_taken_for_markup(shown):
    text = "\n".join(shown("init"))
    assert "[FOLDER|MANIFEST]" in text
    assert "{group}_{label}_{}.wav" in text


def test_options_without_an_effect_are_not_listed(shown):
    text = " ".join(shown("report"))
    assert not [word for word in WITHOUT_EFFECT if word in text]
    assert "--open" in text


@pytest.mark.parametrize("option", ["--device=cpu", "--limit=3", "--strict"])
def test_an_option_without_an_effect_says_so(option, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["report", "none.yaml", option])
    assert ended.value.code == 2
    name = option.partition("=")[0]
    assert capsys.readouterr().err.splitlines()[0] == f"report: {name} has no effect on this stage"


def test_shells_complete_commands(monkeypatch, capsys):
    monkeypatch.setenv("_AUDIOHEADS_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "audioheads fe")
    monkeypatch.setenv("COMP_CWORD", "1")
    with pytest.raises(SystemExit):
        main([])
    assert capsys.readouterr().out.split() == ["features"]


def test_an_empty_cache_is_an_empty_list(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for command in (["cache", "ls"], ["models", "ls"], ["leaderboard"]):
        with pytest.raises(SystemExit) as ended:
            main(command)
        assert ended.value.code == 0, command
        assert capsys.readouterr().err.startswith("no "), command
