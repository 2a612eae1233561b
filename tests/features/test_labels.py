"""Labels: one class, several classes or a number, inferred from the cells."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.datasets import load_manifest
from features.errors import ManifestError
from features.labels import read_label, similar_labels, similar_labels_text, task_of
from features.manifest import Manifest


def manifest(labels, task=None, root="."):
    ids = [f"c{row}.wav" for row in range(len(labels))]
    return Manifest("toy", root, pd.DataFrame({"id": ids, "path": ids, "label": pd.Series(labels, dtype=object)}), task)


@pytest.mark.parametrize(
    ("labels", "task"),
    [
        (["dog", "1.5"], "single-label"),
        ([1, 2, 10], "single-label"),
        ([1.0, 2.0], "single-label"),
        ([1, 2.5], "regression"),
        ([np.float32(0.5), 3], "regression"),
        ([True, False], "single-label"),
        (["1.5", "2.5"], "single-label"),
        ([["dog"], []], "multi-label"),
        ([("dog",), np.array(["rain", "sea"])], "multi-label"),
    ],
)
def test_the_task_is_found_from_the_cells(labels, task):
    assert task_of(labels) == manifest(labels).task == task


def test_multi_labels_are_sorted_distinct_text_and_may_be_none():
    clips = manifest([["rain", "dog", "rain"], [], [2, "dog"]])
    assert clips.clips["label"].tolist() == [("dog", "rain"), (), ("2", "dog")]
    assert clips.labels == ["2", "dog", "rain"]


def test_numbers_are_floats_and_have_no_classes():
    clips = manifest([1, 2.5])
    assert clips.clips["label"].dtype == np.float64 and clips.labels == []
    assert manifest([1, 2], "regression").clips["label"].tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([["dog"], "rain"], r"row 1 has the label \['dog'\] and row 2 'rain'; write a list in every row"),
        ([["dog"], None], "row 2 has no label"),
        ([[], []], "every clip's list of labels is empty"),
        ([["dog", " "]], r"contains ' ' instead of a class name"),
        ([["dog", ["rain"]]], r"contains \['rain'\] instead of a class name"),
        ([["a\0b"]], "not UTF-8"),
        ([0.5, float("nan")], "row 2 has no label"),
        ([0.5, float("inf")], "row 2 has the label inf, but task regression needs a finite number"),
    ],
)
def test_labels_that_cannot_be_used_are_named(labels, message):
    with pytest.raises(ManifestError, match=message) as error:
        manifest(labels)
    assert "\n" not in str(error.value)


def test_a_label_of_another_task_is_refused():
    with pytest.raises(ValueError, match="'dog', but task regression needs a finite number"):
        read_label("dog", "regression")
    with pytest.raises(ValueError, match=r"\['dog'\], expected text or a number"):
        read_label(["dog"], "single-label")
    with pytest.raises(ValueError, match=r"2\.5, but task multi-label needs a list of class names"):
        read_label(2.5, "multi-label")


def written(folder, kind, labels):
    """A manifest file with these labels, as JSON for a CSV where they are lists."""
    table = pd.DataFrame({"path": [f"{row}.wav" for row in range(len(labels))], "label": labels})
    path = folder / f"list.{kind}"
    if kind == "csv":
        table.to_csv(path, index=False)
    elif kind == "jsonl":
        path.write_text(table.to_json(orient="records", lines=True))
    else:
        table.to_parquet(path)
    return {"kind": kind, "root": path}


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "csv"])
def test_every_kind_of_manifest_holds_lists_and_numbers(tmp_path, kind):
    labels = [["dog", "rain"], [], ["sea"]]
    cells = ['["dog", "rain"]', "[]", '["sea"]'] if kind == "csv" else labels
    read = load_manifest(written(tmp_path, kind, cells))
    assert read.task == "multi-label" and read.clips["label"].tolist() == [tuple(one) for one in labels]
    read = load_manifest(written(tmp_path, kind, [0.25, -3.0, 1e-3]))
    assert read.task == "regression" and read.clips["label"].tolist() == [0.25, -3.0, 1e-3]


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "csv"])
def test_the_task_can_be_given(tmp_path, kind):
    options = written(tmp_path, kind, ["dog; rain", "sea", "dog,sea;"])
    read = load_manifest({**options, "task": "multi-label"})
    assert read.clips["label"].tolist() == [("dog", "rain"), ("sea",), ("dog", "sea")]
    assert load_manifest({**options, "task": "single-label"}).labels == ["dog,sea;", "dog; rain", "sea"]
    options = written(tmp_path, kind, [1, 2, 5])
    assert load_manifest({**options, "task": "regression"}).clips["label"].tolist() == [1.0, 2.0, 5.0]
    options = written(tmp_path, kind, [1.5, 2.0, 1.5])
    assert load_manifest({**options, "task": "single-label"}).labels == ["1.5", "2.0"]


@pytest.mark.parametrize(
    ("cells", "task", "message"),
    [
        ('"[""a""]"\nb\n', None, r"line 2 has the label \['a'\] and line 3 'b'; write a list in every row, or set"),
        ("0.5\ninf\n", None, "line 3 has the label inf, but task regression needs a finite number"),
        ("0.5\ndog\n", "regression", "line 3 has the label 'dog', but task regression needs a finite number"),
        ('"[""a"", null]"\n[]\n', None, "line 2 has the label .* contains None instead of a class name"),
    ],
)
def test_a_wrong_cell_is_named_by_its_line(tmp_path, cells, task, message):
    path = tmp_path / "list.csv"
    rows = [f"{number}.wav,{cell}" for number, cell in enumerate(cells.splitlines())]
    path.write_text("\n".join(["path,label", *rows]) + "\n")
    with pytest.raises(ManifestError, match=message):
        load_manifest({"kind": "csv", "root": path, "task": task})


text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).filter(str.strip)
LABELS = {
    "single-label": text,
    "multi-label": st.lists(text, max_size=4),
    "regression": st.floats(allow_nan=False, allow_infinity=False),
}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(data=st.data(), task=st.sampled_from(list(LABELS)))
def test_csv_keeps_task_and_values(tmp_path, data, task):
    labels = data.draw(st.lists(LABELS[task], min_size=1, max_size=6))
    if task == "multi-label" and not any(labels):
        return
    made = manifest(labels, task, tmp_path)
    made.write_csv(tmp_path / "list.csv")
    options = {"kind": "csv", "root": tmp_path / "list.csv", "name": "toy"}
    read = load_manifest({**options, "task": task})
    assert read.task == task
    pd.testing.assert_frame_equal(read.clips, made.clips, check_exact=True)
    if task == "multi-label" or (task == "regression" and task_of(labels) == task):  # inferred without `task`
        assert load_manifest(options).task == task


def test_labels_that_look_the_same_are_found():
    counts = {"dog": 3, "Dog": 10, " dog ": 1, "cat": 2, "d\u00f6": 1, "do\u0308": 1, "do": 1, "a\u200bb": 1, "a b": 1}
    assert similar_labels(counts) == [["Dog", "dog", " dog "], ["a b", "a\u200bb"], ["do\u0308", "d\u00f6"]]
    assert similar_labels({"a": 1, "b": 2}) == []
    assert similar_labels_text("birds", {"a": 1, "b": 2}) == ""
    assert similar_labels_text("birds", {"dog": 3, "Dog": 10}) == (
        "birds: labels that differ only by case or blanks are separate classes: 'Dog' (10 clips) and 'dog' (3 clips); "
        'to merge them, set dataset.rename: {"dog": "Dog"}'
    )
