"""Targets: the labels of a manifest as numbers, and what draws stratify by."""

import numpy as np

from heads.splits.targets import strata, targets_of
from tests.heads.corpora import manifest


def test_classes_are_numbered_in_the_order_of_their_names():
    targets = targets_of(manifest(["b", "a", "c", "a"]))
    assert (targets.task, targets.names, targets.n_outputs) == ("single-label", ("a", "b", "c"), 3)
    assert targets.values.dtype == np.int64 and targets.values.tolist() == [1, 0, 2, 0]
    assert targets.members.sum(axis=0).tolist() == [2, 1, 1]
    assert strata(targets).tolist() == [1, 0, 2, 0]


def test_lists_become_zeros_and_ones_and_are_told_apart_by_the_rarest_label():
    clips = manifest([["a", "b"], ["a"], [], ["b", "a"], ["a", "c"]])
    targets = targets_of(clips)
    assert targets.values.dtype == np.float32 and targets.n_outputs == 3
    assert targets.values.tolist() == [[1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 1, 0], [1, 0, 1]]
    assert strata(clips).tolist() == [1, 0, 3, 1, 2]


def test_numbers_stay_and_fall_into_fifths():
    values = np.random.default_rng(0).normal(size=100)
    targets = targets_of(manifest(values.tolist()))
    assert (targets.names, targets.n_outputs, targets.members.shape) == ((), 1, (100, 0))
    assert np.array_equal(targets.values, values)
    assert np.bincount(strata(targets)).tolist() == [20] * 5
    assert strata(targets)[values.argmax()] == 4
