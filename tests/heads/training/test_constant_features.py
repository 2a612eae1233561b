"""Features that are constant in the training rows: chance level, from every head and for every task."""

import numpy as np
import pytest

from heads.batched.frame_blocks import ClipLayers
from heads.finetuning.crops import band_statistics
from heads.finetuning.finetune import finetune
from heads.kinds.attention import AttentionOptions
from heads.kinds.knn import KnnOptions
from heads.kinds.linear import LinearOptions
from heads.kinds.mlp import MlpOptions
from heads.kinds.sklearn.head import SklearnOptions
from heads.kinds.weighted_sum import WeightedSumOptions
from heads.models.options import CnnOptions
from heads.splits.protocol import Split
from heads.training.train import train_head
from pipeline.finetune.windows import fit_windows
from tests.heads.learnables import Stored, Task

N, DIM = 30, 20
FOLD = np.arange(N) // 3 % 5
SIDES = [[np.flatnonzero((FOLD - k) % 5 == part) for part in (0, 1)] for k in range(5)]  # test and validation rows
SPLITS = [Split(f"f{k}", np.setdiff1d(np.arange(N), sides), sides[1], sides[0]) for k, sides in enumerate(SIDES)]
TARGETS = {
    "single-label": np.arange(N) % 3,
    "multi-label": np.eye(3, dtype=np.float32)[np.arange(N) % 3],
    "regression": np.random.default_rng(1).normal(size=N),
}
HEADS = [
    LinearOptions(),
    KnnOptions(k=[3]),
    MlpOptions(max_epochs=3),
    MlpOptions(max_epochs=3, norm="batch", label="mlp-batch"),
    WeightedSumOptions(max_epochs=3),
    AttentionOptions(max_epochs=3),
    SklearnOptions(estimator="sklearn.discriminant_analysis.LinearDiscriminantAnalysis"),
    SklearnOptions(estimator="sklearn.naive_bayes.GaussianNB"),
    SklearnOptions(estimator="sklearn.svm.SVC"),
]
OURS = [head for head in HEADS if head.name != "sklearn"]


def constant(kind):
    """Features of N clips, (N, 1, DIM), that say nothing, in several ways."""
    rng = np.random.default_rng(0)
    values = np.repeat(rng.normal(size=(1, 1, DIM)).astype(np.float32) * 100, N, axis=0)
    if kind == "zero":
        values[:] = 0
    if kind == "rounding":  # each differs in its last bit
        values = np.where(rng.random(values.shape) < 0.5, values, np.nextafter(values, np.float32(np.inf)))
    if kind == "large":
        values = (3e37 * (1 + 1e-7 * rng.normal(size=values.shape))).astype(np.float32)
    return values


def train(options, features, task="single-label", splits=SPLITS):
    if options.reads == "frames":
        frames = [np.repeat(clip, 4, axis=0) for clip in features]
        features = ClipLayers(Stored(frames), np.arange(len(features)), [0])
    n_classes = 1 if task == "regression" else 3
    return train_head(options, features, TARGETS[task], splits, [0], n_classes=n_classes, task=task)


@pytest.mark.parametrize("kind", ["zero", "equal", "rounding", "large"])
@pytest.mark.parametrize("options", HEADS, ids=lambda options: options.title)
def test_clips_that_all_sound_the_same_are_classified_at_chance_level(options, kind):
    for fit in train(options, constant(kind)).fits:
        assert (fit.probabilities == fit.probabilities[0]).all()
        assert np.mean(fit.probabilities.argmax(1) == TARGETS["single-label"][fit.test_rows]) == pytest.approx(1 / 3)


@pytest.mark.parametrize("task", ["multi-label", "regression"])
@pytest.mark.parametrize("options", OURS, ids=lambda options: options.title)
def test_other_tasks_predict_one_answer_for_all(options, task):
    for fit in train(options, constant("rounding"), task).fits:
        assert np.isfinite(fit.probabilities).all()
        assert (fit.probabilities == fit.probabilities[0]).all()


@pytest.mark.parametrize("options", HEADS, ids=lambda options: options.title)
def test_what_is_constant_in_a_training_fold_alone_counts_for_nothing_there(options):
    features = constant("rounding")
    other = np.setdiff1d(np.arange(N), SPLITS[0].train)
    features[other] += 1000 * np.random.default_rng(2).normal(size=(len(other), 1, DIM)).astype(np.float32)
    (fit,) = train(options, features, splits=SPLITS[:1]).fits
    assert (fit.probabilities == fit.probabilities[0]).all()


def test_single_constant_columns_change_nothing():
    rng = np.random.default_rng(3)
    features = rng.normal(size=(N, 1, DIM)).astype(np.float32)
    features[:, 0, :3] += 3 * np.eye(3)[TARGETS["single-label"]]
    wider = np.concatenate([features, constant("rounding")], axis=2)
    for options in (LinearOptions(l2=0.1), KnnOptions(k=3)):
        for one, other in zip(train(options, features).fits, train(options, wider).fits, strict=True):
            np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-5)


def test_frames_stored_in_half_precision_are_constant_up_to_their_own_rounding():
    rng = np.random.default_rng(4)
    frames = [(np.full((5, DIM), 100.0) * (1 + 4e-4 * rng.normal(size=(5, DIM)))).astype(np.float16) for _ in range(N)]
    assert len({frame.tobytes() for frame in frames}) > 1
    clips = ClipLayers(Stored(frames), np.arange(N), [0])
    options = AttentionOptions(max_epochs=3)
    for fit in train_head(options, clips, TARGETS["single-label"], SPLITS, [0], n_classes=3).fits:
        assert (fit.probabilities == fit.probabilities[0]).all()


def test_constant_bands_have_no_effect_on_models_trained_end_to_end(tmp_path):
    options = CnnOptions(name="cnn", epochs=2, patience=None, batch_size=8, channels=[4, 4], threads=1)
    task = Task(options, strength=0.0)
    quiet = np.float32(-100.1)  # its squares do not cancel exactly in double precision
    for clip, frames in enumerate(task.frames.arrays):
        frames[:] = quiet if clip in task.rows.train else frames * 40
    mean, deviation = band_statistics(task.frames, task.rows.train)
    assert np.allclose(mean.numpy(), quiet) and deviation.isinf().all()
    windows = fit_windows(options, None, task.frames, 70, (mean, deviation))
    inputs, _ = windows.crops([0], np.random.default_rng(0))
    assert (inputs == mean).all()  # the padding, too
    fitted = finetune(task.build, task.clips, task.rows, options, 0, tmp_path)
    assert np.isfinite(fitted.probabilities).all()
    assert (fitted.probabilities == fitted.probabilities[0]).all()
