"""The table of scores of each task, used by `results.csv`, `results.json`, the printed tables and the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from features.labels import Task
from heads.evaluation import metrics
from heads.evaluation.bootstrap import Resampled, resampled_concordance, resampled_macro_f1, resampled_precision
from heads.evaluation.class_scores import balanced_accuracy_interval, clips_by_class
from heads.evaluation.predictions import Predictions
from heads.evaluation.statistics import TieTest, accuracy_interval, compare, tied_with_best

Resampler = Callable[[Sequence[Predictions], np.ndarray, int], Resampled]
Ends = tuple[float, float]


@dataclass(frozen=True)
class Evidence:
    """What the comparison of models needs of one model.

    Attributes:
        value: Its score.
        interval: Lower and upper end of its 95 % interval.
        paired: What is compared between models: the score of each test clip, shape (n,), or the score in each
            bootstrap draw, shape (draws,).
    """

    value: float
    interval: Ends
    paired: np.ndarray


@dataclass(frozen=True)
class Estimation:
    """Functions that compute the intervals of a score and compare models by it, one model in memory at a time.

    All take the group of each test clip, shape (n,), clips in the order of their ids.

    Attributes:
        interval: Takes one model's predictions and the groups; returns the score and the ends of its 95 % interval.
        evidence: Takes one model's predictions, the groups and a number of bootstrap draws.
        compare: Takes the evidence of all models, the groups and the number of draws; compares each with the best.
    """

    interval: Callable[[Sequence[Predictions], np.ndarray], tuple[float, float, float]]
    evidence: Callable[[Sequence[Predictions], np.ndarray, int], Evidence]
    compare: Callable[[Sequence[Evidence], np.ndarray, int], Sequence[TieTest]]


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


def _evidence_of_clips(predictions: Sequence[Predictions], groups: np.ndarray, n_draws: int) -> Evidence:
    scores = metrics.clip_scores(predictions)["score"].to_numpy()
    return Evidence(metrics.accuracy(predictions), accuracy_interval(scores, groups), scores)


def _compare_clips(models: Sequence[Evidence], groups: np.ndarray, n_draws: int) -> list[TieTest]:
    scores = {str(at): model.paired for at, model in enumerate(models)}
    return list(tied_with_best(scores, groups, draws=n_draws).values())


def _class_intervals_of_clips(predictions: Sequence[Predictions], groups: np.ndarray) -> dict[int, Ends]:
    clips = metrics.clip_scores(predictions)
    scores, target = clips["score"].to_numpy(), clips["target"].to_numpy()
    by_class = clips_by_class(target, int(target.max()) + 1)
    return {own: accuracy_interval(scores[rows], groups[rows]) for own, rows in enumerate(by_class) if len(rows)}


def _interval_of_draws(
    resampled: Resampler, predictions: Sequence[Predictions], groups: np.ndarray
) -> tuple[float, float, float]:
    one = resampled(predictions, groups, 0)
    return one.value, one.low, one.high


def _interval_of_macro_f1(predictions: Sequence[Predictions], groups: np.ndarray) -> Ends:
    one = resampled_macro_f1(predictions, groups, 0)
    return one.low, one.high


def _evidence_of_draws(
    resampled: Resampler, predictions: Sequence[Predictions], groups: np.ndarray, n_draws: int
) -> Evidence:
    one = resampled(predictions, groups, n_draws)
    return Evidence(one.value, (one.low, one.high), one.draws)


def _compare_draws(models: Sequence[Evidence], groups: np.ndarray, n_draws: int) -> list[TieTest]:
    values = {str(at): model.value for at, model in enumerate(models)}
    draws = np.stack([model.paired for model in models], axis=1)
    return list(compare(values, draws, len(np.unique(groups))).values())


def bootstrapped(resampled: Resampler) -> Estimation:
    """Return the estimation of a score that is not a mean over clips, see `heads.evaluation.bootstrap`."""
    return Estimation(partial(_interval_of_draws, resampled), partial(_evidence_of_draws, resampled), _compare_draws)


SHARE_OF_CLIPS = Estimation(_interval_of_clips, _evidence_of_clips, _compare_clips)
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
