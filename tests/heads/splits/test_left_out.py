"""Leave-one-group-out: the same draws as from rows, in time and memory that do not grow with clips times groups."""

import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from features.manifest import Manifest
from heads.splits import group_draws
from heads.splits.groups import clip_groups
from heads.splits.protocol import _seed, make_splits
from heads.splits.sampling import draw_part
from heads.splits.targets import strata, targets_of


def corpus(n_clips, n_groups, n_classes=4, seed=0, task="single-label", sizes="drawn"):
    rng = np.random.default_rng(seed)
    groups = rng.permutation(np.arange(n_clips) % n_groups) if sizes == "equal" else rng.integers(0, n_groups, n_clips)
    classes = rng.integers(0, n_classes, n_clips)
    labels = [f"c{own}" for own in classes]
    if task == "regression":
        labels = rng.normal(size=n_clips).round(1).tolist()
    elif task == "multi-label":
        labels = [sorted({f"c{own}", f"c{rng.integers(0, n_classes)}"}) for own in classes]
    ids = rng.permutation([f"clip {at:05d}" for at in range(n_clips)])
    clips = pd.DataFrame({"id": ids, "path": ids, "label": labels, "group": [f"s{own}" for own in groups]})
    return Manifest("corpus", Path("/tmp"), clips, task=task)


CORPORA = {
    "drawn sizes": corpus(240, 20),
    "equal groups, so that draws are ties": corpus(240, 24, sizes="equal"),
    "many labels per clip": corpus(200, 15, seed=1, task="multi-label"),
    "numbers": corpus(150, 12, seed=2, task="regression"),
    "a group per clip": corpus(30, 30, 2, seed=3, sizes="equal"),
    "four groups": corpus(60, 4, 3, seed=4),
}


@pytest.mark.parametrize("name", CORPORA)
def test_each_validation_draw_is_the_one_from_rows(name):
    manifest = CORPORA[name]
    targets, groups = targets_of(manifest), clip_groups(manifest)
    order = np.argsort(manifest.clips["id"].to_numpy(dtype=str))
    labels, own, members = strata(targets)[order], groups[order], targets.members[order]
    for number, split in enumerate(make_splits(manifest, "leave-one-group-out").splits):
        rest = ~np.isin(order, split.test)
        drawn = draw_part(labels[rest], own[rest], _seed(0, number + 1), members[rest])
        assert np.array_equal(split.valid, np.sort(order[rest][drawn]))
        assert np.array_equal(split.train, np.sort(order[rest][~drawn]))
        assert len(np.unique(groups[split.test])) == 1 and split.fold == manifest.clips["group"][split.test[0]]


@pytest.mark.parametrize("n_classes", [1, 2, 9, 140])
def test_folds_of_groups_are_those_of_scikit_learn(n_classes):
    rng = np.random.default_rng(n_classes)
    classes, groups = rng.integers(0, n_classes, 700), rng.integers(0, 30, 700)
    counts = group_draws.count_groups(classes, groups, np.zeros((700, 0), dtype=bool)).strata
    counts = np.ascontiguousarray(counts[:, counts.any(axis=0)])
    found = group_draws.group_folds(
        counts, np.stack([group_draws._order(counts, np.arange(30), seed) for seed in range(3)]), 5
    )
    for seed, folds in enumerate(found):
        splitter = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parts = [rows for _, rows in splitter.split(classes, classes, groups)]
        for fold, rows in enumerate(parts):
            assert np.array_equal(np.flatnonzero(folds[groups] == fold), rows)


@pytest.mark.parametrize("name", CORPORA)
def test_many_groups_share_one_division(monkeypatch, name):
    monkeypatch.setattr(group_draws, "DRAWN_APART", 3)
    manifest = CORPORA[name]
    targets, groups = targets_of(manifest), clip_groups(manifest)
    splits = make_splits(manifest, "leave-one-group-out").splits
    assert len(splits) == len(np.unique(groups))
    for split in splits:
        assert sorted(np.concatenate([split.train, split.valid, split.test])) == list(range(len(manifest)))
        assert targets.members[split.train].any(axis=0).all()
        sides = [set(groups[rows]) for rows in (split.train, split.valid, split.test)]
        assert sum(map(len, sides)) == len(set.union(*sides))
        assert 0.05 < len(split.valid) / len(manifest) < 0.4
    assert len({split.valid.tobytes() for split in splits}) > 1
    shuffled = Manifest(manifest.name, manifest.root, manifest.clips[::-1].reset_index(drop=True), task=manifest.task)
    for one, other in zip(splits, make_splits(shuffled, "leave-one-group-out").splits, strict=True):
        for side in ("train", "valid", "test"):
            ids = [data.clips["id"][getattr(split, side)] for data, split in ((manifest, one), (shuffled, other))]
            assert set(ids[0]) == set(ids[1])


def test_failed_clips_and_absent_classes_are_left_out_when_a_split_is_read():
    manifest = corpus(200, 10, seed=5)
    clips = manifest.clips.copy()
    clips.loc[clips["group"] == "s3", "label"] = "only s3"
    manifest = Manifest("corpus", Path("/tmp"), clips)
    gone = np.flatnonzero(clips["group"] == "s4")
    found = make_splits(manifest, "leave-one-group-out", absent_classes="score", failed=gone.tolist())
    assert found.n_folds == 9 and "s4" not in [split.fold for split in found.splits]
    assert found.n_absent == int((clips["label"] == "only s3").sum())
    assert "('only s3')" in found.warnings[-1]
    for split in found.splits:
        assert not np.isin(np.concatenate([split.train, split.valid, split.test]), gone).any()


def test_splits_do_not_take_memory_for_clips_times_groups():
    manifest = corpus(4000, 300, 5)
    make_splits(manifest, "leave-one-group-out")
    tracemalloc.start()
    splits = make_splits(manifest, "leave-one-group-out").splits
    rows = sum(len(split.test) for split in splits)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows == 4000
    assert peak < 4000 * 300 * 8 / 2  # int64 positions would take twice as much
