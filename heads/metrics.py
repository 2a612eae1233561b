"""Predictions of one model -> scores. Test clips are pooled over folds; figures are means over seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from sklearn.metrics import f1_score

from heads.predictions import Predictions

CLIP = 1e-7  # a probability counts at least this much in the log loss, so one sure mistake costs 16.1 nats


def accuracy(predictions: Sequence[Predictions]) -> float:
    """Share of test clips classified right, pooled over folds, mean over seeds."""
    return _over_seeds(predictions, lambda one: float(np.mean(one.predicted == one.targets)))


def macro_f1(predictions: Sequence[Predictions]) -> float:
    """Unweighted mean of the classes' F1, pooled over folds, mean over seeds; 0 for a class never right."""

    def score(one: Predictions) -> float:
        classes = np.unique(np.concatenate([one.targets, one.predicted]))
        return float(f1_score(one.targets, one.predicted, labels=classes, average="macro", zero_division=0))

    return _over_seeds(predictions, score)


def log_loss(predictions: Sequence[Predictions]) -> float:
    """Mean negative log probability of the true class in nats, clipped at `CLIP`, mean over seeds."""

    def score(one: Predictions) -> float:
        of_target = one.probabilities[np.arange(len(one.targets)), one.targets].astype(np.float64)
        return float(-np.log(np.clip(of_target, CLIP, 1.0)).mean())

    return _over_seeds(predictions, score)


def mean_of_folds(predictions: Sequence[Predictions]) -> float:
    """Mean of the folds' accuracies (mean over seeds each): what papers on official folds print."""
    return float(np.mean(list(fold_accuracies(predictions).values())))


def fold_accuracies(predictions: Sequence[Predictions]) -> dict[int | str, float]:
    """Accuracy of each test fold, mean over seeds."""
    folds = dict.fromkeys(one.fold for one in predictions)
    return {fold: accuracy([one for one in predictions if one.fold == fold]) for fold in folds}


def seed_accuracies(predictions: Sequence[Predictions]) -> dict[int, float]:
    """Accuracy of each seed, pooled over folds."""
    return {
        seed: accuracy([one for one in predictions if one.seed == seed]) for seed in {p.seed: 0 for p in predictions}
    }


def per_class_accuracy(predictions: Sequence[Predictions]) -> np.ndarray:
    """Share of each class' test clips classified right, shape (C,), mean over seeds; nan for an untested class."""
    scores = clip_scores(predictions)
    n_classes = predictions[0].probabilities.shape[1]
    return scores.groupby("target")["score"].mean().reindex(range(n_classes)).to_numpy()


def clip_scores(predictions: Sequence[Predictions]) -> pd.DataFrame:
    """How often each test clip is classified right: what intervals and comparisons are computed from.

    Returns:
        Indexed by clip `id` (sorted): `target` (class number) and `score`, the share of seeds that
        were right, in 0…1. Its mean is `accuracy`.

    Raises:
        ValueError: No predictions, or seeds that tested other clips than each other.
    """
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


def _over_seeds(predictions: Sequence[Predictions], score: Callable[[Predictions], float]) -> float:
    return float(np.mean([score(one) for one in pool(predictions).values()]))
