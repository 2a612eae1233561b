"""The table of scores of each task, used by `results.csv`, `results.json`, the printed tables and the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from features.labels import Task
from heads.evaluation import metrics
from heads.evaluation.bootstrap import (
    Resampled,
    draws_for,
    resampled_concordance,
    resampled_macro_f1,
    resampled_precision,
)
from heads.evaluation.class_scores import balanced_accuracy_interval
from heads.evaluation.predictions import Predictions
from heads.evaluation.statistics import DRAWS, TieTest, accuracy_interval, compare, tied_with_best

Models = Sequence[Sequence[Predictions]]
Resampler = Callable[[Sequence[Predictions], np.ndarray, int], Resampled]
Ends = tuple[float, float]


@dataclass(frozen=True)
class Ranking:
    """The models of one data set, compared by the score that ranks them.

    Attributes:
        values: Score of each model.
        intervals: Lower and upper end of each model's 95 % interval.
        comparisons: Each model compared with the best.
        draws: Number of bootstrap draws of the comparisons.
    """

    values: tuple[float, ...]
    intervals: tuple[Ends, ...]
    comparisons: tuple[TieTest, ...]
    draws: int


@dataclass(frozen=True)
class Estimation:
    """Functions that compute the intervals of a score and compare models by it.

    Both take the group of each test clip, shape (n,), clips in the order of their ids.

    Attributes:
        interval: Takes one model's predictions and the groups; returns the score and the ends of its 95 % interval.
        rank: Takes all models' predictions for the same test clips, and the groups; returns a `Ranking`.
    """

    interval: Callable[[Sequence[Predictions], np.ndarray], tuple[float, float, float]]
    rank: Callable[[Models, np.ndarray], Ranking]


@dataclass(frozen=True)
class Score:
    """One score of one task.

    Attributes:
        name: Its name in messages and in `results.json`.
        of: Function of one model's predictions (all folds and repetitions) that returns the score.
        heading: Heading of its column in printed tables; None: it is not printed.
        column: Its column in `results.csv`; None: it is only in `results.json`, under its name.
        higher_is_better: Whether tables sorted by it start with the highest value.
        form: Format specification for printing.
        estimation: The intervals and comparisons of the first score of a task; None for the others.
        interval: The interval of another score: takes one model's predictions and the groups; returns its 95 % ends.
            None: it has none.
    """

    name: str
    of: metrics.ScoreFunction
    heading: str | None = None
    column: str | None = None
    higher_is_better: bool = True
    form: str = ".3f"
    estimation: Estimation | None = None
    interval: Callable[[Sequence[Predictions], np.ndarray], Ends] | None = None


@dataclass(frozen=True)
class ClassScore:
    """A score of each class, in `results.json` and in the report.

    Attributes:
        name: Its key in `results.json`; its intervals have the key `<name>_ci`.
        heading: Its name in the report.
        of: Function that returns the score of each class, shape (C,); nan for a class without test clips.
        intervals: Takes one model's predictions and the groups; returns the ends of each tested class's 95 %
            interval. None: there are no intervals.
    """

    name: str
    heading: str
    of: Callable[[Sequence[Predictions]], np.ndarray]
    intervals: Callable[[Sequence[Predictions], np.ndarray], Mapping[int, Ends]] | None = None


def _interval_of_clips(predictions: Sequence[Predictions], groups: np.ndarray) -> tuple[float, float, float]:
    scores = metrics.clip_scores(predictions)["score"].to_numpy()
    return (float(scores.mean()), *accuracy_interval(scores, groups))


def _rank_by_clips(models: Models, groups: np.ndarray) -> Ranking:
    scores = [metrics.clip_scores(predictions)["score"].to_numpy() for predictions in models]
    compared = tied_with_best({str(at): one for at, one in enumerate(scores)}, groups)
    return Ranking(
        values=tuple(map(metrics.accuracy, models)),
        intervals=tuple(accuracy_interval(one, groups) for one in scores),
        comparisons=tuple(compared.values()),
        draws=DRAWS,
    )


def _class_intervals_of_clips(predictions: Sequence[Predictions], groups: np.ndarray) -> dict[int, Ends]:
    clips = metrics.clip_scores(predictions)
    scores, target = clips["score"].to_numpy(), clips["target"].to_numpy()
    return {
        int(own): accuracy_interval(scores[target == own], groups[target == own]) for own in np.unique(target).tolist()
    }


def _interval_of_draws(
    resampled: Resampler, predictions: Sequence[Predictions], groups: np.ndarray
) -> tuple[float, float, float]:
    one = resampled(predictions, groups, 0)
    return one.value, one.low, one.high


def _interval_of_macro_f1(predictions: Sequence[Predictions], groups: np.ndarray) -> Ends:
    one = resampled_macro_f1(predictions, groups, 0)
    return one.low, one.high


def _rank_by_draws(resampled: Resampler, models: Models, groups: np.ndarray) -> Ranking:
    n_draws = draws_for(models)
    found = [resampled(predictions, groups, n_draws) for predictions in models]
    compared = compare(
        {str(at): one.value for at, one in enumerate(found)},
        np.stack([one.draws for one in found], axis=1),
        len(np.unique(groups)),
    )
    return Ranking(
        values=tuple(one.value for one in found),
        intervals=tuple((one.low, one.high) for one in found),
        comparisons=tuple(compared.values()),
        draws=n_draws,
    )


def bootstrapped(resampled: Resampler) -> Estimation:
    """Return the estimation of a score that is not a mean over clips, see `heads.evaluation.bootstrap`."""
    return Estimation(partial(_interval_of_draws, resampled), partial(_rank_by_draws, resampled))


SHARE_OF_CLIPS = Estimation(_interval_of_clips, _rank_by_clips)
"""Estimation of accuracy, see `heads.evaluation.statistics`."""

SCORES: dict[Task, tuple[Score, ...]] = {
    "single-label": (
        Score("accuracy", metrics.accuracy, "accuracy", "accuracy", estimation=SHARE_OF_CLIPS),
        Score("macro_f1", metrics.macro_f1, "macro F1", "macro_f1", interval=_interval_of_macro_f1),
        Score("log_loss", metrics.log_loss, "log loss", "log_loss", higher_is_better=False),
        Score(
            "balanced_accuracy",
            metrics.balanced_accuracy,
            column="balanced_accuracy",
            interval=balanced_accuracy_interval,
        ),
    ),
    "multi-label": (
        Score("mAP", metrics.mean_average_precision, "value", "value", estimation=bootstrapped(resampled_precision)),
        Score("macro_f1", metrics.macro_f1, "macro F1", "macro_f1", interval=_interval_of_macro_f1),
        Score("micro_f1", metrics.micro_f1),
    ),
    "regression": (
        Score("CCC", metrics.concordance, "value", "value", estimation=bootstrapped(resampled_concordance)),
        Score("mse", metrics.squared_error, higher_is_better=False),
        Score("pearson", metrics.correlation),
    ),
}
"""The first score of a task ranks its models: higher is better, and it has an estimation. Its column is `accuracy`, or
`value` with its name in the column `metric`. The columns of the other scores are added at the end of `results.csv`,
unless they are in `pipeline.results.table.COLUMNS`."""

CLASS_SCORES: dict[Task, ClassScore] = {
    "single-label": ClassScore(
        "class_accuracy", "accuracy", metrics.per_class_accuracy, intervals=_class_intervals_of_clips
    ),
    "multi-label": ClassScore("class_average_precision", "average precision", metrics.class_average_precision),
}


def ranking_score(task: Task) -> Score:
    """Return the score that ranks the models of a task."""
    return SCORES[task][0]


def estimation_of(task: Task) -> Estimation:
    """Return the estimation of the score that ranks the models of a task.

    Raises:
        ValueError: The task's first score has no estimation.
    """
    score = ranking_score(task)
    if score.estimation is None:
        raise ValueError(f"{task}: {score.name} ranks the models, so it needs an estimation")
    return score.estimation
