"""Classes without training clips for some test fold: an error with ways out, or test clips that count as errors."""

import numpy as np
import pytest

from features.errors import ManifestError
from heads.kinds.knn import KnnOptions
from heads.kinds.linear import LinearOptions
from heads.kinds.mlp import MlpOptions
from heads.kinds.sklearn.head import SklearnOptions
from heads.splits.protocol import make_splits
from heads.splits.targets import targets_of
from heads.training.train import train_head
from tests.heads.corpora import manifest

SITES = [f"s{site}" for site in range(4)]
# Site s0 has the only clips of `rare`, s1 and s2 have those of `some`.
LABELS = {"s0": ["rare"] * 3 + ["a", "b"] * 4, "s1": ["some", "a", "b"] * 3, "s2": ["some", "a", "b"] * 3}
LABELS["s3"] = ["a", "b"] * 4
WITHOUT_TRAINING = 3  # test clips of `rare`


def sites():
    labels = [label for site in SITES for label in LABELS[site]]
    return manifest(labels, group=[site for site in SITES for _ in LABELS[site]])


def folds():
    data = sites()
    return manifest(data.clips["label"].tolist(), fold=data.clips["group"].tolist())


@pytest.mark.parametrize(
    ("data", "protocol", "message"),
    [
        (
            sites,
            "leave-one-group-out",
            r"'rare' has 1 group\(s\).*\(and 1 more label\).*exclude: \[\"rare\", \"some\"\]",
        ),
        (folds, "folds", r"'rare' occurs in fold 's0' only; give it clips in other folds, .*exclude: \[\"rare\"\]"),
        (
            lambda: manifest([*"aaaabbbbc"]),
            "holdout",
            r"'c' has 1 clip\(s\); .*dataset.min_clips: 3 or dataset.exclude",
        ),
        (lambda: manifest([*"aaaabbbbc"]), "few-shot", r"'c' has 1 clip.*; dataset.min_clips: 2 leaves out smaller"),
    ],
)
def test_a_class_too_small_for_the_protocol_says_what_to_write(data, protocol, message):
    with pytest.raises(ManifestError, match=message) as raised:
        make_splits(data(), protocol, shots=2)
    assert protocol == "few-shot" or "dataset.rename" in str(raised.value)
    assert protocol == "few-shot" or "absent_classes: score" in str(raised.value)


@pytest.mark.parametrize(("data", "protocol"), [(sites, "leave-one-group-out"), (folds, "folds")])
def test_scored_classes_are_counted_and_never_validate(data, protocol):
    data = data()
    splits = make_splits(data, protocol, absent_classes="score")
    targets = targets_of(data)
    absent = set()
    for split in splits.splits:
        lost = ~targets.members[split.train].any(axis=0)
        assert not targets.members[split.valid][:, lost].any()
        assert len(split.valid)
        absent |= set(split.test[targets.members[split.test][:, lost].any(axis=1)].tolist())
    assert splits.n_absent == len(absent) >= WITHOUT_TRAINING
    assert f"toy: {len(absent)} of {len(data)} test clips have a label without a training clip" in splits.warnings[-1]
    assert "'rare'" in splits.warnings[-1]


def test_nothing_changes_where_every_class_has_training_clips():
    data = manifest([*"abc"] * 10)
    usual, scored = (make_splits(data, "kfold", absent_classes=how) for how in ("error", "score"))
    assert scored.n_absent == 0 and scored.warnings == usual.warnings
    for one, other in zip(usual.splits, scored.splits, strict=True):
        for side in ("train", "valid", "test"):
            assert np.array_equal(getattr(one, side), getattr(other, side))


def test_two_classes_are_needed_to_train_on():
    data = manifest([*"aaab"], fold=[1, 1, 2, 2])
    with pytest.raises(ManifestError, match="fold 1 holds one class only"):
        make_splits(data, "folds", absent_classes="score")
    data = manifest([*"aaaaaabb"], group=[*"gghhjjii"])
    with pytest.raises(ManifestError, match=r"training clips have 1 label\(s\) when fold 'i' is tested"):
        make_splits(data, "leave-one-group-out", absent_classes="score")


HEADS = [
    LinearOptions(l2=[1.0, 1e-4]),
    LinearOptions(l2=[1e-2], class_weight="balanced"),
    MlpOptions(hidden=[8], max_epochs=200, learning_rate=[1e-2], class_weight="balanced"),
    KnnOptions(k=[1, 5]),
    SklearnOptions(estimator="sklearn.linear_model.LogisticRegression"),
]


@pytest.mark.parametrize("options", HEADS, ids=lambda options: options.name)
def test_clips_of_an_absent_class_are_errors_of_every_head(options):
    data = sites()
    splits, targets = make_splits(data, "leave-one-group-out", absent_classes="score"), targets_of(data)
    rare = targets.names.index("rare")
    rng = np.random.default_rng(0)
    # Clips of `rare` are where the output of a class that was never seen would be the largest.
    centres = 4 * rng.normal(size=(len(targets.names), 6))
    centres[rare] = -4 * centres[[targets.names.index(name) for name in ("a", "b", "some")]].sum(axis=0)
    features = (centres[targets.values] + rng.normal(size=(len(data), 6)))[:, None].astype(np.float32)
    result = train_head(options, features, targets.values, splits, [0], n_classes=len(targets.names))
    for fit in result.fits:
        assert np.allclose(fit.probabilities.sum(axis=1), 1, atol=1e-5)
        if fit.fold == "s0":
            assert (fit.probabilities[:, rare] == 0).all()
            assert (fit.probabilities.argmax(1)[targets.values[fit.test_rows] == rare] != rare).all()
            known = targets.values[fit.test_rows] != rare
            assert (fit.probabilities.argmax(1) == targets.values[fit.test_rows])[known].mean() > 0.9


def test_several_labels_per_clip():
    labels = [["rare", "a"], ["a"], ["b"]] + [["a"], ["b"], ["a", "b"]] * 5
    data = manifest(labels, group=["s0"] * 3 + ["s1", "s2", "s3"] * 5)
    splits, targets = make_splits(data, "leave-one-group-out", absent_classes="score"), targets_of(data)
    assert splits.n_absent == 1
    features = np.random.default_rng(0).normal(size=(len(data), 1, 4)).astype(np.float32)
    result = train_head(LinearOptions(l2=[1.0]), features, targets.values, splits, [0], n_classes=3, task="multi-label")
    assert (result.fits[0].probabilities[:, targets.names.index("rare")] == 0).all()
