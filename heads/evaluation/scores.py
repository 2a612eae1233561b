"""The scores of each task, in one table. `results.csv`, `results.json`, the printed tables and the report read it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from features.labels import Task
from heads.evaluation import metrics
from heads.evaluation.bootstrap import MIN_DRAWS, Resampled, draws_for, resampled_concordance, resampled_precision
from heads.evaluation.predictions import Predictions
from heads.evaluation.statistics import DRAWS, TieTest, accuracy_interval, compare, tied_with_best

Models = Sequence[Sequence[Predictions]]
Resampler = Callable[[Sequence[Predictions], np.ndarray, int], Resampled]
Ends = tuple[float, float]


@dataclass(frozen=True)
class Ranking:
    """Some models of one data set by the score that ranks them.

    Attributes:
        values: Score of each model.
        intervals: Low and high end of each model's 95 % interval.
        comparisons: Each model compared with the best.
        draws: Bootstrap draws of the comparisons.
    """

    values: tuple[float, ...]
    intervals: tuple[Ends, ...]
    comparisons: tuple[TieTest, ...]
    draws: int


@dataclass(frozen=True)
class Estimation:
    """How the intervals of a score are computed, and how models are compared by it.

    Groups are what each test clip belongs to, shape (n,), clips in the order of their ids.

    Attributes:
        interval: One model's predictions and the groups to its score and the ends of its 95 % interval.
        rank: All models' predictions, of the same test clips, and the groups to a `Ranking`.
    """

    interval: Callable[[Sequence[Predictions], np.ndarray], tuple[float, float, float]]
    rank: Callable[[Models, np.ndarray], Ranking]


@dataclass(frozen=True)
class Score:
    """One score of one task.

    Attributes:
        name: What people and `results.json` call it.
        of: The score of one model's predictions, all folds and repetitions.
        heading: Of its column in printed tables; None: it is not printed.
        column: Its column in `results.csv`; None: it is in `results.json` only, under its name.
        higher_is_better: Which models come first when a table is sorted by it.
        form: How a number is printed, as for `format`.
        estimation: Its intervals. The first score of a task needs one; the others have no interval.
    """

    name: str
    of: metrics.ScoreFunction
    heading: str | None = None
    column: str | None = None
    higher_is_better: bool = True
    form: str = ".3f"
    estimation: Estimation | None = None


@dataclass(frozen=True)
class ClassScore:
    """A score of each class, in `results.json` and in the report.

    Attributes:
        name: Its key in `results.json`; its intervals have the key `<name>_ci`.
        heading: What people call it.
        of: Score of each class, shape (C,); nan where no clip tests it.
        intervals: One model's predictions and the groups to the ends of each tested class' 95 % interval;
            None: there are none.
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
    one = resampled(predictions, groups, MIN_DRAWS)
    return one.value, one.low, one.high


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
    """Intervals and comparisons of a score that is no mean over clips, see `heads.evaluation.bootstrap`."""
    return Estimation(partial(_interval_of_draws, resampled), partial(_rank_by_draws, resampled))


SHARE_OF_CLIPS = Estimation(_interval_of_clips, _rank_by_clips)
"""Of accuracy, see `heads.evaluation.statistics`."""

SCORES: dict[Task, tuple[Score, ...]] = {
    "single-label": (
        Score("accuracy", metrics.accuracy, "accuracy", "accuracy", estimation=SHARE_OF_CLIPS),
        Score("macro_f1", metrics.macro_f1, "macro F1", "macro_f1"),
        Score("log_loss", metrics.log_loss, "log loss", "log_loss", higher_is_better=False),
    ),
    "multi-label": (
        Score("mAP", metrics.mean_average_precision, "value", "value", estimation=bootstrapped(resampled_precision)),
        Score("macro_f1", metrics.macro_f1, "macro F1", "macro_f1"),
        Score("micro_f1", metrics.micro_f1),
    ),
    "regression": (
        Score("CCC", metrics.concordance, "value", "value", estimation=bootstrapped(resampled_concordance)),
        Score("mse", metrics.squared_error, higher_is_better=False),
        Score("pearson", metrics.correlation),
    ),
}
"""The first score of a task ranks its models: higher is better, and it has an estimation. Its column is `accuracy`, or
`value` with its name in the column `metric`. The columns of the others are added at the end of `results.csv`, unless
`pipeline.results.table.COLUMNS` has them."""

CLASS_SCORES: dict[Task, ClassScore] = {
    "single-label": ClassScore(
        "class_accuracy", "accuracy", metrics.per_class_accuracy, intervals=_class_intervals_of_clips
    ),
    "multi-label": ClassScore("class_average_precision", "average precision", metrics.class_average_precision),
}


def ranking_score(task: Task) -> Score:
    """What models of a task are ranked by."""
    return SCORES[task][0]


def estimation_of(task: Task) -> Estimation:
    """How its intervals are computed.

    Raises:
        ValueError: The task's first score has no estimation.
    """
    score = ranking_score(task)
    if score.estimation is None:
        raise ValueError(f"{task}: {score.name} ranks the models, so it needs an estimation")
    return score.estimation
