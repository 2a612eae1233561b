"""The labels of a manifest as numeric targets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.labels import Task
from features.manifest import Manifest

QUANTILES = (0.2, 0.4, 0.6, 0.8)  # strata boundaries of regression values


@dataclass(frozen=True)
class Targets:
    """Labels of N clips.

    Attributes:
        task: The task, which determines the form of `values`.
        values: `single-label`: class of each clip, 0…C-1, shape (N,) int64. `multi-label`: 1 if the clip
            has the class, else 0, shape (N, C) float32. `regression`: shape (N,) float64.
        names: Names of the C classes; () in regression.
    """

    task: Task
    values: np.ndarray
    names: tuple[str, ...]

    def __len__(self) -> int:
        """Number of clips."""
        return len(self.values)

    @property
    def n_outputs(self) -> int:
        """Number of model outputs per clip: C, or 1 in regression."""
        return len(self.names) if self.task != "regression" else 1

    @property
    def members(self) -> np.ndarray:
        """Classes of each clip, shape (N, C) bool; (N, 0) in regression."""
        if self.task == "multi-label":
            return self.values > 0
        if self.task == "regression":
            return np.zeros((len(self.values), 0), dtype=bool)
        return self.values[:, None] == np.arange(len(self.names))


def targets_of(manifest: Manifest) -> Targets:
    """Return the manifest's labels as numbers, in the order of its rows and of `Manifest.labels`."""
    labels, names = manifest.clips["label"], tuple(manifest.labels)
    if manifest.task == "regression":
        return Targets("regression", labels.to_numpy(dtype=np.float64), ())
    numbers = {name: number for number, name in enumerate(names)}
    if manifest.task == "single-label":
        return Targets("single-label", labels.map(numbers).to_numpy(dtype=np.int64), names)
    values = np.zeros((len(labels), len(names)), dtype=np.float32)
    for row, held in enumerate(labels):
        values[row, [numbers[name] for name in held]] = 1
    return Targets("multi-label", values, names)


def strata(targets: Targets | Manifest) -> np.ndarray:
    """Return the stratum of each clip, for stratified draws.

    Args:
        targets: Targets of all clips, or the manifest.

    Returns:
        Shape (N,) int64. In `single-label` the class; in `multi-label` the rarest class of the clip (the
        first of equally rare ones; C for a clip without a class); in `regression` the quintile, 0…4.
    """
    if isinstance(targets, Manifest):
        targets = targets_of(targets)
    if targets.task == "single-label":
        return targets.values
    if targets.task == "regression":
        return np.searchsorted(np.quantile(targets.values, QUANTILES), targets.values, side="right").astype(np.int64)
    members = targets.members
    rarest = np.where(members, members.sum(axis=0), len(members) + 1).argmin(axis=1)
    return np.where(members.any(axis=1), rarest, members.shape[1]).astype(np.int64)
