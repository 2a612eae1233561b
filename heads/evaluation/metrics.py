"""Scores from the predictions of one model. Test clips are pooled over folds; scores are means over repetitions.

A repetition is one seed and, if a protocol draws training clips repeatedly, one draw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from heads.evaluation.predictions import Predictions
from heads.evaluation.ranked_clips import average_precision
from heads.evaluation.top_probabilities import concatenated

if TYPE_CHECKING:
    import pandas as pd

ScoreFunction = Callable[[Sequence[Predictions]], float]
CLIP = 1e-7  # lower bound of probabilities in the log loss, so that one confident error costs at most 16.1 nats


def accuracy(predictions: Sequence[Predictions]) -> float:
    """Return the fraction of test clips that are classified correctly."""
    return _over_repetitions(predictions, lambda one: float(np.mean(one.predicted == one.targets)))


def macro_f1(predictions: Sequence[Predictions]) -> float:
    """Return the unweighted mean of the classes' F1, without classes that are neither in the targets nor predicted."""
    from sklearn.metrics import f1_score

    def score(one: Predictions) -> float:
        if one.task == "multi-label":
            classes = np.flatnonzero(one.targets.any(axis=0) | one.predicted.any(axis=0))
        else:
            classes = np.unique(np.concatenate([one.targets, one.predicted]))
        if not len(classes):
            return float("nan")
        return float(f1_score(one.targets, one.predicted, labels=classes, average="macro", zero_division=0))

    return _over_repetitions(predictions, score)


def micro_f1(predictions: Sequence[Predictions]) -> float:
    """Return F1 over all decisions, one per clip and class; for `multi-label` data."""
    from sklearn.metrics import f1_score

    def score(one: Predictions) -> float:
        return float(f1_score(one.targets, one.predicted, average="micro", zero_division=0))

    return _over_repetitions(predictions, score)


def log_loss(predictions: Sequence[Predictions]) -> float:
    """Return the mean of `log_loss_of` over clips."""
    return _over_repetitions(predictions, lambda one: float(log_loss_of(one).mean()))


def log_loss_of(one: Predictions) -> np.ndarray:
    """Return the negative log probability of the truth of each clip in nats, clipped at `CLIP`, shape (n,).

    In `multi-label` it is the mean over classes.
    """
    if one.task == "multi-label":
        of_truth = np.where(one.targets > 0, one.scores, 1 - one.scores.astype(np.float64))
        return -np.log(np.clip(of_truth, CLIP, 1.0)).mean(axis=1)
    return -np.log(np.clip(one.probability_of(one.targets).astype(np.float64), CLIP, 1.0))


def class_average_precision(predictions: Sequence[Predictions]) -> np.ndarray:
    """Compute the average precision of each class.

    This is the mean of the precision at each positive clip, sorted by probability; equal probabilities count
    as one step (scikit-learn's definition, without interpolation).

    Returns:
        Shape (C,); nan for a class without a positive test clip.
    """

    def score(one: Predictions) -> np.ndarray:
        columns = zip(np.ascontiguousarray((one.targets > 0).T), np.ascontiguousarray(one.scores.T), strict=True)
        return np.array([average_precision(scores, truth) if truth.any() else np.nan for truth, scores in columns])

    return np.mean([score(one) for one in pool(predictions).values()], axis=0)


def mean_average_precision(predictions: Sequence[Predictions]) -> float:
    """Return the mean of `class_average_precision` over classes with a positive test clip (mAP); nan without one."""
    by_class = class_average_precision(predictions)
    return float(np.nanmean(by_class)) if np.isfinite(by_class).any() else float("nan")


def concordance(predictions: Sequence[Predictions]) -> float:
    """Return the concordance correlation of predicted and true values (CCC; Lin 1989); 0 if one is constant.

    It is twice the covariance divided by the sum of both variances and the squared difference of the means,
    with population (not sample) variances.
    """

    def score(one: Predictions) -> float:
        values, truth = one.predicted.astype(np.float64), one.targets
        spread = np.var(values) + np.var(truth) + (values.mean() - truth.mean()) ** 2
        return float(2 * np.mean((values - values.mean()) * (truth - truth.mean())) / spread) if spread > 0 else 0.0

    return _over_repetitions(predictions, score)


def squared_error(predictions: Sequence[Predictions]) -> float:
    """Return the mean squared error of predicted values (MSE)."""
    return _over_repetitions(predictions, lambda one: float(np.mean((one.predicted - one.targets) ** 2)))


def correlation(predictions: Sequence[Predictions]) -> float:
    """Return Pearson's correlation of predicted and true values; 0 if one is constant."""

    def score(one: Predictions) -> float:
        constant = np.ptp(one.predicted) == 0 or np.ptp(one.targets) == 0
        return 0.0 if constant else float(np.corrcoef(one.predicted, one.targets)[0, 1])

    return _over_repetitions(predictions, score)


def fold_scores(predictions: Sequence[Predictions], score: ScoreFunction = accuracy) -> dict[int | str, float]:
    """Return the score of each test fold, mean over repetitions."""
    folds = dict.fromkeys(one.fold for one in predictions)
    return {fold: score([one for one in predictions if one.fold == fold]) for fold in folds}


def seed_scores(predictions: Sequence[Predictions], score: ScoreFunction = accuracy) -> dict[int, float]:
    """Return the score of each seed, pooled over folds, mean over draws."""
    seeds = sorted({one.seed for one in predictions})
    return {seed: score([one for one in predictions if one.seed == seed]) for seed in seeds}


def draw_scores(predictions: Sequence[Predictions], score: ScoreFunction = accuracy) -> dict[int, float]:
    """Return the score of each draw, pooled over folds, mean over seeds."""
    draws = sorted({one.draw for one in predictions})
    return {draw: score([one for one in predictions if one.draw == draw]) for draw in draws}


def spread(scores: Iterable[float]) -> float | None:
    """Return the sample standard deviation (n - 1) of repeated scores; None for a single score."""
    values = list(scores)
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def per_class_accuracy(predictions: Sequence[Predictions]) -> np.ndarray:
    """Return each class's fraction of correctly classified test clips, shape (C,), mean over repetitions.

    Classes without test clips are nan.
    """
    scores = clip_scores(predictions)
    n_classes = predictions[0].probabilities.shape[1]
    return scores.groupby("target")["score"].mean().reindex(range(n_classes)).to_numpy()


def balanced_accuracy(predictions: Sequence[Predictions]) -> float:
    """Return the mean of the classes' recalls, over classes with test clips."""
    return float(np.nanmean(per_class_accuracy(predictions)))


def clip_scores(predictions: Sequence[Predictions]) -> pd.DataFrame:
    """Compute how often each test clip is classified correctly, for intervals and comparisons.

    Returns:
        Table indexed by clip `id` (sorted): `target` (class number) and `score`, the fraction of repetitions
        with a correct prediction, in 0…1. Its mean is `accuracy`.

    Raises:
        ValueError: There are no predictions, or repetitions tested different clips.
    """
    import pandas as pd

    pooled = pool(predictions)
    first = next(iter(pooled.values()))
    scores = np.mean([one.predicted == one.targets for one in pooled.values()], axis=0)
    return pd.DataFrame({"target": first.targets, "score": scores}, index=pd.Index(first.ids, name="id"))


def pool(predictions: Sequence[Predictions]) -> dict[tuple[int, int], Predictions]:
    """Join one model's folds.

    Returns:
        Per repetition (seed, draw), the predictions of all test clips in the order of their ids;
        `fold` is `all`.

    Raises:
        ValueError: There are no predictions, or several models; a clip was tested twice in one repetition;
            repetitions tested different clips.
    """
    if not predictions:
        raise ValueError("no predictions to score")
    models = {(one.run, one.model, one.head, one.pooling) for one in predictions}
    if len(models) > 1:
        raise ValueError(f"predictions of {len(models)} models cannot be pooled: {sorted(models)[:2]}…")
    pooled = {}
    for seed, draw in sorted({(one.seed, one.draw) for one in predictions}):
        pooled[seed, draw] = _joined([one for one in predictions if (one.seed, one.draw) == (seed, draw)])
    first, *others = pooled.values()
    if any(not np.array_equal(first.ids, other.ids) for other in others):
        raise ValueError("seeds tested different clips")
    return pooled


def _joined(parts: Sequence[Predictions]) -> Predictions:
    """Join the folds of one repetition; clips are sorted by id. A single part in this order is not copied."""
    first = parts[0]
    ids = np.concatenate([np.asarray(one.ids, dtype=object) for one in parts])
    if len(parts) == 1 and np.all(ids[:-1] < ids[1:]):
        return replace(first, fold="all", layer="")
    order = np.argsort(ids)
    if len(set(ids)) < len(ids):
        raise ValueError(f"seed {first.seed}: {len(ids) - len(set(ids))} clips were tested more than once")
    decided = [one.decided for one in parts if one.decided is not None]
    return replace(
        first,
        probabilities=concatenated([one.probabilities for one in parts])[order],
        targets=np.concatenate([one.targets for one in parts])[order],
        ids=ids[order],
        fold="all",
        layer="",
        decided=np.concatenate(decided)[order] if len(decided) == len(parts) else None,
    )


def _over_repetitions(predictions: Sequence[Predictions], score: Callable[[Predictions], float]) -> float:
    return float(np.mean([score(one) for one in pool(predictions).values()]))
