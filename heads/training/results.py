"""Results of training a head over all folds and seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from heads.options import Configuration
from heads.training.per_layer import LayerFit


@dataclass(frozen=True)
class CandidateScore:
    """Validation score of one configuration on one layer of a fold.

    Attributes:
        configuration: The point of the grid.
        layer: The backbone's layer index, or `all`.
        valid_loss: Mean over seeds, see `heads.batched.losses`; nan if a fit failed (it is never chosen).
    """

    configuration: Configuration
    layer: int | str
    valid_loss: float


@dataclass(frozen=True)
class HeadFit:
    """The chosen head of one fold and seed.

    Attributes:
        fold: The test fold.
        seed: Seed of the head.
        test_rows: The scored rows, shape (n_test,).
        draw: Draw of the split, if the protocol draws several times.
        probabilities: Class probabilities, shape (n_test, C) float32; values (n_test, 1) in regression.
        valid_rows: The validation rows, shape (n_valid,).
        valid_probabilities: As `probabilities` for the validation rows, before any refit; None if they were not kept.
        configuration: The chosen point of the grid.
        layer: The chosen layer's index in the backbone, or `all`.
        valid_loss: Validation loss of this fit, before any refit; nan without validation rows.
        epochs: Passes over the training rows up to the kept state (`linear`: iterations of its solver).
        params_trained: Number of trained parameters of this fit, without the standardisation.
        state: Arrays by name that `heads.kinds.registry.predict` needs, including the standardisation.
        scores: Scores of the test rows before softmax or sigmoid, shape (n_test, C) float32; None if they were not
            kept, or the head has none.
    """

    fold: int | str
    seed: int
    draw: int
    test_rows: np.ndarray
    probabilities: np.ndarray
    valid_rows: np.ndarray
    valid_probabilities: np.ndarray | None
    configuration: Configuration
    layer: int | str
    valid_loss: float
    epochs: int
    params_trained: int
    state: Mapping[str, np.ndarray]
    scores: np.ndarray | None = None


@dataclass(frozen=True)
class HeadResult:
    """One head over all folds and seeds.

    Attributes:
        fits: By split, then by seed.
        candidates: Per fold and draw, every configuration on every layer, in the order of the grid.
        train_seconds: Duration of the whole job: all candidates, folds and seeds.
        layers: Fits of every split, layer and seed before any refit, if `keep_layers` was set.
    """

    fits: tuple[HeadFit, ...]
    candidates: dict[tuple[int | str, int], tuple[CandidateScore, ...]]
    train_seconds: float
    layers: tuple[LayerFit, ...] = ()

    @property
    def params_trained(self) -> int:
        """Number of trained parameters of one fit; the maximum if folds chose different widths."""
        return max(fit.params_trained for fit in self.fits)
