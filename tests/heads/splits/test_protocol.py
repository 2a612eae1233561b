"""Splits: disjoint, complete, groups kept together, stratified, and dependent only on seed and ids."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import ManifestError
from features.manifest import Manifest
from heads.splits.few_shot import few_shot_splits
from heads.splits.protocol import make_splits, resolve_protocol
from heads.splits.targets import targets_of
from tests.heads.corpora import corpus, manifest


@st.composite
def corpora(draw):
    """Corpora with groups that mix classes, and audio that recurs across groups."""
    n_classes = draw(st.integers(2, 4))
    n_groups = draw(st.integers(10, 20))
    labels, groups, keys = [], [], []
    for group in range(n_groups):
        own = draw(st.integers(0, n_classes - 1))
        for clip in range(draw(st.integers(1, 4))):
            mixed = draw(st.booleans())
            labels.append((own + clip * mixed) % n_classes)
            groups.append(f"g{group}")
            keys.append(f"k{draw(st.integers(0, 400))}")
    return manifest([f"label{c}" for c in labels], group=groups), keys


def sides_of(split, n):
    sides = np.full(n, "", dtype=object)
    for name in ("train", "valid", "test"):
        rows = getattr(split, name)
        assert np.all(np.diff(rows) > 0)
        assert np.all(sides[rows] == ""), "a row on two sides"
        sides[rows] = name
    return sides


@settings(max_examples=30)
@given(corpora(), st.sampled_from(["holdout", "kfold", "leave-one-group-out"]), st.integers(0, 5))
def test_drawn_splits_are_complete_and_keep_groups_and_audio_whole(corpus_and_keys, protocol, seed):
    clips, keys = corpus_and_keys
    try:
        splits = make_splits(clips, protocol, split_seed=seed, keys=keys).splits
    except ManifestError:
        return  # a corpus that cannot be divided; when that is right is tested below
    tested = np.zeros(len(clips), dtype=int)
    for split in splits:
        sides = sides_of(split, len(clips))
        assert np.all(sides != "")
        for member in (clips.clips["group"].to_numpy(), np.array(keys)):
            assert pd.Series(sides).groupby(member).nunique().max() == 1
        assert set(clips.clips["label"].iloc[split.train]) == set(clips.labels)
        assert len(split.valid) and len(split.test)
        tested[split.test] += 1
    if protocol == "holdout":
        assert len(splits) == 1
    else:
        assert np.all(tested == 1)


@settings(max_examples=12)
@given(st.randoms(use_true_random=False), st.sampled_from(["folds", "holdout", "kfold", "leave-one-group-out"]))
def test_row_order_does_not_matter(random, protocol):
    clips = corpus(n_folds=2)
    order = list(range(len(clips)))
    random.shuffle(order)
    shuffled = Manifest("toy", ".", clips.clips.iloc[order])
    for one, other in zip(make_splits(clips, protocol).splits, make_splits(shuffled, protocol).splits, strict=True):
        assert one.fold == other.fold
        for side in ("train", "valid", "test"):
            assert set(clips.clips["id"].iloc[getattr(one, side)]) == set(
                shuffled.clips["id"].iloc[getattr(other, side)]
            )


@pytest.mark.parametrize("protocol", ["holdout", "kfold"])
def test_the_split_seed_decides_the_draw(protocol):
    clips = corpus()
    draws = [make_splits(clips, protocol, split_seed=seed).splits for seed in (0, 0, 1)]
    assert all(
        np.array_equal(a.test, b.test) and np.array_equal(a.valid, b.valid) for a, b in zip(*draws[:2], strict=True)
    )
    assert any(not np.array_equal(a.test, b.test) for a, b in zip(draws[0], draws[2], strict=True))
    assert any(not np.array_equal(a.valid, b.valid) for a, b in zip(draws[0], draws[2], strict=True))


@pytest.mark.parametrize("groups", [True, False])
@pytest.mark.parametrize("protocol", ["holdout", "kfold"])
def test_drawn_splits_are_stratified(protocol, groups):
    clips = corpus(n_classes=4, groups_per_class=20, clips_per_group=2)
    if not groups:
        clips = Manifest("toy", ".", clips.clips.drop(columns="group"))
    for split in make_splits(clips, protocol).splits:
        for rows, share in ((split.test, 0.2), (split.valid, 0.16)):
            counts = clips.clips["label"].iloc[rows].value_counts()
            assert len(counts) == 4
            assert np.all(np.abs(counts - share * 40) <= 2), counts


def test_official_folds_test_k_and_validate_the_next_in_natural_order():
    clips = corpus(groups_per_class=11, n_folds=11)
    splits = make_splits(clips, "folds").splits
    fold = clips.clips["fold"].to_numpy()
    assert [split.fold for split in splits] == list(range(1, 12))
    for split in splits:
        assert set(fold[split.test]) == {split.fold}
        assert set(fold[split.valid]) == {split.fold % 11 + 1}
        assert len(split.train) == np.sum((fold != split.fold) & (fold != split.fold % 11 + 1))


def test_folds_named_by_text_follow_natural_order():
    clips = corpus(groups_per_class=10, n_folds=10)
    named = Manifest("toy", ".", clips.clips.assign(fold=[f"fold{fold}" for fold in clips.clips["fold"]]))
    assert [split.fold for split in make_splits(named, "folds").splits] == [f"fold{k}" for k in range(1, 11)]


def test_two_folds_draw_validation_rows_from_the_training_fold():
    clips = corpus(n_folds=2)
    fold, group = (clips.clips[column].to_numpy() for column in ("fold", "group"))
    for split in make_splits(clips, "folds").splits:
        assert set(fold[split.test]) == {split.fold}
        assert set(fold[split.valid]) == set(fold[split.train]) == {3 - split.fold}
        assert not set(group[split.valid]) & set(group[split.train])


@pytest.mark.parametrize("with_valid", [True, False])
def test_official_split_column(with_valid):
    clips = corpus()
    number = np.arange(len(clips)) // 2 % 8
    names = np.where(number == 0, "test", np.where((number == 1) & with_valid, "val", "train"))
    clips = Manifest("toy", ".", clips.clips.assign(split=names))
    splits = make_splits(clips, "auto")
    assert splits.protocol == "split" and len(splits.splits) == 1 and splits.warnings == ()
    split = splits.splits[0]
    assert np.array_equal(split.test, np.flatnonzero(number == 0))
    if with_valid:
        assert np.array_equal(split.valid, np.flatnonzero(number == 1))
    else:
        assert set(clips.clips["label"].iloc[split.valid]) == set(clips.labels)
        assert len(split.train) + len(split.valid) == np.sum(number > 0)


def test_auto_prefers_folds_then_split_then_kfold():
    clips = corpus(n_folds=2).clips
    with_split = clips.assign(split=["train", "test"] * (len(clips) // 2))
    assert resolve_protocol(Manifest("toy", ".", with_split), "auto") == "folds"
    assert resolve_protocol(Manifest("toy", ".", with_split.drop(columns="fold")), "auto") == "split"
    assert resolve_protocol(Manifest("toy", ".", clips.drop(columns="fold")), "auto") == "kfold"


def test_leave_one_group_out_names_the_group_and_joins_identical_audio():
    clips = manifest(["a", "b"] * 8, group=[f"s{row // 2}" for row in range(16)])
    assert [split.fold for split in make_splits(clips, "leave-one-group-out").splits] == [f"s{k}" for k in range(8)]
    keys = [""] * 16
    keys[0] = keys[5] = "same"
    splits = make_splits(clips, "leave-one-group-out", keys=keys).splits
    assert [split.fold for split in splits] == ["s0+s2", "s1", *(f"s{k}" for k in range(3, 8))]
    assert np.array_equal(splits[0].test, [0, 1, 4, 5])


def test_overlap_of_official_sides_is_counted_and_an_error_under_strict():
    clips = corpus(n_folds=4)
    assert make_splits(clips, "folds", keys=[f"k{row}" for row in range(48)], strict=True).warnings == ()
    leaky = clips.clips.copy()
    leaky.loc[0, "group"] = leaky.loc[2, "group"]  # folds 1 and 2
    leaky = Manifest("toy", ".", leaky)
    warnings = make_splits(leaky, "folds").warnings
    assert len(warnings) == 1 and "1 groups ('g0-1'" in warnings[0] and "3 clips" in warnings[0]
    with pytest.raises(ManifestError, match="1 groups"):
        make_splits(leaky, "folds", strict=True)
    keys = [f"k{row}" for row in range(48)]
    keys[0] = keys[2]
    warnings = make_splits(clips, "folds", keys=keys).warnings
    assert len(warnings) == 1 and "'c0000.wav' = 'c0002.wav'" in warnings[0] and "2 clips" in warnings[0]
    with pytest.raises(ManifestError, match="identical audio"):
        make_splits(clips, "folds", keys=keys, strict=True)
    assert make_splits(leaky, "kfold", strict=True).warnings == ()


def test_without_leaves_failed_clips_out_and_keeps_positions():
    splits = make_splits(corpus(n_folds=4), "folds")
    rest = splits.without([0, 7])
    for split, kept in zip(splits.splits, rest.splits, strict=True):
        for side in ("train", "valid", "test"):
            assert set(getattr(kept, side)) == set(getattr(split, side)) - {0, 7}
    assert [split.fold for split in splits.without(splits.splits[1].test).splits] == [1, 3, 4]


def test_folds_no_valid_trains_on_all_other_folds():
    clips = corpus(n_folds=4)
    splits = make_splits(clips, "folds-no-valid")
    assert splits.protocol == "folds-no-valid"
    for split, other in zip(splits.splits, make_splits(clips, "folds").splits, strict=True):
        assert split.fold == other.fold and np.array_equal(split.test, other.test)
        assert len(split.valid) == 0
        assert np.array_equal(split.train, np.union1d(other.train, other.valid))


def test_few_shot_draws_from_the_base_splits_and_spreads_over_groups():
    clips = corpus(groups_per_class=16, clips_per_group=3, n_folds=4)
    label, group = (clips.clips[column].to_numpy() for column in ("label", "group"))
    base, found = make_splits(clips, "folds"), make_splits(clips, "few-shot", shots=5, draws=3)
    assert (found.protocol, found.n_folds, len(found.splits)) == ("few-shot", 4, 12)
    assert [(split.fold, split.draw) for split in found.splits] == [(k, d) for k in range(1, 5) for d in range(3)]
    for at, split in enumerate(found.splits):
        whole = base.splits[at // 3]
        assert np.array_equal(split.test, whole.test)
        for rows, of, groups in ((split.train, whole.train, 5), (split.valid, whole.valid, 4)):
            assert set(rows) <= set(of) and np.all(np.diff(rows) > 0)
            assert pd.Series(label[rows]).value_counts().tolist() == [5, 5, 5]
            assert pd.Series(group[rows]).groupby(label[rows]).nunique().min() == groups  # a fold holds four of each
    trains = [tuple(split.train) for split in found.splits]
    assert len(set(trains)) == len(trains)
    other = make_splits(clips, "few-shot", shots=5, draws=3, split_seed=1).splits
    assert all(not np.array_equal(a.train, b.train) for a, b in zip(found.splits, other, strict=True))


def test_fewer_shots_are_among_more_and_row_order_does_not_matter():
    clips = corpus(groups_per_class=16, n_folds=4)
    some, more = (make_splits(clips, "few-shot", shots=shots, draws=2).splits for shots in (2, 6))
    assert all(set(a.train) < set(b.train) for a, b in zip(some, more, strict=True))
    order = np.random.default_rng(0).permutation(len(clips))
    shuffled = Manifest("toy", ".", clips.clips.iloc[order])
    for one, other in zip(some, make_splits(shuffled, "few-shot", shots=2, draws=2).splits, strict=True):
        for side in ("train", "valid", "test"):
            assert set(clips.clips["id"].iloc[getattr(one, side)]) == set(
                shuffled.clips["id"].iloc[getattr(other, side)]
            )


def test_few_shot_takes_the_validation_clips_there_are_and_all_rows_where_asked():
    clips = corpus(groups_per_class=12, clips_per_group=1, n_folds=4)
    targets, ids = targets_of(clips), clips.clips["id"].to_numpy()
    base = make_splits(clips, "folds")
    few = few_shot_splits(base, targets, np.arange(len(clips)), ids, 5, 2)
    assert {len(split.train) for split in few.splits} == {15} and {len(split.valid) for split in few.splits} == {9}
    every = few_shot_splits(base, targets, np.arange(len(clips)), ids, None)
    assert len(every.splits) == 4
    assert all(np.array_equal(a.train, b.train) for a, b in zip(every.splits, base.splits, strict=True))


def test_few_shot_draws_no_clip_that_failed():
    clips = corpus(groups_per_class=16, n_folds=4)
    failed = make_splits(clips, "few-shot", shots=3, draws=1).splits[0].train[:4]
    for split in make_splits(clips, "few-shot", shots=3, draws=1, failed=failed).splits:
        assert not set(split.train) & set(failed) and len(split.train) == 9


def several(n=60, n_folds=None):
    """Clips of up to three of four classes, of no class, in groups of two."""
    rng = np.random.default_rng(0)
    labels = [sorted(np.array(list("abcd"))[rng.random(4) < 0.4].tolist()) for _ in range(n)]
    columns = {"group": [f"g{row // 2}" for row in range(n)]}
    if n_folds:
        columns["fold"] = [row // 2 % n_folds + 1 for row in range(n)]
    return manifest(labels, **columns)


@pytest.mark.parametrize("protocol", ["folds", "folds-no-valid", "holdout", "kfold", "leave-one-group-out", "few-shot"])
def test_multi_label_splits_train_every_class(protocol):
    clips = several(n_folds=5)
    members, group = targets_of(clips).members, clips.clips["group"].to_numpy()
    for split in make_splits(clips, protocol, shots=4, draws=2).splits:
        sides = sides_of(split, len(clips))
        assert members[split.train].any(axis=0).all() and len(split.test)
        assert pd.Series(sides[sides != ""]).groupby(group[sides != ""]).nunique().max() == 1
        if protocol == "few-shot":
            assert members[split.train].sum(axis=0).min() >= 4
            assert members[split.train].sum(axis=0).min() < 8
            assert (~members[split.train].any(axis=1)).any()


@pytest.mark.parametrize("protocol", ["folds", "holdout", "kfold", "leave-one-group-out"])
def test_regression_splits_cover_the_range_of_values(protocol):
    values = np.random.default_rng(0).normal(size=100)
    clips = manifest(
        values.tolist(), group=[f"g{row // 2}" for row in range(100)], fold=[row // 20 for row in range(100)]
    )
    for split in make_splits(clips, protocol).splits:
        sides_of(split, 100)
        assert len(split.train) and len(split.valid) and len(split.test)
        if protocol in ("holdout", "kfold"):
            assert abs(values[split.test].mean() - values.mean()) < 0.3
            assert values[split.valid].std() == pytest.approx(values.std(), rel=0.5)
