"""Labels that may mean another task get a question, which `dataset.task` answers."""

import json

import pytest

from features.datasets import load_manifest, options_class
from features.datasets.questions import task_question


@pytest.fixture
def ask(tmp_path):
    def ask(labels, kind="csv", **options):
        path = tmp_path / f"clips.{kind}"
        rows = [{"path": f"{number}.wav", "label": label} for number, label in enumerate(labels)]
        quoted = "".join(f'{row["path"]},"{row["label"]}"\n' for row in rows)
        path.write_text("path,label\n" + quoted if kind == "csv" else "".join(json.dumps(row) + "\n" for row in rows))
        given = {"kind": kind, "root": path, **options}
        return task_question(load_manifest(given), options_class(kind)(**given))

    return ask


@pytest.mark.parametrize("separator", [";", ",", " ; "])
def test_lists_of_names(ask, separator):
    question = ask([f"rain{separator}wind", "rain", "wind"])
    assert f"several classes? Labels such as 'rain{separator}wind' are read as one class each" in question
    assert "dataset.task: multi-label" in question
    assert ask(["Siren, civil defense", "Music", "Speech, male"]) == "", "names that contain a comma"


def test_numbers(ask):
    assert ask([str(number % 10) for number in range(30)]) == ""
    assert "quantities? Whole numbers from 3 to 32 are read as 30 classes" in ask([str(n + 3) for n in range(30)])
    assert ask([f"{number}a" for number in range(30)]) == ""


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_no_number_with_decimals_becomes_a_class_silently(ask, kind):
    labels = ["21.0", "34.0"] if kind == "csv" else [21.0, 34.0]
    question = ask(labels, kind)
    assert "Numbers such as '21.0' are read as 2 classes; set dataset.task: regression" in question
    assert ask(labels, kind, task="single-label") == ask(labels, kind, task="regression") == ""


def test_kinds_without_a_task_ask_nothing(tmp_path):
    for number in range(30):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "a.wav").touch()
    given = {"kind": "folder", "root": tmp_path}
    assert task_question(load_manifest(given), options_class("folder")(**given)) == ""
