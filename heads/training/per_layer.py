"""Predictions of a head for the test clips on every layer, in addition to the layer chosen by validation.

They are for analysis only and have no influence on the choice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from heads.batched.blocks import BlockFit, Place
from heads.batched.job import Job, Predictor
from heads.evaluation.absent import never
from heads.options import Configuration
from heads.splits.protocol import Split


@dataclass(frozen=True)
class LayerFit:
    """The best candidate of one layer, fold and seed.

    Attributes:
        fold: The test fold.
        seed: Seed of the head.
        draw: Draw of the split.
        layer: The layer's index in the backbone.
        configuration: The point of the grid with the lowest validation loss on this layer.
        valid_loss: That loss, mean over seeds.
        test_rows: The scored rows, shape (n_test,).
        probabilities: As in `heads.training.results.HeadFit`, shape (n_test, C) float32.
    """

    fold: int | str
    seed: int
    draw: int
    layer: int
    configuration: Configuration
    valid_loss: float
    test_rows: np.ndarray
    probabilities: np.ndarray


class LayerScores:
    """Scores each layer of each split once its last configuration is trained, and then frees the states."""

    def __init__(
        self,
        job: Job,
        folds: Sequence[Split],
        names: Sequence[int],
        predict: Predictor,
        rows: Callable[[np.ndarray, int], Any],
        absent: Sequence[np.ndarray],
    ) -> None:
        """Start without candidates.

        Args:
            job: The training job.
            folds: Its splits.
            names: The backbone's index of each layer position.
            predict: Predictor of the head.
            rows: Function that returns raw features of some rows at a layer position.
            absent: Classes without training rows of each split.
        """
        self._job, self._folds, self._names = job, folds, names
        self._predict, self._rows, self._absent = predict, rows, absent
        self._best: dict[Place, BlockFit] = {}
        self._seen: Counter[Place] = Counter()
        self.fits: list[LayerFit] = []

    def see(self, fitted: BlockFit) -> None:
        """Add one candidate."""
        place = fitted.place
        self._seen[place] += 1
        if place not in self._best or fitted.rank < self._best[place].rank:
            self._best[place] = fitted
        if self._seen[place] == len(self._job.grid):
            self._score(self._best.pop(place))

    def in_order(self) -> tuple[LayerFit, ...]:
        """Return the fits by split, then layer, then seed."""
        order = {(fold.fold, fold.draw): at for at, fold in enumerate(self._folds)}
        return tuple(sorted(self.fits, key=lambda fit: (order[fit.fold, fit.draw], fit.layer, fit.seed)))

    def _score(self, best: BlockFit) -> None:
        """Keep the predictions of the layer's best candidate, unless it failed."""
        split = self._folds[best.place.fold]
        if not np.isfinite(best.valid_loss).all():
            return
        rows = self._rows(split.test, best.place.layer)
        absent, task = self._absent[best.place.fold], self._job.task
        predicted = [never(self._predict(state, rows, task), absent, task) for state in best.states]
        if not all(np.isfinite(one).all() for one in predicted):
            return
        self.fits += [
            LayerFit(
                fold=split.fold,
                seed=int(seed),
                draw=split.draw,
                layer=self._names[best.place.layer],
                configuration=self._job.grid[best.configuration],
                valid_loss=float(best.valid_loss.mean()),
                test_rows=split.test,
                probabilities=predicted[min(at, len(predicted) - 1)],  # a deterministic head has one fit
            )
            for at, seed in enumerate(self._job.seeds)
        ]
