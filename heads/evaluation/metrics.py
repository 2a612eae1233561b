"""Predictions of one model -> scores. Test clips are pooled over folds; figures are means over repetitions.

A repetition is one seed and, where a protocol draws training clips repeatedly, one draw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from heads.evaluation.predictions import Predictions

if TYPE_CHECKING:
    import pandas as pd

ScoreFunction = Callable[[Sequence[Predictions]], float]
CLIP = 1e-7  # a probability counts at least this much in the log loss, so one sure mistake costs 16.1 nats


def accuracy(predictions: Sequence[Predictions]) -> float:
    """Share of test clips classified right."""
    return _over_repetitions(predictions, lambda one: float(np.mean(one.predicted == one.targets)))


def macro_f1(predictions: Sequence[Predictions]) -> float:
    """Unweighted mean of the classes' F1; 0 for a class never right, without those neither there nor predicted."""
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
    """F1 over all decisions, one per clip and class: of `multi-label` data."""
    from sklearn.metrics import f1_score

    def score(one: Predictions) -> float:
        return float(f1_score(one.targets, one.predicted, average="micro", zero_division=0))

    return _over_repetitions(predictions, score)


def log_loss(predictions: Sequence[Predictions]) -> float:
    """Mean negative log probability of the true class in nats, clipped at `CLIP`."""

    def score(one: Predictions) -> float:
        of_target = one.probabilities[np.arange(len(one.targets)), one.targets].astype(np.float64)
        return float(-np.log(np.clip(of_target, CLIP, 1.0)).mean())

    return _over_repetitions(predictions, score)


def class_average_precision(predictions: Sequence[Predictions]) -> np.ndarray:
    """Average precision of each class, shape (C,); nan for a class without a positive test clip.

    The mean of the precision at each positive clip in the order of the probabilities, where equal ones
    count as one step (scikit-learn's definition, without interpolation).
    """
    from sklearn.metrics import average_precision_score

    def score(one: Predictions) -> np.ndarray:
        return np.array(
            [
                average_precision_score(truth, said) if truth.any() else np.nan
                for truth, said in zip(one.targets.T, one.probabilities.T, strict=True)
            ]
        )

    return np.mean([score(one) for one in pool(predictions).values()], axis=0)


def mean_average_precision(predictions: Sequence[Predictions]) -> float:
    """Mean of `class_average_precision` over the classes with a positive test clip (mAP); nan without one."""
    by_class = class_average_precision(predictions)
    return float(np.nanmean(by_class)) if np.isfinite(by_class).any() else float("nan")


def concordance(predictions: Sequence[Predictions]) -> float:
    """Concordance correlation of predicted and true values (CCC; Lin 1989), of the population; 0 where one is constant.

    Twice the covariance over both variances and the squared difference of the means.
    """

    def score(one: Predictions) -> float:
        said, truth = one.predicted.astype(np.float64), one.targets
        spread = np.var(said) + np.var(truth) + (said.mean() - truth.mean()) ** 2
        return float(2 * np.mean((said - said.mean()) * (truth - truth.mean())) / spread) if spread > 0 else 0.0

    return _over_repetitions(predictions, score)


def squared_error(predictions: Sequence[Predictions]) -> float:
    """Mean squared error of predicted values (MSE)."""
    return _over_repetitions(predictions, lambda one: float(np.mean((one.predicted - one.targets) ** 2)))


def correlation(predictions: Sequence[Predictions]) -> float:
    """Pearson's correlation of predicted and true values; 0 where one is constant."""

    def score(one: Predictions) -> float:
        constant = np.ptp(one.predicted) == 0 or np.ptp(one.targets) == 0
        return 0.0 if constant else float(np.corrcoef(one.predicted, one.targets)[0, 1])

    return _over_repetitions(predictions, score)


def mean_of_folds(predictions: Sequence[Predictions], score: ScoreFunction = accuracy) -> float:
    """Mean of the folds' scores (mean over repetitions each): what papers on official folds print."""
    return float(np.mean(list(fold_scores(predictions, score).values())))


def fold_scores(predictions: Sequence[Predictions], score: ScoreFunction = accuracy) -> dict[int | str, float]:
    """Score of each test fold, mean over repetitions."""
    folds = dict.fromkeys(one.fold for one in predictions)
    return {fold: score([one for one in predictions if one.fold == fold]) for fold in folds}


def seed_scores(predictions: Sequence[Predictions], score: ScoreFunction = accuracy) -> dict[int, float]:
    """Score of each seed, pooled over folds, mean over draws."""
    seeds = sorted({one.seed for one in predictions})
    return {seed: score([one for one in predictions if one.seed == seed]) for seed in seeds}


def draw_scores(predictions: Sequence[Predictions], score: ScoreFunction = accuracy) -> dict[int, float]:
    """Score of each draw, pooled over folds, mean over seeds."""
    draws = sorted({one.draw for one in predictions})
    return {draw: score([one for one in predictions if one.draw == draw]) for draw in draws}


def spread(scores: Iterable[float]) -> float | None:
    """Standard deviation of repeated scores as an estimate for all (n - 1); None of a single one."""
    values = list(scores)
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def per_class_accuracy(predictions: Sequence[Predictions]) -> np.ndarray:
    """Share of each class' test clips classified right, shape (C,), mean over repetitions; nan where untested."""
    scores = clip_scores(predictions)
    n_classes = predictions[0].probabilities.shape[1]
    return scores.groupby("target")["score"].mean().reindex(range(n_classes)).to_numpy()


def clip_scores(predictions: Sequence[Predictions]) -> pd.DataFrame:
    """How often each test clip is classified right: what intervals and comparisons are computed from.

    Returns:
        Indexed by clip `id` (sorted): `target` (class number) and `score`, the share of repetitions
        that were right, in 0…1. Its mean is `accuracy`.

    Raises:
        ValueError: No predictions, or repetitions that tested other clips than each other.
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
        ValueError: No predictions; more than one model; a clip tested twice in one repetition;
            repetitions that tested other clips than each other.
    """
    if not predictions:
        raise ValueError("no predictions to score")
    models = {(one.run, one.model, one.head, one.pooling) for one in predictions}
    if len(models) > 1:
        raise ValueError(f"predictions of {len(models)} models cannot be pooled: {sorted(models)[:2]}…")
    pooled: dict[tuple[int, int], Predictions] = {}
    for seed, draw in sorted({(one.seed, one.draw) for one in predictions}):
        parts = [one for one in predictions if (one.seed, one.draw) == (seed, draw)]
        ids = np.concatenate([np.asarray(one.ids, dtype=object) for one in parts])
        order = np.argsort(ids)
        if len(set(ids)) < len(ids):
            raise ValueError(f"seed {seed}: {len(ids) - len(set(ids))} clips were tested more than once")
        pooled[seed, draw] = Predictions(
            probabilities=np.concatenate([one.probabilities for one in parts])[order],
            targets=np.concatenate([one.targets for one in parts])[order],
            ids=ids[order],
            fold="all",
            seed=seed,
            model=parts[0].model,
            head=parts[0].head,
            pooling=parts[0].pooling,
            run=parts[0].run,
            task=parts[0].task,
            draw=draw,
        )
    first, *others = pooled.values()
    if any(not np.array_equal(first.ids, other.ids) for other in others):
        raise ValueError("seeds tested different clips")
    return pooled


def _over_repetitions(predictions: Sequence[Predictions], score: Callable[[Predictions], float]) -> float:
    return float(np.mean([score(one) for one in pool(predictions).values()]))
