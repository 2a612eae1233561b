"""What `audioheads predict` shows on a terminal."""

import io

import numpy as np
import pytest
from rich.console import Console as RichConsole

from heads.evaluation.decisions.operating_points import Rule
from pipeline.console import Console
from pipeline.predicting.command import OutputOptions
from pipeline.predicting.fitted import AveragedPoint
from pipeline.predicting.output_formats import Answers, Scored
from pipeline.predicting.shown_rows import show

LABELS = ["dog", "cat", "owl"]


def shown(rows, answers, width=80):
    console = Console()
    console.out = RichConsole(file=io.StringIO(), width=width, markup=False, highlight=False)
    show(rows, answers, console)
    return [line.split() for line in console.out.file.getvalue().splitlines()]


def scored(name, *outputs, **more):
    return Scored(name, np.array(outputs, np.float32), **more)


def test_the_first_class_and_its_probability_are_shown_and_failed_clips_are_not():
    answers = Answers(LABELS, "single-label", 3, np.full(3, 0.5))
    rows = [scored("a.wav", 0.1, 0.7, 0.2), Scored("bad.wav", None, error="empty"), scored("b.wav", 1, 0, 0)]
    assert shown(rows, answers) == [["file", "label", "score"], ["a.wav", "cat", "0.700"], ["b.wav", "dog", "1.000"]]
    assert shown(rows[1:2], answers) == []


def test_windows_have_their_times():
    answers = Answers(LABELS, "single-label", 3, np.full(3, 0.5))
    rows = shown([scored("a.wav", 0.1, 0.7, 0.2, start_s=0.0, end_s=2.5)], answers)
    assert rows == [["file", "start", "s", "end", "s", "label", "score"], ["a.wav", "0.00", "2.50", "cat", "0.700"]]


def test_several_labels_are_listed_with_the_highest_probability():
    answers = Answers(LABELS, "multi-label", 3, np.full(3, 0.5))
    rows = shown([scored("a.wav", 0.8, 0.1, 0.6), scored("b.wav", 0.1, 0.2, 0.3)], answers)
    assert rows[1:] == [["a.wav", "dog,", "owl", "0.800"], ["b.wav", "none", "0.300"]]


def test_a_decision_replaces_the_label():
    point = AveragedPoint(Rule("min_precision", 0.9, below="unsure"), np.array([0.9, 0.6, 0.9]))
    answers = Answers(LABELS, "single-label", 3, np.full(3, 0.5), point)
    rows = shown([scored("a.wav", 0.1, 0.7, 0.2), scored("b.wav", 0.6, 0.3, 0.1)], answers)
    assert rows == [["file", "decision", "score"], ["a.wav", "cat", "0.700"], ["b.wav", "unsure", "0.600"]]


def test_numbers_are_shown_with_four_digits():
    answers = Answers([], "regression", 1, np.zeros(0))
    assert shown([scored("a.wav", 12.34567)], answers) == [["file", "value"], ["a.wav", "12.35"]]


@pytest.mark.parametrize("option", [{"format": "csv"}, {"top_k": 5}, {"top_k": 0}])
def test_requested_formats_and_classes_are_written_in_full(option):
    assert OutputOptions().is_short
    assert not OutputOptions(**option).is_short
