"""Corpora that a protocol cannot divide, and unknown protocols: the error has the reason in one line."""

import pytest

from features.errors import ConfigError, ManifestError
from heads.splits.protocol import PROTOCOLS, check_protocol, make_splits, resolve_protocol
from tests.heads.corpora import corpus, manifest

BAD = {
    "few-shot for numbers": (manifest([0.5, 1.0] * 20), "few-shot", "labels are numbers"),
    "shots": (
        manifest(["a", "b"] * 8 + ["c"] * 3),
        "few-shot",
        r"label 'c' has 3 clip\(s\); protocol 'few-shot' draws 8 of each label",
    ),
    "shots in one fold": (
        manifest(["a", "b"] * 20 + ["c"] * 10, fold=[row % 4 + 1 for row in range(40)] + [1] * 7 + [2, 3, 4]),
        "few-shot",
        r"label 'c' has \d training clip\(s\) when fold 1 is tested; few_shot.shots asks for 8 of each",
    ),
    "no folds": (manifest(["a", "b"] * 8), "folds-no-valid", "'folds-no-valid' needs a 'fold' column"),
    "one fold without valid": (manifest(["a", "b"] * 8, fold=[1] * 16), "folds-no-valid", "every clip is in fold 1"),
    "one value": (manifest([0.5] * 10), "holdout", "every clip has the label 0.5"),
    "one value in a fold": (
        manifest([0.5, 1.0, 2.0, 0.5, 0.5, 0.5], fold=[1, 1, 2, 2, 3, 3]),
        "folds",
        "fold 3 holds the value 0.5 only",
    ),
    "few values": (manifest([0.5 * row for row in range(12)]), "kfold", "no fifth of the values has 5 clips"),
    "class in one fold": (
        manifest([["a", "b"], ["a"], ["a", "b"], ["a"], ["c"], ["a"]], fold=[1, 1, 2, 2, 3, 3]),
        "folds",
        "label 'c' occurs in fold 3 only",
    ),
    "fold without a class": (
        manifest([["a", "b"], ["a"], ["a", "b"], ["a"], [], []], fold=[1, 1, 2, 2, 3, 3]),
        "folds",
        "no clip of fold 3 has a label",
    ),
    "one class everywhere": (manifest([["a"]] * 8), "holdout", "every clip has the label 'a'"),
    "one label": (manifest(["a"] * 8), "kfold", "every clip has the label 'a'"),
    "no fold column": (manifest(["a", "b"] * 8), "folds", "'fold' column"),
    "no split column": (manifest(["a", "b"] * 8), "split", "'split' column"),
    "no group column": (manifest(["a", "b"] * 8), "leave-one-group-out", "'group' column"),
    "one fold": (manifest(["a", "b"] * 8, fold=[1] * 16), "folds", "every clip is in fold 1"),
    "no test split": (
        manifest(["a", "b"] * 2, split=["train", "train", "val", "val"]),
        "split",
        "no clip has split 'test'",
    ),
    "label in one split": (
        manifest(["a", "b", "a", "b", "c"], split=["train", "train", "test", "test", "test"]),
        "split",
        "label 'c' occurs in split 'test' only",
    ),
    "label in one fold": (
        manifest(["a", "b"] * 3 + ["c", "c"], fold=[1, 1, 2, 2, 3, 3, 3, 3]),
        "folds",
        "label 'c' occurs in fold 3 only",
    ),
    "label outside training": (
        manifest(["a", "b"] * 4 + ["c", "c"], fold=[1, 1, 2, 2, 3, 3, 4, 4, 2, 3]),
        "folds",
        "label 'c' has no training clip when fold 2 is tested",
    ),
    "fold of one class": (
        manifest(["a", "b"] * 3 + ["a", "a"], fold=[1, 1, 2, 2, 3, 3, 4, 4]),
        "folds",
        "fold 4 holds one class only, 'a'",
    ),
    "one clip of a label": (manifest(["a", "b"] * 8 + ["c"]), "holdout", "label 'c' has 1 clip"),
    "two groups of a label": (
        manifest(["a", "b"] * 8 + ["c"] * 4, group=[f"g{k}" for k in range(16)] + ["x", "x", "y", "y"]),
        "kfold",
        "label 'c' has 2 group",
    ),
    "few groups": (
        manifest(["a", "b"] * 8, group=["x", "x", "y", "y", "z", "z", "u", "u"] * 2),
        "kfold",
        "4 groups are too few",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_corpus_that_cannot_be_divided_is_refused(case):
    clips, protocol, message = BAD[case]
    if "training clip(s) when" not in message.replace("\\", ""):  # how many there are for a fold shows in its splits
        with pytest.raises(ManifestError, match=message):
            check_protocol(clips, protocol, shots=8)
    with pytest.raises(ManifestError, match=message) as error:
        make_splits(clips, protocol)
    assert "\n" not in str(error.value)


def test_an_unknown_protocol_is_refused_with_the_choices():
    with pytest.raises(ConfigError, match=r"'fold'.*folds, folds-no-valid, split, holdout"):
        check_protocol(corpus(n_folds=3), "fold")
    assert all(resolve_protocol(corpus(), protocol) == protocol for protocol in PROTOCOLS)


def test_audio_that_joins_a_label_into_one_group_is_refused():
    clips = corpus(n_classes=2, groups_per_class=5, clips_per_group=1)
    keys = ["same"] * 5 + [f"k{row}" for row in range(5)]
    with pytest.raises(ManifestError, match="label 'label0' has no training clip when fold"):
        make_splits(clips, "kfold", keys=keys)


def test_too_few_distinct_clips_for_folds_are_counted():
    with pytest.raises(ManifestError, match="toy: clips with identical audio count as one, which leaves 2 of 18; "):
        make_splits(corpus(3, 6, 1), "kfold", keys=["silence"] * 17 + ["other"])
