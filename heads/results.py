"""What training a head over all folds and seeds leaves behind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from heads.options import Configuration


@dataclass(frozen=True)
class CandidateScore:
    """How one configuration on one layer did on a fold's validation rows.

    Attributes:
        configuration: The point of the grid.
        layer: The backbone's layer index.
        valid_log_loss: Mean over seeds, in nats; nan where a fit failed (it is never chosen).
    """

    configuration: Configuration
    layer: int
    valid_log_loss: float


@dataclass(frozen=True)
class HeadFit:
    """The chosen head of one fold and seed.

    Attributes:
        fold: The test fold.
        seed: Of the head.
        test_rows: Rows scored, shape (n_test,).
        probabilities: Of each class for each test row, shape (n_test, C) float32.
        configuration: The chosen point of the grid.
        layer: The chosen layer's index in the backbone.
        valid_log_loss: Of this fit, in nats.
        epochs: Passes over the training rows up to the kept state (`linear`: rounds of its solver).
        params_trained: Weights and biases of this fit.
        state: Arrays by name that `heads.predict.predict` needs, standardisation included.
    """

    fold: int | str
    seed: int
    test_rows: np.ndarray
    probabilities: np.ndarray
    configuration: Configuration
    layer: int
    valid_log_loss: float
    epochs: int
    params_trained: int
    state: dict[str, np.ndarray]


@dataclass(frozen=True)
class HeadResult:
    """One head over all folds and seeds.

    Attributes:
        fits: By fold, then by seed.
        candidates: Per fold, every configuration on every layer, in the order of the grid.
        train_seconds: Of the whole job: all candidates, folds and seeds.
    """

    fits: tuple[HeadFit, ...]
    candidates: dict[int | str, tuple[CandidateScore, ...]]
    train_seconds: float

    @property
    def params_trained(self) -> int:
        """Weights and biases of one fit; the largest where folds chose different widths."""
        return max(fit.params_trained for fit in self.fits)
