"""Compact targets are those they were made of, whatever the number of classes and of labels per clip."""

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from heads.batched import target_rows
from heads.batched.losses import class_weights, row_weights, weigh
from heads.batched.target_rows import TargetRows, row_bytes

CPU = torch.device("cpu")
ROWS = np.array([5, 0, 3, 7, 2])


@pytest.mark.parametrize("n_classes", [1, 8, 13, 10_000])
def test_labels_are_kept_as_bits(n_classes, monkeypatch):
    monkeypatch.setattr(target_rows, "PACKED_AT_ONCE", 2 * n_classes)
    dense = (np.random.default_rng(0).random((9, n_classes)) < 0.3).astype(np.float32)
    rows = TargetRows(dense, ROWS, "multi-label", CPU, 3)
    assert np.array_equal(rows.take(slice(None)).numpy(), dense[ROWS])
    chosen = torch.tensor([[4, 0], [1, 1]])
    assert np.array_equal(rows.take(chosen).numpy(), dense[ROWS][chosen.numpy()])
    assert rows.counts(3, n_classes).tolist() == dense[ROWS[:3]].sum(0).tolist()
    assert rows._stored.numel() == len(ROWS) * row_bytes("multi-label", n_classes) <= len(ROWS) * (n_classes / 8 + 1)


def test_500_labels_of_a_clip():
    dense = np.zeros((2, 527), dtype=np.float32)
    dense[1, 13:513] = 1
    found = TargetRows(dense, np.array([1, 0]), "multi-label", CPU, 1).take(slice(None))
    assert found.sum(1).tolist() == [500, 0] and found[0, 13:513].all()


def test_classes_and_values():
    classes, values = np.array([2, 0, 1, 1, 4, 3, 2, 9]), np.arange(8.0) ** 2
    rows = TargetRows(classes, ROWS, "single-label", CPU, 3)
    assert rows.take(torch.tensor([[1], [3]])).tolist() == [[2], [9]]
    assert rows.counts(3, 10).tolist() == np.bincount(classes[ROWS[:3]], minlength=10).tolist()
    rows = TargetRows(values, ROWS, "regression", CPU, 3)
    train = values[ROWS[:3]]
    assert (rows.mean, rows.scale) == (train.mean(), train.std())
    assert np.array_equal(rows.take(slice(None))[:, 0].numpy(), (values[ROWS] - train.mean()) / train.std())


def test_rows_of_several_blocks_follow_each_other():
    dense = np.eye(8, dtype=np.float32)
    one, other = (TargetRows(dense, rows, "multi-label", CPU, 1) for rows in (ROWS, ROWS[:2]))
    joined = TargetRows.joined([one, other])
    assert len(joined) == 7 and len(one) == 5
    assert joined.take(slice(None)).argmax(1).tolist() == [5, 0, 3, 7, 2, 5, 0]


def test_class_weights_are_scikit_learns_and_weigh_rows_as_before():
    classes = torch.tensor([0, 2, 2, 1, 2, 0])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=classes.numpy())
    found = class_weights(torch.bincount(classes), len(classes), "single-label")
    assert np.allclose(found, expected)
    assert torch.equal(weigh(classes, found, "single-label"), row_weights(classes, 3, "single-label", "balanced"))
    assert row_weights(classes, 3, "single-label", "balanced").mean() == pytest.approx(1)
    held = torch.tensor([[1, 0], [0, 0], [1, 0], [1, 1]])
    found = row_weights(held, 2, "multi-label", "balanced")
    assert torch.allclose(found[:, 0], torch.tensor([2 / 3, 2, 2 / 3, 2 / 3], dtype=torch.float64))
    assert torch.allclose(found[:, 1], torch.tensor([2 / 3, 2 / 3, 2 / 3, 2], dtype=torch.float64))
