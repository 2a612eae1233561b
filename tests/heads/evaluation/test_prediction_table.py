"""The table of predictions keeps everything, through Parquet too, in the form of older versions as well."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.errors import RunError
from heads.evaluation import metrics
from heads.evaluation.prediction_table import COLUMNS, from_table, to_table
from heads.evaluation.predictions import Predictions
from heads.evaluation.top_probabilities import TopProbabilities

LABELS = ["dog", "rain", "sea"]
MANY = [f"class {number:02d}" for number in range(40)]


def some(fold=1, seed=0, n=4, labels=LABELS, **fields):
    rng = np.random.default_rng([seed, n])
    probabilities = rng.dirichlet(np.ones(len(labels)), n).astype(np.float32)
    ids = np.array([f"{fold}/{row}.wav" for row in range(n)], dtype=object)
    targets = rng.integers(0, len(labels), n)
    return Predictions(probabilities, targets, ids, fold, seed, "mfcc", "linear", "mean+std", "0", **fields)


def other(task, draw=0, n=4):
    rng = np.random.default_rng(draw)
    ids = np.array([f"{row}.wav" for row in range(n)], dtype=object)
    if task == "regression":
        return Predictions(rng.normal(size=(n, 1)).astype(np.float32), rng.normal(size=n), ids, 1, 0, "m", task=task)
    targets = (rng.random((n, 3)) < 0.4).astype(np.int64)
    targets[0] = 0
    return Predictions(rng.random((n, 3)).astype(np.float32), targets, ids, 1, 0, "m", task=task, draw=draw)


def stored(table, path, *, older=False):
    """The table in any row order, written and read again; as older versions wrote it: lists of any length."""
    table = table.take(np.random.default_rng(0).permutation(len(table)))
    if older:
        table.to_pandas().to_parquet(path)
    else:
        pq.write_table(table, path)
    return pq.read_table(path)


@pytest.mark.parametrize("older", [False, True])
def test_the_long_layout_survives_parquet_in_any_row_order(tmp_path, older):
    kept = [some(fold, seed, run="demo") for fold in (1, 2, "extra") for seed in (0, 1)]
    table = to_table(kept, LABELS)
    assert tuple(table.column_names) == COLUMNS
    assert set(table["target"].to_pylist()) | set(table["predicted"].to_pylist()) <= set(LABELS)
    again = stored(table, tmp_path / "predictions.parquet", older=older)
    assert pa.types.is_fixed_size_list(again.schema.field("probabilities").type) != older
    read = from_table(again, LABELS)
    assert [(one.fold, one.seed) for one in read] == [(one.fold, one.seed) for one in kept]
    for one, before in zip(read, kept, strict=True):
        order = np.argsort(one.ids)
        for field in ("probabilities", "targets", "ids"):
            assert np.array_equal(getattr(one, field)[order], getattr(before, field))
        assert one.probabilities.dtype == np.float32
        assert (one.model, one.head, one.pooling, one.layer, one.run) == ("mfcc", "linear", "mean+std", "0", "demo")


@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize("task", ["multi-label", "regression"])
def test_lists_and_numbers_survive_parquet(tmp_path, task, older):
    kept = [other(task, draw) for draw in ((0, 1) if task == "multi-label" else (0,))]
    names = LABELS if task == "multi-label" else []
    read = from_table(stored(to_table(kept, names), tmp_path / "predictions.parquet", older=older), names, task)
    assert [(one.task, one.draw) for one in read] == [(task, one.draw) for one in kept]
    for one, before in zip(read, kept, strict=True):
        order = np.argsort(one.ids)
        assert np.array_equal(one.targets[order], before.targets)
        assert np.array_equal(one.predicted[order], before.predicted)


def test_rows_in_order_are_not_copied():
    table = to_table([some(1, n=300), some(2, n=300)], LABELS).combine_chunks()
    values = table["probabilities"].chunk(0).flatten().to_numpy()
    assert all(np.shares_memory(values, one.probabilities) for one in from_table(table, LABELS))


def test_target_and_predicted_are_label_names():
    one = Predictions(np.eye(3, dtype=np.float32)[[2, 0]], np.array([1, 0]), np.array(["a", "b"]), 1, 0, "m")
    table = to_table([one], LABELS)
    assert table["target"].to_pylist() == ["rain", "dog"]
    assert table["predicted"].to_pylist() == ["sea", "dog"]


def test_lists_of_names_and_the_threshold():
    probabilities = np.array([[0.5, 0.49, 0.9], [0.1, 0.2, 0.3]], dtype=np.float32)
    one = Predictions(
        probabilities, np.array([[1, 0, 1], [0, 1, 0]]), np.array(["a", "b"]), 1, 0, "m", task="multi-label"
    )
    table = to_table([one], LABELS)
    assert table["target"].to_pylist() == [["dog", "sea"], ["rain"]]
    assert table["predicted"].to_pylist() == [["dog", "sea"], []]


def test_large_tables_keep_the_highest_probabilities_and_the_same_scores(tmp_path):
    kept = [some(fold, seed, n=50, labels=MANY) for fold in (1, 2) for seed in (0, 1)]
    table = stored(to_table(kept, MANY, most_cells=4 * 50 * 40 - 1), tmp_path / "predictions.parquet")
    assert table.column_names == [*COLUMNS, "classes"]
    assert table.schema.field("probabilities").type.list_size == 17
    read = from_table(table, MANY)
    assert all(isinstance(one.probabilities, TopProbabilities) for one in read)
    for score in (metrics.accuracy, metrics.macro_f1, metrics.log_loss, metrics.balanced_accuracy):
        assert score(read) == score(kept)
    row = table.slice(0, 1).to_pylist()[0]
    assert row["classes"][0] == MANY.index(row["predicted"]) and row["classes"][-1] == MANY.index(row["target"])
    assert to_table(kept, MANY, most_cells=4 * 50 * 40).column_names == list(COLUMNS)
    with pytest.raises(RunError, match=r"classes beyond the 3 of labels\.json"):
        from_table(table, LABELS)


def test_large_multi_label_tables_have_half_precision(tmp_path):
    one = other("multi-label", n=100)
    table = stored(to_table([one], LABELS, most_cells=299), tmp_path / "predictions.parquet")
    assert table.schema.field("probabilities").type == pa.list_(pa.float16(), 3)
    (read,) = from_table(table, LABELS, "multi-label")
    order = np.argsort(read.ids)
    before = np.argsort(one.ids)
    assert np.abs(read.probabilities[order] - one.probabilities[before]).max() < 2.5e-4
    assert read.probabilities.dtype == np.float32 and np.array_equal(read.targets[order], one.targets[before])


def test_a_table_that_does_not_fit_the_labels_is_refused():
    table = to_table([some()], LABELS)
    with pytest.raises(RunError, match="no column 'seed'"):
        from_table(table.drop_columns("seed"), LABELS)
    with pytest.raises(RunError, match="label 'dog', which labels"):
        from_table(to_table([other("multi-label")], LABELS), ["a", "b", "c"], "multi-label")
    cats = table.set_column(table.column_names.index("target"), "target", pa.array(["cat"] * len(table)))
    with pytest.raises(RunError, match="label 'cat'"):
        from_table(cats, LABELS)
    with pytest.raises(RunError, match=r"3 probabilities per clip, labels\.json 4"):
        from_table(table, [*LABELS, "wind"])


def test_an_older_table_has_draw_0():
    table = to_table([some()], LABELS)
    assert table.column_names[-1] == "draw"
    assert [one.draw for one in from_table(table.drop_columns("draw"), LABELS)] == [0]


def test_no_predictions_are_an_empty_table():
    assert tuple(to_table([], LABELS).column_names) == COLUMNS and from_table(to_table([], LABELS), LABELS) == []
