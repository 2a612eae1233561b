"""One division of the corpus into training, validation and test rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Split:
    """One division of the corpus.

    Attributes:
        fold: The test fold's name in the manifest; 1…5 for `kfold`; the group for
            `leave-one-group-out`; the protocol's name if there is only one split.
        train: Training rows: positions in the manifest, ascending int64, disjoint from `valid` and `test`.
        valid: Validation rows, for the choice of layer and hyper-parameters and for early stopping.
        test: Test rows, which are scored once, at the end.
        draw: Number of the draw, if a protocol repeats a fold with other rows.
    """

    fold: int | str
    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray
    draw: int = 0
