"""Prototypes of classes, and the scale of their distances, from standardised training rows."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from features.labels import Task

ABSENT = 1e4  # score that a class has for certain, or for certain not, if the training rows leave no choice
SCALE_BYTES = 2**25  # scores of the rows from which a scale is learnt
SMALLEST, LARGEST = 1e-3, 1e3  # range of the scale
STEPS, CLOSE = 60, 1e-9


class Scorer(NamedTuple):
    """Linear scores of rows, with a scale of 1.

    Attributes:
        weight: (D, C) float64.
        bias: (C,) float64.
        known: Whether training rows decide the score of each class, (C,) bool.
    """

    weight: Tensor
    bias: Tensor
    known: Tensor

    def scores(self, rows: Tensor) -> Tensor:
        """Return the scores of rows (n, D): (n, C)."""
        return rows @ self.weight + self.bias


class Prototypes:
    """Mean rows of classes and of their complements, with the scores that each training row has without itself."""

    def __init__(self, rows: Tensor, members: Tensor, task: Task, metric: str) -> None:
        """Compute the means.

        Args:
            rows: Training rows (n, D) float64; of length 1 if `metric` is `cosine`.
            members: Zeros and ones (n, C) float64.
            task: `single-label` or `multi-label`.
            metric: `euclidean` or `cosine`.
        """
        self.task, self.metric, self.dim = task, metric, rows.shape[1]
        sides = (members,) if task == "single-label" else (members, 1 - members)
        self.counts = [side.sum(0) for side in sides]
        self.sums = [side.T @ rows for side in sides]  # [C, D] each

    def scorer(self) -> Scorer:
        """Return the scores of new rows.

        A score is minus the squared Euclidean distance over D, or the cosine. With several labels it is the difference
        between the scores of the class and of its complement. A class without training rows gets `-ABSENT`.
        """
        parts = [self._linear(total, count) for total, count in zip(self.sums, self.counts, strict=True)]
        weight, bias = parts[0]
        if len(parts) > 1:
            weight, bias = weight - parts[1][0], bias - parts[1][1]
        known = torch.stack([count > 0 for count in self.counts]).all(0)
        surely = torch.where(self.counts[0] > 0, ABSENT, -ABSENT).to(bias)
        return Scorer(weight * known, torch.where(known, bias, surely), known)

    def without_itself(self, rows: Tensor, members: Tensor) -> tuple[Tensor, Tensor]:
        """Return the scores that training rows have if each is left out of its own prototypes.

        Args:
            rows: Some of the training rows, (n, D).
            members: Their zeros and ones, (n, C).

        Returns:
            Scores (n, C), and whether a row's own prototypes have other rows, (n, C) bool.
        """
        sides = (members,) if self.task == "single-label" else (members, 1 - members)
        scores, others = rows.new_zeros(members.shape), torch.ones_like(members, dtype=torch.bool)
        for sign, side, total, count in zip((1, -1), sides, self.sums, self.counts, strict=False):
            weight, bias = self._linear(total, count)
            own = rows @ weight + bias
            n = count - side  # rows of the prototype apart from this one
            if self.metric == "euclidean":
                # the distance to the mean of the others is n / (n - 1) times the distance to the mean of all
                norm = rows.square().sum(1, keepdim=True) / self.dim
                left = torch.where(side > 0, (own - norm) * (count / n.clamp(min=1)).square() + norm, own)
            else:
                along = rows @ total.T
                length = (total.square().sum(1) - 2 * along + 1).clamp(min=1e-12).sqrt()
                left = torch.where(side > 0, (along - 1) / length, own)
            scores += sign * left
            others &= n > 0
        return scores, others

    def _linear(self, total: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
        """Return weight (D, C) and bias (C,) of the scores of one prototype per class.

        The squared length of a row is left out of its distances: it is the same for all classes.
        """
        if self.metric == "cosine":
            return normalize(total, dim=1).T, total.new_zeros(len(total))
        mean = total / count.clamp(min=1)[:, None]
        return 2 * mean.T / self.dim, -mean.square().sum(1) / self.dim


def learnt_scale(prototypes: Prototypes, rows: Tensor, members: Tensor) -> float:
    """Return the scale of the scores that minimises the log loss of training rows left out of their own prototypes.

    The loss is convex in the scale, so that its slope has one zero, which Newton's method finds between bounds. Rows
    whose class has no other row are not used; with too many rows, every k-th is.
    """
    step = -(-8 * members.numel() // SCALE_BYTES)
    rows, members = rows[::step], members[::step]
    scores, others = prototypes.without_itself(rows, members)
    known = torch.stack([count > 0 for count in prototypes.counts]).all(0)
    if prototypes.task == "single-label":
        kept = (others | (members == 0)).all(1)
        scores, members = scores[kept][:, known], members[kept][:, known]
    else:
        used = others & known
        scores, members = scores[used][:, None], members[used][:, None]
    if not scores.numel():
        return 1.0
    low, high, scale = SMALLEST, LARGEST, 1.0
    for _ in range(STEPS):
        slope, curvature = _derivatives(scores, members, scale, prototypes.task)
        low, high = (scale, high) if slope < 0 else (low, scale)
        new = scale - slope / curvature if curvature > 0 else 0.0
        new = new if low < new < high else (low * high) ** 0.5
        if abs(new - scale) <= CLOSE * scale:
            break
        scale = new
    return scale


def _derivatives(scores: Tensor, members: Tensor, scale: float, task: Task) -> tuple[float, float]:
    """Return the first and second derivative of the mean log loss with respect to the scale."""
    if task == "single-label":
        shares = (scale * scores).softmax(1)
        mean = (shares * scores).sum(1)
        slope = mean - (members * scores).sum(1)
        return float(slope.mean()), float(((shares * scores.square()).sum(1) - mean.square()).mean())
    shares = (scale * scores).sigmoid()
    return float(((shares - members) * scores).mean()), float((shares * (1 - shares) * scores.square()).mean())
