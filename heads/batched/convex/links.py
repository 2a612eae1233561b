"""Log losses of a chunk of rows and their derivatives by the scores: one softmax, or a sigmoid per label.

Derivatives are computed from the probabilities of wrong answers, so that those of confident rows survive float32.
"""

from __future__ import annotations

from typing import Protocol, Self

import torch
from torch import Tensor
from torch.nn.functional import softplus


class Curvature(Protocol):
    """Second derivatives of the losses of a chunk of c rows with respect to their K scores, weighted as the losses."""

    def times(self, change: Tensor) -> Tensor:
        """Return the product with changes of the scores, shape (K, c)."""

    def mean(self) -> Tensor:
        """Return the sum over rows: (K, K) of a softmax, (K,) of sigmoids."""

    def keep(self, labels: Tensor) -> None:
        """Keep only some labels."""


class Link(Protocol):
    """Targets of n rows and the loss of their scores. Scores have shape (K, c), with rows last."""

    n_problems: int
    """Number of problems that share no weights: 1 for a softmax, K for sigmoids."""

    def losses(self, scores: Tensor, part: slice) -> Tensor:
        """Return the sum of a chunk's weighted losses for each problem, float64."""

    def expand(self, scores: Tensor, part: slice) -> tuple[Tensor, Curvature]:
        """Return the derivatives of a chunk's losses with respect to the scores, (K, c), and their curvature."""

    def select(self, labels: Tensor) -> Self:
        """Return the link of some labels."""


class Softmax:
    """One softmax over K classes."""

    n_problems = 1

    def __init__(self, targets: Tensor, weights: Tensor) -> None:
        """Set the targets.

        Args:
            targets: Classes, shape (n,) int64.
            weights: Weight of a row of each class in the sum of losses, shape (K,) float32.
        """
        self.targets, self.weights = targets, weights

    def losses(self, scores: Tensor, part: slice) -> Tensor:
        """See `Link.losses`."""
        targets = self.targets[part]
        wrong = scores.softmax(0).scatter_(0, targets[None], 0).sum(0)
        far = scores.logsumexp(0) - scores.gather(0, targets[None])[0]
        each = torch.where(wrong < 0.5, -torch.log1p(-wrong), far)
        return (each * self.weights[targets]).double().sum()[None]

    def expand(self, scores: Tensor, part: slice) -> tuple[Tensor, Curvature]:
        """See `Link.expand`."""
        targets = self.targets[part]
        weights = self.weights[targets]
        curvature = SoftmaxCurvature(scores.softmax(0), weights, scores.argmax(0, keepdim=True))
        residuals = (curvature.p * weights).scatter_(0, targets[None], 0)
        return residuals.scatter_(0, targets[None], -residuals.sum(0, keepdim=True)), curvature

    def select(self, labels: Tensor) -> Softmax:
        """Return the link itself: the classes of a softmax are one problem."""
        return self


class SoftmaxCurvature:
    """diag(p) - p pᵀ of every row, times its weight."""

    def __init__(self, p: Tensor, weights: Tensor, top: Tensor) -> None:
        """Set probabilities (K, c), weights (c,) and the most likely classes (1, c)."""
        self.p, self.weights, self.top = p, weights, top

    def times(self, change: Tensor) -> Tensor:
        """See `Curvature.times`."""
        # Relative to the most likely class, the tiny curvature of confident rows survives single precision.
        change = change - change.gather(0, self.top)
        shift = torch.linalg.vecdot(self.p, change, dim=0)
        return change.sub_(shift).mul_(self.p).mul_(self.weights)

    def mean(self) -> Tensor:
        """See `Curvature.mean`."""
        weighted = self.p * self.weights
        return torch.diag(weighted.sum(1)) - weighted @ self.p.T

    def keep(self, labels: Tensor) -> None:
        """Do nothing: the classes of a softmax are one problem."""


class Sigmoids:
    """A sigmoid for each of K labels."""

    def __init__(self, targets: Tensor, weights: Tensor, labels: Tensor) -> None:
        """Set the targets.

        Args:
            targets: Zeros and ones, shape (n, C) of any type.
            weights: Weights in the sum of losses of rows without each label and with it, shape (2, C) float32.
            labels: The K labels that are predicted, indices int64.
        """
        self.targets, self.weights, self.labels = targets, weights, labels
        self.n_problems = len(labels)

    def losses(self, scores: Tensor, part: slice) -> Tensor:
        """See `Link.losses`."""
        sign, weights = self._rows(part)
        return (softplus(sign * scores) * weights).double().sum(1)

    def expand(self, scores: Tensor, part: slice) -> tuple[Tensor, Curvature]:
        """See `Link.expand`."""
        sign, weights = self._rows(part)
        wrong = (sign * scores).sigmoid_()
        return sign * wrong * weights, SigmoidCurvature(scores.sigmoid() * scores.neg().sigmoid_() * weights)

    def select(self, labels: Tensor) -> Sigmoids:
        """See `Link.select`."""
        return Sigmoids(self.targets, self.weights, self.labels[labels])

    def _rows(self, part: slice) -> tuple[Tensor, Tensor]:
        """Return the sign of wrong scores (K, c), -1 for labels that a row has, and the weights of losses (K, c)."""
        held = self.targets[part][:, self.labels].T.float()
        without, present = self.weights[:, self.labels, None]
        return 1 - 2 * held, torch.lerp(without, present, held)


class SigmoidCurvature:
    """p (1 - p) of every row and label, times its weight."""

    def __init__(self, variance: Tensor) -> None:
        """Set the weighted variances (K, c)."""
        self.variance = variance

    def times(self, change: Tensor) -> Tensor:
        """See `Curvature.times`."""
        return self.variance * change

    def mean(self) -> Tensor:
        """See `Curvature.mean`."""
        return self.variance.sum(1)

    def keep(self, labels: Tensor) -> None:
        """See `Curvature.keep`."""
        self.variance = self.variance[labels]
