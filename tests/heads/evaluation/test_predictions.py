"""Predictions: the long layout keeps everything, through parquet too."""

import numpy as np
import pandas as pd
import pytest

from features.errors import RunError
from heads.evaluation.predictions import COLUMNS, Predictions, from_frame, to_frame

LABELS = ["dog", "rain", "sea"]


def some(fold=1, seed=0, n=4, **fields):
    rng = np.random.default_rng([seed, n])
    probabilities = rng.dirichlet(np.ones(3), n).astype(np.float32)
    ids = np.array([f"{fold}/{row}.wav" for row in range(n)], dtype=object)
    return Predictions(
        probabilities, rng.integers(0, 3, n), ids, fold, seed, "mfcc", "linear", "mean+std", "0", **fields
    )


def test_the_long_layout_survives_parquet_in_any_row_order(tmp_path):
    kept = [some(fold, seed, run="demo") for fold in (1, 2, "extra") for seed in (0, 1)]
    frame = to_frame(kept, LABELS)
    assert tuple(frame.columns) == COLUMNS
    assert set(frame["target"]) | set(frame["predicted"]) <= set(LABELS)
    frame.sample(frac=1, random_state=0).to_parquet(tmp_path / "predictions.parquet")
    read = from_frame(pd.read_parquet(tmp_path / "predictions.parquet"), LABELS)
    assert [(one.fold, one.seed) for one in read] == [(one.fold, one.seed) for one in kept]
    for one, other in zip(read, kept, strict=True):
        order = np.argsort(one.ids)
        for field in ("probabilities", "targets", "ids"):
            assert np.array_equal(getattr(one, field)[order], getattr(other, field))
        assert (one.model, one.head, one.pooling, one.layer, one.run) == ("mfcc", "linear", "mean+std", "0", "demo")


def test_target_and_predicted_are_label_names():
    one = Predictions(np.eye(3, dtype=np.float32)[[2, 0]], np.array([1, 0]), np.array(["a", "b"]), 1, 0, "m")
    frame = to_frame([one], LABELS)
    assert frame["target"].tolist() == ["rain", "dog"]
    assert frame["predicted"].tolist() == ["sea", "dog"]


def test_a_table_that_does_not_fit_the_labels_is_refused():
    frame = to_frame([some()], LABELS)
    with pytest.raises(RunError, match="no column 'seed'"):
        from_frame(frame.drop(columns="seed"), LABELS)
    with pytest.raises(RunError, match="label 'cat'"):
        from_frame(frame.assign(target="cat"), LABELS)
    with pytest.raises(RunError, match=r"3 probabilities per clip, labels\.json 4"):
        from_frame(frame, [*LABELS, "wind"])


def test_arrays_that_do_not_go_together_are_refused():
    with pytest.raises(ValueError, match="do not match; they should be"):
        Predictions(np.ones((3, 2)), np.zeros(2, int), np.array(["a", "b"]), 1, 0, "m")
    with pytest.raises(ValueError, match="do not fit 2 classes"):
        Predictions(np.ones((1, 2)), np.array([2]), np.array(["a"]), 1, 0, "m")


def other(task, draw=0, n=4):
    rng = np.random.default_rng(draw)
    ids = np.array([f"{row}.wav" for row in range(n)], dtype=object)
    if task == "regression":
        return Predictions(rng.normal(size=(n, 1)).astype(np.float32), rng.normal(size=n), ids, 1, 0, "m", task=task)
    targets = (rng.random((n, 3)) < 0.4).astype(np.int64)
    targets[0] = 0
    return Predictions(rng.random((n, 3)).astype(np.float32), targets, ids, 1, 0, "m", task=task, draw=draw)


@pytest.mark.parametrize("task", ["multi-label", "regression"])
def test_lists_and_numbers_survive_parquet(tmp_path, task):
    kept = [other(task, draw) for draw in ((0, 1) if task == "multi-label" else (0,))]
    names = LABELS if task == "multi-label" else []
    to_frame(kept, names).sample(frac=1, random_state=0).to_parquet(tmp_path / "predictions.parquet")
    read = from_frame(pd.read_parquet(tmp_path / "predictions.parquet"), names, task)
    assert [(one.task, one.draw) for one in read] == [(task, one.draw) for one in kept]
    for one, before in zip(read, kept, strict=True):
        order = np.argsort(one.ids)
        assert np.array_equal(one.targets[order], before.targets)
        assert np.array_equal(one.predicted[order], before.predicted)


def test_lists_of_names_and_the_threshold():
    probabilities = np.array([[0.5, 0.49, 0.9], [0.1, 0.2, 0.3]], dtype=np.float32)
    one = Predictions(
        probabilities, np.array([[1, 0, 1], [0, 1, 0]]), np.array(["a", "b"]), 1, 0, "m", task="multi-label"
    )
    frame = to_frame([one], LABELS)
    assert frame["target"].tolist() == [["dog", "sea"], ["rain"]]
    assert frame["predicted"].tolist() == [["dog", "sea"], []]


def test_an_older_table_has_draw_0():
    frame = to_frame([some()], LABELS)
    assert frame.columns[-1] == "draw"
    assert [one.draw for one in from_frame(frame.drop(columns="draw"), LABELS)] == [0]


def test_targets_of_another_task_are_refused():
    ids = np.array(["a", "b"])
    with pytest.raises(ValueError, match=r"\(N, C\), \(N, C\) and \(N,\)$"):
        Predictions(np.ones((2, 3)), np.zeros(2, int), ids, 1, 0, "m", task="multi-label")
    with pytest.raises(ValueError, match="each class has 0 or 1"):
        Predictions(np.ones((2, 3)), np.full((2, 3), 2), ids, 1, 0, "m", task="multi-label")
    with pytest.raises(ValueError, match="regression predicts one"):
        Predictions(np.ones((2, 3)), np.zeros(2), ids, 1, 0, "m", task="regression")
    with pytest.raises(RunError, match="label 'cat', which labels"):
        from_frame(to_frame([other("multi-label")], ["cat", "cow", "dog"]), ["a", "b", "c"], "multi-label")
