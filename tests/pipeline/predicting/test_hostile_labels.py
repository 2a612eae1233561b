"""Labels and names from files reach neither the terminal as commands nor a spreadsheet as formulas."""

import csv
import io
import json

import numpy as np

from pipeline.console import Console
from pipeline.predicting.output_formats import Answers, Scored, write

LABELS = ["\x1b[2Jdog", "=cmd|'/C calc'!A0", "\x9bcat"]


def printed(capsysbinary, kind):
    rows = [Scored("-a\nb.wav", np.array([0.5, 0.3, 0.2], np.float32))]
    write(rows, Answers(LABELS, "single-label", 3, np.full(len(LABELS), 0.5)), kind, None)
    return capsysbinary.readouterr().out.decode()


def test_csv_cells_are_neither_escape_sequences_nor_formulas(capsysbinary):
    text = printed(capsysbinary, "csv")
    assert not {"\x1b", "\x9b"} & set(text)
    cells = list(csv.reader(io.StringIO(text)))[1]
    assert cells[:3] == ["'-a\\nb.wav", "\\x1b[2Jdog", "0.5"]
    assert "'=cmd|'/C calc'!A0" in cells


def test_json_lines_keep_the_exact_labels_without_raw_control_characters(capsysbinary):
    text = printed(capsysbinary, "jsonl")
    assert not {"\x1b", "\x9b"} & set(text)
    assert list(json.loads(text)["probabilities"]) == LABELS


def test_the_console_shows_control_characters_as_text(capsys):
    console = Console()
    console.line("a\x1b[31mb")
    console.table(("label",), [("c\x9bd",)])
    console.error("e\x07f")
    found = capsys.readouterr()
    assert "a\\x1b[31mb" in found.out and "c\\x9bd" in found.out and "e\\x07f" in found.err
