"""Text is printed without markup, wrapped only on a terminal, with progress bars only there."""

import io
import re
import sys
import time

import pytest
from rich.console import Console as RichConsole

from pipeline import console as console_module
from pipeline.console import Console


def test_lines_and_tables_are_neither_wrapped_nor_read_as_markup(capsys):
    console = Console()
    long = "cache/[red]x[/red]/" + "very-" * 60 + ":smile: [/]"
    console.line(long)
    console.table(("path", "n"), [(long, 3)], right=("n",), title="[b]title[/b]")
    out = capsys.readouterr().out.splitlines()
    assert out[0] == long
    assert out[1].strip() == "[b]title[/b]"
    assert out[3].split(" ", 1)[0] == long.split(" ", 1)[0]
    assert out[3].split()[-1] == "3"
    assert len(out) == 4


def test_a_narrow_terminal_keeps_names_whole_and_reports_dropped_columns():
    console = Console()
    console.out = RichConsole(file=io.StringIO(), force_terminal=True, width=40, markup=False, color_system=None)
    columns = ("model", "weights", "accuracy", "dim", "train s")
    rows = [("wav2vec2-base-960h", "pretrained:facebook/wav2vec2-base-960h", "0.912", 768, "3.1")]
    spare = ("dim", "train s", "weights")
    assert console.table(columns, rows, foldable=["weights"], spare=spare) == list(spare)
    console.out.width = 64
    assert console.table(columns, rows, foldable=["weights"], spare=spare) == ["dim", "train s"]
    console.out.width = 200
    assert console.table(columns, rows, foldable=["weights"], spare=spare) == []
    lines = console.out.file.getvalue().splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["model", "wav2vec2-base-960h", "model"]
    assert all("wav2vec2-base-960h" in lines[at] and "0.912" in lines[at] for at in (1, 3, len(lines) - 1))


def test_notes_and_errors_go_to_stderr(capsys):
    console = Console()
    console.note("[a] note")
    console.error("[b] error")
    assert capsys.readouterr() == ("", "[a] note\n[b] error\n")


def test_progress_is_counted_without_a_terminal(capsys):
    with Console().progress("features mfcc", total=10) as work:
        work.advance(3, audio_s=1.5)
        work.advance(2, audio_s=0.5, failures=1)
    assert (work.done, work.audio_s, work.failures) == (5, 2.0, 1)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("total", [4, None])
def test_a_terminal_gets_counts_rates_and_failures(total):
    console = Console()
    console.err = RichConsole(file=io.StringIO(), force_terminal=True, width=160, markup=False)
    with console.progress("features [mfcc]", total=total) as work:
        work.advance(4, audio_s=8.0, failures=2)
        work.bar.refresh()
    shown = console.err.file.getvalue()
    for words in ("features [mfcc]", "4/4 clips" if total else "4 clips", "clips/s", "s audio/s", "2 failed"):
        assert words in shown


def test_binds_to_the_current_streams(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    Console().line("ü")
    assert stream.getvalue() == "ü\n"


def _wait_for(read, text):
    """Wait until `text` was printed; return all output so far."""
    printed = ""
    while text not in printed:
        printed += read()
        time.sleep(0.005)
    return printed


def test_a_long_task_prints_lines_away_from_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(console_module, "LINE_EVERY_S", 0.02)
    with Console().progress("features mfcc", total=10) as work:
        work.advance(3, audio_s=1.5, failures=1)
        line = _wait_for(lambda: capsys.readouterr().err, "so far")
    assert re.match(
        r"features mfcc: 3/10 clips, \S+ clips/s, \S+ s audio/s, 1 failed; less than a minute so far\n", line
    )


def test_short_tasks_in_turn_print_lines_too(capsys, monkeypatch):
    console = Console()
    monkeypatch.setattr(console_module, "LINE_EVERY_S", 0.2)
    printed = ""
    while "so far" not in printed:  # no task lasts long enough for a line of its own
        with console.progress("fit", None, "steps"):
            time.sleep(0.05)
        printed += capsys.readouterr().err
    assert printed.startswith("fit: less than a minute so far\n")


def test_a_line_counts_from_the_last_output(capsys, monkeypatch):
    monkeypatch.setattr(console_module, "LINE_EVERY_S", 3600.0)
    with Console().progress("fit", None):
        time.sleep(0.05)
    assert capsys.readouterr().err == ""


def on_terminal(**options):
    """A console whose outputs are terminals, and what it printed to both."""
    console, printed = Console(), io.StringIO()
    console.out = console.err = RichConsole(file=printed, force_terminal=True, width=120, markup=False, **options)
    return console, printed


def print_colours(console):
    console.warning("few groups")
    rows = [("a", "pretrained:x", "best"), ("b", "untrained", ""), ("c", "none", "tied")]
    console.table(("model", "weights", "best"), rows)


def test_best_untrained_and_warnings_have_a_colour_on_a_terminal():
    console, printed = on_terminal(color_system="standard")
    print_colours(console)
    warning, _, *rows = printed.getvalue().splitlines()
    assert warning.startswith("\x1b[33mwarning: few groups")
    assert [re.findall(r"\x1b\[(\d\d)m", row)[:1] for row in rows] == [["32"], ["33"], []]


def test_there_are_no_colours_where_nobody_wants_them(capsys, monkeypatch):
    print_colours(Console())
    assert "\x1b" not in "".join(capsys.readouterr())
    monkeypatch.setenv("TERM", "xterm")
    for unwanted in (False, True):
        if unwanted:
            monkeypatch.setenv("NO_COLOR", "1")
        console, printed = on_terminal()
        print_colours(console)
        assert bool(re.findall(r"\x1b\[3\dm", printed.getvalue())) is not unwanted


def test_progress_names_the_part_of_the_work(capsys):
    console = Console()
    with (
        console.stage(2, 3, "train-heads"),
        console.within("model 4 of 9"),
        console.progress("mfcc linear", 10) as work,
    ):
        assert str(work).startswith("stage 2 of 3, model 4 of 9: mfcc linear: 0/10 clips")
    with console.progress("mfcc", 10) as work:
        assert str(work).startswith("mfcc: ")
    assert capsys.readouterr().err == "stage 2 of 3: train-heads\n"
