"""What training a head over all folds and seeds leaves behind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from heads.options import Configuration
from heads.training.per_layer import LayerFit


@dataclass(frozen=True)
class CandidateScore:
    """How one configuration on one layer did on a fold's validation rows.

    Attributes:
        configuration: The point of the grid.
        layer: The backbone's layer index, or `all`.
        valid_loss: Mean over seeds, see `heads.batched.losses`; nan where a fit failed (it is never chosen).
    """

    configuration: Configuration
    layer: int | str
    valid_loss: float


@dataclass(frozen=True)
class HeadFit:
    """The chosen head of one fold and seed.

    Attributes:
        fold: The test fold.
        seed: Of the head.
        test_rows: Rows scored, shape (n_test,).
        draw: Of the split, where a protocol draws several.
        probabilities: Of each class for each test row, shape (n_test, C) float32; values (n_test, 1) in regression.
        configuration: The chosen point of the grid.
        layer: The chosen layer's index in the backbone, or `all`.
        valid_loss: Of this fit before any refit; nan without validation rows.
        epochs: Passes over the training rows up to the kept state (`linear`: rounds of its solver).
        params_trained: Trained numbers of this fit, without the standardisation.
        state: Arrays by name that `heads.batched.inference.predict` needs, standardisation included.
    """

    fold: int | str
    seed: int
    draw: int
    test_rows: np.ndarray
    probabilities: np.ndarray
    configuration: Configuration
    layer: int | str
    valid_loss: float
    epochs: int
    params_trained: int
    state: dict[str, np.ndarray]


@dataclass(frozen=True)
class HeadResult:
    """One head over all folds and seeds.

    Attributes:
        fits: By split, then by seed.
        candidates: Per fold and draw, every configuration on every layer, in the order of the grid.
        train_seconds: Of the whole job: all candidates, folds and seeds.
        layers: Of every split, layer and seed, where these were asked for; before any refit.
    """

    fits: tuple[HeadFit, ...]
    candidates: dict[tuple[int | str, int], tuple[CandidateScore, ...]]
    train_seconds: float
    layers: tuple[LayerFit, ...] = ()

    @property
    def params_trained(self) -> int:
        """Weights and biases of one fit; the largest where folds chose different widths."""
        return max(fit.params_trained for fit in self.fits)
