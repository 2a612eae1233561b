"""Calibration maps as torch modules for the ONNX export, see `heads.evaluation.decisions.calibrators`."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from features.labels import Task
from heads.evaluation.decisions.calibrators import EDGE, Calibrator, Isotonic, Platt, Temperature


class CalibrationGraph(nn.Module):
    """Maps probabilities (n, C) to calibrated ones (n, C)."""

    def __init__(self, calibrator: Calibrator, task: Task) -> None:
        """Copy the numbers of a map."""
        super().__init__()
        self.task = task
        self.curves: nn.Module
        if isinstance(calibrator, Temperature):
            self.curves = _Tempered(calibrator, task)
        elif isinstance(calibrator, Platt):
            self.curves = _Logistic(calibrator)
        else:
            self.curves = _PiecewiseLinear(calibrator)

    def forward(self, probabilities: Tensor) -> Tensor:
        """Map (n, C) float32 to (n, C) float32."""
        mapped = self.curves(probabilities)
        if self.task == "single-label":
            total = mapped.sum(1, keepdim=True)
            equal = torch.full_like(mapped, 1 / mapped.shape[1])
            mapped = torch.where(total > 0, mapped / torch.where(total > 0, total, torch.ones_like(total)), equal)
        return mapped.to(probabilities.dtype)


class _Tempered(nn.Module):
    def __init__(self, calibrator: Temperature, task: Task) -> None:
        super().__init__()
        self.power, self.task = 1 / calibrator.value, task

    def forward(self, probabilities: Tensor) -> Tensor:
        if self.task == "multi-label":
            return (_logits(probabilities) * self.power).sigmoid()
        return (probabilities / probabilities.amax(1, keepdim=True)) ** self.power


class _Logistic(nn.Module):
    slopes: Tensor
    offsets: Tensor

    def __init__(self, calibrator: Platt) -> None:
        super().__init__()
        self.register_buffer("slopes", torch.from_numpy(calibrator.slopes))
        self.register_buffer("offsets", torch.from_numpy(calibrator.offsets))

    def forward(self, probabilities: Tensor) -> Tensor:
        return (_logits(probabilities) * self.slopes + self.offsets).sigmoid()


class _PiecewiseLinear(nn.Module):
    """Each curve is the sum of ramps, one per pair of points; shorter curves are padded with flat ramps."""

    first: Tensor
    starts: Tensor
    lengths: Tensor
    slopes: Tensor

    def __init__(self, calibrator: Isotonic) -> None:
        super().__init__()
        most = max(curve.shape[1] for curve in calibrator.points)
        padded = np.stack([np.pad(one, ((0, 0), (0, most - one.shape[1])), mode="edge") for one in calibrator.points])
        rises = np.diff(padded, axis=2)  # [C, 2, K]
        slopes = np.divide(rises[:, 1], rises[:, 0], out=np.zeros_like(rises[:, 1]), where=rises[:, 0] > 0)
        buffers = {"first": padded[:, 1, 0], "starts": padded[:, 0, :-1], "lengths": rises[:, 0], "slopes": slopes}
        for name, values in buffers.items():
            self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(values)))

    def forward(self, probabilities: Tensor) -> Tensor:
        along = torch.minimum((probabilities.double()[:, :, None] - self.starts).clamp(min=0), self.lengths)
        return self.first + (along * self.slopes).sum(2)


def _logits(probabilities: Tensor) -> Tensor:
    clipped = probabilities.double().clamp(EDGE, 1 - EDGE)
    return clipped.log() - (1 - clipped).log()
