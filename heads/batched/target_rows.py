"""Targets of a block's rows in little memory: an integer, a bit per class, or a value per row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy

import numpy as np
import torch
from torch import Tensor

from features.labels import Task
from heads.batched.row_slices import row_slices

PACKED_AT_ONCE = 2**24  # zeros and ones that are packed or counted at once


class TargetRows:
    """Targets of n rows.

    Attributes:
        task: The task, which determines the form of the targets.
        n_outputs: C; 1 in regression.
        mean: Mean that was subtracted from the values in regression, else 0.
        scale: What they were divided by, else 1.
    """

    def __init__(self, targets: np.ndarray, rows: np.ndarray, task: Task, device: torch.device, n_scaled: int) -> None:
        """Store the targets of some rows.

        Args:
            targets: Targets of all clips: classes (N,), zeros and ones (N, C), or values (N,).
            rows: The rows to store, shape (n,).
            task: The task.
            device: Device of the stored targets.
            n_scaled: In regression, values are standardised by the mean and deviation of this many first rows.
        """
        self.task = task
        self.n_outputs = targets.shape[1] if task == "multi-label" else 1
        self.mean, self.scale = 0.0, 1.0
        if task == "single-label":
            stored = targets[rows].astype(np.int64)
        elif task == "multi-label":
            stored = _packed(targets, rows)
        else:
            values = targets[rows].astype(np.float64)
            self.mean, self.scale = value_scale(values[:n_scaled])
            stored = ((values - self.mean) / self.scale)[:, None]
        self._stored = torch.from_numpy(stored).to(device)

    @classmethod
    def joined(cls, parts: Sequence[TargetRows]) -> TargetRows:
        """Return the rows of several blocks, one after another; values keep the standardisation of their block."""
        found = copy(parts[0])
        found._stored = torch.cat([part._stored for part in parts])
        return found

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._stored)

    def take(self, rows: Tensor | slice) -> Tensor:
        """Return the targets of some rows.

        Args:
            rows: Positions, shape (…,) int64, or a slice.

        Returns:
            Classes (…,) int64; zeros and ones (…, C) uint8; standardised values (…, 1) float64.
        """
        if isinstance(rows, slice):
            found = self._stored[rows]
        else:
            found = self._stored.index_select(0, rows.flatten()).view(*rows.shape, *self._stored.shape[1:])
        if self.task != "multi-label":
            return found
        bits = torch.arange(8, dtype=torch.uint8, device=found.device)
        return ((found[..., None] >> bits) & 1).flatten(-2)[..., : self.n_outputs]

    def counts(self, n_rows: int, n_classes: int) -> Tensor:
        """Return how many of the first rows have each class, shape (C,) int64."""
        if self.task == "single-label":
            return torch.bincount(self._stored[:n_rows], minlength=n_classes)
        count = torch.zeros(n_classes, dtype=torch.int64, device=self._stored.device)
        for part in _parts(n_rows, n_classes):
            count += self.take(part).sum(0, dtype=torch.int64)
        return count


def row_bytes(task: Task, n_outputs: int) -> int:
    """Return the memory of one row in `TargetRows`."""
    return -(-n_outputs // 8) if task == "multi-label" else 8


def value_scale(values: np.ndarray) -> tuple[float, float]:
    """Return what regression values are standardised by: their mean, and their deviation, or 1 if it is zero."""
    return float(values.mean()), float(values.std()) or 1.0


def _packed(targets: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return zeros and ones of some rows as bits, (n, ⌈C / 8⌉) uint8; the first class is the lowest bit."""
    n_classes = targets.shape[1]
    packed = np.empty((len(rows), -(-n_classes // 8)), dtype=np.uint8)
    for part in _parts(len(rows), n_classes):
        packed[part] = np.packbits(targets[rows[part]] > 0, axis=1, bitorder="little")
    return packed


def _parts(n_rows: int, n_classes: int) -> Iterator[slice]:
    return row_slices(n_rows, PACKED_AT_ONCE // n_classes)
