"""How many clips the page holds: a sample of points in charts, and a number of clips that can be listed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.report.outcomes.confusions import Confusions
from pipeline.report.study import Study

MOST_POINTS = 5000  # t-SNE takes about a minute for these; more points would overlap in the page
MOST_LISTED = 20_000
MOST_VALUES = 2_000_000  # numbers about clips; about 8 MB of JSON
VALUES_PER_CLIP = 12  # a clip's id and link are as long as this many numbers
SEED = 0


def sampled_clips(study: Study, most: int | None = None) -> np.ndarray:
    """Return numbers of test clips for a chart, ascending: all, or a random sample with a fixed seed.

    Args:
        study: The experiment.
        most: Size of the sample; None is `MOST_POINTS`, or fewer if the page would become too large.
    """
    n_clips, most = len(study.tested), min(MOST_POINTS, listed_clips(study)) if most is None else most
    if n_clips <= most:
        return np.arange(n_clips)
    return np.sort(np.random.default_rng(SEED).choice(n_clips, most, replace=False))


def listed_clips(study: Study) -> int:
    """Return how many clips the page can list with the predictions of all models."""
    per_clip = VALUES_PER_CLIP + sum(3 * model.outcomes.n_repetitions for model in study.learned)
    return min(MOST_LISTED, MOST_VALUES // per_clip)


def clips_per_cell(study: Study, matrices: Sequence[Confusions]) -> int | None:
    """Return how many clips of each cell of the confusion matrices the page can list; None is all.

    It is the largest number with which the cells together list at most half of `listed_clips`, but at least 1.
    """
    if len(study.tested) <= min(MOST_POINTS, listed_clips(study)):
        return None
    sizes, budget = np.concatenate([np.diff(one.starts) for one in matrices]), listed_clips(study) // 2
    low, high = 1, int(sizes.max(initial=1))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if np.minimum(sizes, middle).sum() <= budget else (low, middle - 1)
    return low
