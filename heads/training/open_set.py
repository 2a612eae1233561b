"""Scores by which a head tells clips of its own classes from clips of a class that it has never seen.

The maximum of the probabilities is the baseline of Hendrycks and Gimpel (2017), the energy that of Liu et al. (2020).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from heads.batched.inference import count_layers
from heads.training.results import HeadFit


@dataclass(frozen=True)
class KnownScores:
    """Scores of the test clips of one fit; higher for clips that are more like the known classes.

    Attributes:
        fit: The fit, which was trained without the class that is held out.
        max_probability: Probability of the most probable known class, shape (n_test,) float32.
        energy: Negative energy, the log of the summed exponentials of the scores before softmax, shape (n_test,)
            float32; None if the head has no such scores.
    """

    fit: HeadFit
    max_probability: np.ndarray
    energy: np.ndarray | None


def known_scores(fit: HeadFit, known: np.ndarray) -> KnownScores:
    """Compute the scores of one fit.

    A softmax does not change if a number is added to all its inputs, but the energy does. So the biases of the last
    layer are shifted to a mean of zero over the known classes, which makes energies of different folds comparable.

    Args:
        fit: A fit of a `single-label` head with its test probabilities, and with its scores if it has them.
        known: Classes with training rows, as their numbers in the fit's probabilities. Without a class of background,
            since a clip that is most probably background is not known.
    """
    energy = None
    if fit.scores is not None:
        bias = fit.state[f"bias_{count_layers(fit.state) - 1}"]
        scores = fit.scores[:, known].astype(np.float64) - float(bias[known].astype(np.float64).mean())
        energy = np.logaddexp.reduce(scores, axis=1).astype(np.float32)
    return KnownScores(fit, fit.probabilities[:, known].max(axis=1), energy)
