"""One model's predictions of the test clips without the probabilities of all classes, with clips in page order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from features.labels import Task
from heads.evaluation.metrics import CLIP
from heads.evaluation.predictions import THRESHOLD, Predictions
from heads.evaluation.top_probabilities import TopProbabilities

CHUNK_CELLS = 2**21  # clips × classes at a time


@dataclass(frozen=True)
class Errors:
    """For each of N clips the class about which a model is most confidently wrong.

    Predictions are those of the mean probabilities over repetitions. With the thresholds of an operating point, a class
    is predicted if at least half of the repetitions decide it.

    Attributes:
        label: The class, shape (N,) int.
        predicted: Whether the model predicts the class. False if it misses it (`multi-label` only). Shape (N,) bool.
        probability: Probability of the prediction, mean over repetitions, shape (N,).
        wrong: Whether the prediction is wrong, shape (N,) bool.
    """

    label: np.ndarray
    predicted: np.ndarray
    probability: np.ndarray
    wrong: np.ndarray


@dataclass(frozen=True)
class Outcomes:
    """Predictions of one model for all N test clips in R repetitions. A repetition is one seed and draw, all folds.

    Attributes:
        task: The task.
        n_classes: Number of classes, C; 1 in regression.
        packed: The predictions, shape (R, N): classes int32, or values. In `multi-label` the classes as bits, shape
            (R, N, C/8) uint8. Use `predicted`.
        packed_targets: As `packed`, shape (N,) or (N, C/8). Use `targets`.
        difficulty: How far the model is from the truth, mean over repetitions, shape (N,); higher is harder. In
            `single-label` 1 minus the probability of the true class, in `multi-label` log loss in nats, mean over
            classes, in regression the absolute error.
        confidence: In `single-label` the probability of the predicted class, shape (R, N) float32.
        support: The same, mean over the probabilities of all repetitions.
        truth: In `single-label` the probability of the true class, shape (R, N) float32.
        errors: The most confident error about each clip; None in regression.
    """

    task: Task
    n_classes: int
    packed: np.ndarray
    packed_targets: np.ndarray
    difficulty: np.ndarray
    confidence: np.ndarray | None = None
    support: np.ndarray | None = None
    truth: np.ndarray | None = None
    errors: Errors | None = None

    @property
    def n_repetitions(self) -> int:
        """Number of repetitions, R."""
        return len(self.packed)

    @property
    def n_clips(self) -> int:
        """Number of clips, N."""
        return self.packed.shape[1]

    def predicted(self, clips: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Return the prediction of each repetition for n clips: shape (R, n); (R, n, C) bool for `multi-label`."""
        return self._unpacked(self.packed[:, clips])

    def targets(self, clips: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Return the true class or value of n clips: shape (n,); (n, C) bool for `multi-label`."""
        return self._unpacked(self.packed_targets[clips])

    def always_wrong(self) -> np.ndarray:
        """Return whether every repetition is wrong about a clip: shape (N,); (N, C) bool for `multi-label`."""
        return np.all(self.predicted() != self.targets(), axis=0)

    def _unpacked(self, packed: np.ndarray) -> np.ndarray:
        return np.unpackbits(packed, axis=-1, count=self.n_classes).view(bool) if self._is_packed else packed

    @property
    def _is_packed(self) -> bool:
        return self.task == "multi-label"


def outcomes(pooled: Sequence[Predictions], order: np.ndarray) -> Outcomes:
    """Return what the page needs of the predictions of one model.

    Args:
        pooled: The predictions of each repetition, from `heads.evaluation.metrics.pool`.
        order: The place of each clip of the page in `pooled`, shape (N,).
    """
    first = pooled[0]
    make = {"single-label": _of_classes, "multi-label": _of_lists, "regression": _of_values}[first.task]
    return make(pooled, order)


def _of_values(pooled: Sequence[Predictions], order: np.ndarray) -> Outcomes:
    predicted, targets = np.stack([one.predicted[order] for one in pooled]), pooled[0].targets[order]
    errors = np.abs(predicted.astype(np.float64) - targets)
    return Outcomes("regression", 1, predicted, targets, errors.mean(axis=0))


def _of_classes(pooled: Sequence[Predictions], order: np.ndarray) -> Outcomes:
    predicted = np.stack([one.predicted[order] for one in pooled])
    targets = pooled[0].targets[order]
    confidence = np.stack([one.probability_of(one.predicted)[order] for one in pooled])
    truth = np.stack([one.probability_of(one.targets)[order] for one in pooled])
    if len(pooled) == 1:
        support, guess, probability = confidence, predicted[0], confidence[0].astype(np.float64)
    else:
        support = np.empty_like(confidence)
        guess, probability = np.empty(len(order), np.int64), np.empty(len(order))
        for clips, means in _means(pooled, order):
            rows = np.arange(len(means))
            support[:, clips] = means[rows, predicted[:, clips]]
            guess[clips] = means.argmax(axis=1)
            probability[clips] = means[rows, guess[clips]]
    return Outcomes(
        "single-label",
        pooled[0].probabilities.shape[1],
        predicted.astype(np.int32),
        targets,
        (1 - truth.astype(np.float64)).mean(axis=0),
        confidence,
        support,
        truth,
        Errors(guess.astype(np.int32), np.ones(len(guess), bool), probability, guess != targets),
    )


def _of_lists(pooled: Sequence[Predictions], order: np.ndarray) -> Outcomes:
    targets = pooled[0].targets[order] > 0
    decided = [one.decided for one in pooled if one.decided is not None]
    label, predicted = np.empty(len(order), np.int32), np.empty(len(order), bool)
    wrong, probability, difficulty = np.empty(len(order), bool), np.empty(len(order)), np.empty(len(order))
    for clips, means in _means(pooled, order):
        present, rows = targets[clips], np.arange(len(means))
        says = (np.mean([own[order[clips]] for own in decided], axis=0) if decided else means) >= THRESHOLD
        mistaken = says != present
        against = np.where(present, 1 - means, means)
        label[clips] = np.where(mistaken, against, -1).argmax(axis=1)
        wrong[clips] = mistaken[rows, label[clips]]
        predicted[clips] = ~present[rows, label[clips]]
        probability[clips] = against[rows, label[clips]]
        of_truth = [np.where(present, own, 1 - own) for own in (_dense(one, order[clips]) for one in pooled)]
        difficulty[clips] = np.mean([-np.log(np.clip(own, CLIP, 1.0)).mean(axis=1) for own in of_truth], axis=0)
    return Outcomes(
        "multi-label",
        targets.shape[1],
        np.stack([np.packbits(one.predicted[order], axis=-1) for one in pooled]),
        np.packbits(targets, axis=-1),
        difficulty,
        errors=Errors(label, predicted, probability, wrong),
    )


def _means(pooled: Sequence[Predictions], order: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield some clips and the mean of their probabilities over repetitions, shape (n, C) float64."""
    some = max(1, CHUNK_CELLS // pooled[0].probabilities.shape[1])
    for at in range(0, len(order), some):
        clips = slice(at, at + some)
        yield clips, np.mean([_dense(one, order[clips]) for one in pooled], axis=0)


def _dense(one: Predictions, clips: np.ndarray) -> np.ndarray:
    """Return the probabilities of some clips, shape (n, C) float64; 0 for those that were not kept."""
    part = one.probabilities[clips]
    if isinstance(part, TopProbabilities):
        dense = np.zeros(part.shape)
        np.put_along_axis(dense, part.classes, part.values.astype(np.float64), axis=1)
        return dense
    return part.astype(np.float64)
