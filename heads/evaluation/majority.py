"""The majority baseline: predictions from the training labels alone, without listening to a clip.

It is the score that a model has to beat to have learned anything from the audio.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from heads.evaluation.predictions import Predictions
from heads.options import MAJORITY

if TYPE_CHECKING:
    from heads.splits.protocol import Split
    from heads.splits.targets import Targets

BASELINE = "baseline"
"""Its `family`."""
ANSWERS = {
    "single-label": "always answers the most frequent training label",
    "multi-label": "answers each label with its rate in the training clips",
    "regression": "always answers the mean of the training values",
}


def majority_predictions(
    targets: Targets,
    splits: Sequence[Split],
    seeds: Sequence[int],
    ids: np.ndarray,
    *,
    run: str = "",
    refit: bool = False,
) -> list[Predictions]:
    """Predict every test clip of a fold from the labels of the fold's training clips.

    Args:
        targets: Targets of all clips.
        splits: Training, validation and test rows.
        seeds: Seeds of the experiment. The predictions do not depend on them; each seed gets a copy, so that the
            baseline is scored like the models.
        ids: Ids of all clips, shape (N,).
        run: Name of the experiment.
        refit: Use training and validation rows, as a head does that was trained on both.

    Returns:
        One per split and seed, with empty `head`, `pooling` and `layer`.
    """
    found = []
    for split in splits:
        rows = np.union1d(split.train, split.valid) if refit else split.train
        one = answer_of(targets, rows)
        answer = np.broadcast_to(one, (len(split.test), len(one)))
        found += [
            Predictions(
                probabilities=answer,
                targets=targets.values[split.test],
                ids=ids[split.test],
                fold=split.fold,
                seed=int(seed),
                model=MAJORITY,
                run=run,
                task=targets.task,
                draw=split.draw,
            )
            for seed in seeds
        ]
    return found


def answer_of(targets: Targets, rows: np.ndarray) -> np.ndarray:
    """Return the baseline's answer for every clip, from the labels of some rows.

    Returns:
        `single-label`: frequency of each class with one clip added to each (Laplace), so that the log loss is finite.
        `multi-label`: the rate of each class. `regression`: the mean. Shape (C,) or (1,) float32.
    """
    if targets.task == "regression":
        return np.array([targets.values[rows].mean()], dtype=np.float32)
    if targets.task == "multi-label":
        return (targets.members[rows].sum(axis=0) / len(rows)).astype(np.float32)
    counts = np.bincount(targets.values[rows], minlength=len(targets.names))
    return ((counts + 1) / (len(rows) + len(counts))).astype(np.float32)
