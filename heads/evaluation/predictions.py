"""Predictions of a model for its test clips, by fold and seed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from features.labels import Task
from heads.evaluation.top_probabilities import TopProbabilities

THRESHOLD = 0.5  # a class of a multi-label clip is predicted from this probability on


@dataclass(frozen=True)
class Predictions:
    """Predictions of one model for one fold and seed.

    Attributes:
        probabilities: Probability of each class, shape (N, C) float32; classes in the order of `labels.json`.
            In `multi-label` they are independent. In `regression` the predicted values, (N, 1). In `single-label`
            they may be those of a few classes only.
        targets: True class of each clip, shape (N,) int64; in `multi-label` 0 or 1, shape (N, C); in
            `regression` the true values, shape (N,) float64.
        ids: Ids of the clips, shape (N,).
        fold: The test fold.
        seed: Seed of the head.
        model: Name of the backbone or fine-tuned model in tables.
        head: Name of the head in tables; "" for a fine-tuned model.
        pooling: Poolings that the head reads, joined by "+"; "" if there are none.
        layer: The layer that the head reads, or `all`; "" if there is none.
        run: Name of the experiment.
        task: The task, which determines the form of targets and probabilities.
        draw: Draw of the split, if a protocol draws training rows repeatedly.
        decided: Classes of each clip by the thresholds of an operating point, shape (N, C) bool; None: `THRESHOLD`.
            Only in `multi-label`.
    """

    probabilities: np.ndarray | TopProbabilities
    targets: np.ndarray
    ids: np.ndarray
    fold: int | str
    seed: int
    model: str
    head: str = ""
    pooling: str = ""
    layer: str = ""
    run: str = ""
    task: Task = "single-label"
    draw: int = 0
    decided: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Check that the arrays match.

        Raises:
            ValueError: Their lengths differ, or the targets do not fit the task.
        """
        shape, width = np.shape(self.targets), self.probabilities.shape[-1]
        wanted = (len(self.ids), width) if self.task == "multi-label" else (len(self.ids),)
        if len(self.probabilities.shape) != 2 or len(self.probabilities) != len(self.ids) or shape != wanted:
            columns = "(N, C), (N, C)" if self.task == "multi-label" else "(N, C), (N,)"
            raise ValueError(
                f"probabilities {self.probabilities.shape}, targets {shape} and ids {np.shape(self.ids)} do not "
                f"match; they should be {columns} and (N,)"
            )
        if not len(self.targets):
            return
        low, high = self.targets.min(), self.targets.max()
        if self.task == "regression" and width != 1:
            raise ValueError(f"{width} values per clip; regression predicts one")
        if self.task == "multi-label" and not np.array_equal(self.targets, self.targets != 0):
            raise ValueError(f"targets {low}…{high}; each class has 0 or 1")
        if self.task == "single-label" and not 0 <= low <= high < width:
            raise ValueError(f"targets {low}…{high} do not fit {width} classes")

    @property
    def predicted(self) -> np.ndarray:
        """The predicted class, classes or value of each clip.

        Returns:
            The most probable class (the first of equally probable ones), shape (N,) int64; in `multi-label` 1
            for the classes in `decided`, or else with a probability of at least `THRESHOLD`, and 0 for the others,
            shape (N, C) int8; in `regression` the value, shape (N,).
        """
        if self.task == "multi-label":
            return (self.scores >= THRESHOLD if self.decided is None else self.decided).astype(np.int8)
        return self.scores[:, 0] if self.task == "regression" else self._most_probable

    @cached_property
    def _most_probable(self) -> np.ndarray:
        if isinstance(self.probabilities, TopProbabilities):
            return self.probabilities.classes[:, 0].astype(np.int64)
        return self.probabilities.argmax(axis=1)

    @property
    def scores(self) -> np.ndarray:
        """The probabilities or values as an array, shape (N, C).

        Raises:
            ValueError: Only those of a few classes are known.
        """
        if isinstance(self.probabilities, TopProbabilities):
            raise ValueError(f"only {self.probabilities.classes.shape[1]} probabilities of each clip are known")
        return self.probabilities

    def probability_of(self, classes: np.ndarray) -> np.ndarray:
        """Return the probability of one class of each clip, in `single-label`.

        Args:
            classes: Class of each clip, shape (N,) int.

        Returns:
            Shape (N,) float32; 0 for a class whose probability was not kept.
        """
        if isinstance(self.probabilities, TopProbabilities):
            return self.probabilities.of_class(classes)
        return self.probabilities[np.arange(len(classes)), classes]
