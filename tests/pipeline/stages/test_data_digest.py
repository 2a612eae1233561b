"""The digest that decides whether a fit is reused: everything that changes a result, and nothing else."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from heads.splits.split import Split
from pipeline.stages.data_digest import data_digest

N = 12
ROWS = np.arange(N)
SPLIT = Split(1, ROWS[:6], ROWS[6:8], ROWS[8:])
COLUMNS = ([f"clip {at}" for at in ROWS], ["a", "b"] * 6, [f"key {at}" for at in ROWS])


def digest(columns=COLUMNS, splits=(SPLIT,), n_clips=N):
    return data_digest(columns, splits, n_clips)


def changed(column, at, value):
    columns = [list(one) for one in COLUMNS]
    columns[column][at] = value
    return columns


CHANGES = {
    "an id": {"columns": changed(0, 3, "clip x")},
    "a label": {"columns": changed(1, 3, "a")},
    "several labels": {"columns": changed(1, 3, ["a", "b"])},
    "the audio": {"columns": changed(2, 0, "key x")},
    "a newline that shifts ids": {"columns": changed(0, 0, 'clip 0"\n"clip 1')},
    "a column more": {"columns": (*COLUMNS, [])},
    "a training clip less": {"splits": (replace(SPLIT, train=ROWS[:5]),)},
    "a clip from validation to training": {"splits": (replace(SPLIT, train=ROWS[:7], valid=ROWS[7:8]),)},
    "train and test exchanged": {"splits": (replace(SPLIT, train=SPLIT.test, test=SPLIT.train),)},
    "the fold": {"splits": (replace(SPLIT, fold="1b"),)},
    "the draw": {"splits": (replace(SPLIT, draw=1),)},
    "a split more": {"splits": (SPLIT, SPLIT)},
    "no split": {"splits": ()},
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_determines_a_result_changes_the_digest(change):
    assert digest(**CHANGES[change]) != digest()


def test_the_type_of_the_rows_and_of_the_fold_does_not():
    rows = {side: getattr(SPLIT, side).astype(np.int32) for side in ("train", "valid", "test")}
    assert digest(splits=iter([replace(SPLIT, fold="1", **rows)])) == digest()


def test_memory_does_not_grow_with_the_number_of_splits():
    n_clips, peaks = 20_000, []
    rows = np.arange(n_clips)
    split = Split(1, rows[:9000], rows[9000:12_000], rows[12_000:])
    for n_splits in (2, 200):
        tracemalloc.start()
        digest(columns=(), splits=(replace(split, draw=draw) for draw in range(n_splits)), n_clips=n_clips)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 2 * peaks[0] < 8 * n_clips
