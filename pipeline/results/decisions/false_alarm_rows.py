"""False alarms of trained models on background: rows of `false_alarms.csv`, and the loudest of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from features.labels import Task
from heads.evaluation.decisions.false_alarms import Recordings, false_alarms
from heads.evaluation.decisions.operating_points import decide
from heads.evaluation.predictions import THRESHOLD
from pipeline.config.schema import BACKGROUND
from pipeline.results.decisions.calibration_rows import estimate_columns
from pipeline.results.decisions.fit_decisions import FitDecisions, FitKey

ALL, CLASS = "all", "class"
POISSON, CLUSTERED = "exact Poisson", "clustered by recording"


@dataclass(frozen=True)
class _Decided:
    """Decisions on all windows.

    Attributes:
        rule: What decides: the goal of the thresholds, the most probable class, or a probability of 0.5.
        averaged: Whether they are those of the mean of the folds, as `predict` decides by default.
        decisions: Decisions of each fit, or of the mean, shape (n, c) bool for the c classes that can alarm.
    """

    rule: str
    averaged: bool
    decisions: Sequence[np.ndarray]


@dataclass(frozen=True)
class LoudWindow:
    """A window with a false alarm.

    Attributes:
        window: Its position among the windows.
        label: Position of the class.
        score: Probability of the class, mean over the fits.
        fits: In how many fits it is a false alarm.
    """

    window: int
    label: int
    score: float
    fits: int


class FalseAlarmsOfModel:
    """What the fits of one model decide on windows of background."""

    def __init__(
        self,
        scores: Mapping[FitKey, np.ndarray],
        decisions: Mapping[FitKey, FitDecisions],
        recordings: Recordings,
        labels: Sequence[str],
        task: Task,
    ) -> None:
        """Calibrate and decide.

        Args:
            scores: Probabilities of each fit for the windows, without calibration, shape (n, C).
            decisions: Maps and thresholds of the fits; empty if there are none.
            recordings: The windows.
            labels: Class names. Deciding the class of background itself is no false alarm.
            task: `single-label` or `multi-label`.
        """
        self.recordings, self.labels, self.task = recordings, labels, task
        self.alarming = [at for at, label in enumerate(labels) if label != BACKGROUND or task == "multi-label"]
        own = [decisions.get(key, FitDecisions()) for key in scores]
        self.probabilities = [
            values if one.calibrator is None else one.calibrator(values, task)
            for values, one in zip(scores.values(), own, strict=True)
        ]
        first = min((draw, seed) for _, seed, draw in scores)
        together = [at for at, (_, seed, draw) in enumerate(scores) if (draw, seed) == first]
        points = [one.point for one in own if one.point is not None]
        default = "most probable class" if task == "single-label" else f"{THRESHOLD:g}"
        at_default = [np.full(len(labels), THRESHOLD)] * len(own)
        self.decided: list[_Decided] = []
        if len(points) == len(own):
            thresholds = [point.thresholds for point in points]
            self.decided += self._decided(str(points[0].rule), thresholds, together, abstain=True)
        self.decided += self._decided(default, at_default, together, abstain=False)

    def rows(self) -> list[dict[str, Any]]:
        """Return one row for all classes together and one for each, for the thresholds of the model and without."""
        return [row for decided in self.decided for row in self._rows(decided)]

    def loudest(self, most: int) -> list[LoudWindow]:
        """Return the windows with false alarms at the thresholds of the model, the most probable first."""
        counts = np.sum(self.decided[0].decisions, axis=0)
        mean = np.mean(self.probabilities, axis=0)
        windows, classes = np.nonzero(counts)
        order = np.argsort(-mean[windows, classes].round(9), kind="stable")[:most]
        return [
            LoudWindow(int(at), self.alarming[own], float(mean[at, own]), int(counts[at, own]))
            for at, own in zip(windows[order].tolist(), classes[order].tolist(), strict=True)
        ]

    def _decided(
        self, rule: str, thresholds: Sequence[np.ndarray], together: Sequence[int], *, abstain: bool
    ) -> Iterator[_Decided]:
        """Yield the decisions of each fit, and those of the mean of several folds."""

        def decide_all(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> list[np.ndarray]:
            return [decide(values, own, self.task, abstain=abstain)[:, self.alarming] for values, own in pairs]

        yield _Decided(rule, False, decide_all(zip(self.probabilities, thresholds, strict=True)))
        if len(together) > 1:
            mean = np.stack([self.probabilities[at] for at in together]).astype(np.float64).mean(axis=0)
            own = np.stack([thresholds[at] for at in together]).mean(axis=0)
            yield _Decided(rule, True, decide_all([(mean.astype(np.float32), own)]))

    def _rows(self, one: _Decided) -> Iterator[dict[str, Any]]:
        recordings, decided = self.recordings, one.decisions
        about = {"rule": one.rule, "averaged": one.averaged, "fits": len(decided)}
        about |= {"hours": recordings.total_hours, "recordings": len(recordings.hours)}
        about |= {"windows": len(recordings.of_window)}
        method = {"interval": POISSON if len(recordings.hours) == 1 else CLUSTERED}
        scopes = [(ALL, "", list(range(len(self.alarming))))]
        scopes += [(CLASS, self.labels[own], [column]) for column, own in enumerate(self.alarming)]
        for scope, label, columns in scopes:
            found = false_alarms([one[:, columns] for one in decided], recordings)
            counts = {"false_alarms": found.alarms, "events": found.events, "share_of_windows": found.share}
            yield (
                {"scope": scope, "class": label}
                | about
                | counts
                | estimate_columns("false_alarms_per_hour", found.per_hour)
                | {"events_per_hour": found.events / recordings.total_hours}
                | method
            )
