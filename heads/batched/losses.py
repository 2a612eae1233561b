"""Training and validation losses for each task."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from features.labels import Task

CLIP = 1e-7  # lower bound of probabilities, so that one confident error costs at most 16.1 nats
SMALLEST_SPREAD = 1e-8  # lower bound of the denominator of concordance


def row_losses(
    scores: Tensor, targets: Tensor, task: Task, weights: Tensor | None = None, smoothing: float = 0.0
) -> Tensor:
    """Compute the loss of each row: log loss in nats, mean binary log loss over classes, or squared error.

    Args:
        scores: Outputs of the last linear layer, shape (…, n, C).
        targets: Classes (…, n) int64; zeros and ones (…, n, C); standardised values (…, n, 1).
        task: The task.
        weights: Weight of each row (…, n), or of each row and class (…, n, C) in `multi-label`; see `row_weights`.
        smoothing: Label smoothing: fraction of each target that is spread over all classes, or over 0 and 1.

    Returns:
        Shape (…, n).
    """
    if task == "single-label":
        log_p = scores.log_softmax(-1)
        each = -log_p.gather(-1, targets[..., None])[..., 0]
        if smoothing:
            each = (1 - smoothing) * each - smoothing * log_p.mean(-1)
        return each if weights is None else each * weights
    if task == "multi-label":
        wanted = targets.to(scores) * (1 - smoothing) + smoothing / 2
        return functional.binary_cross_entropy_with_logits(scores, wanted, weights, reduction="none").mean(-1)
    return (scores - targets.to(scores)).square().mean(-1)


def concordance_loss(scores: Tensor, targets: Tensor, share: Tensor) -> Tensor:
    """Compute one minus Lin's concordance correlation coefficient (Biometrics 45, 1989); 0 for equal values.

    Args:
        scores: Shape (…, n, 1).
        targets: Shape (…, n, 1).
        share: Weight of each row in the means, (…, n), summing to 1.

    Returns:
        Shape (…); 1 for a single row.
    """
    x, y = scores[..., 0], targets[..., 0].to(scores)
    mean_x, mean_y = ((values * share).sum(-1, keepdim=True) for values in (x, y))
    covariance = ((x - mean_x) * (y - mean_y) * share).sum(-1)
    spread = (((x - mean_x).square() + (y - mean_y).square()) * share).sum(-1)
    return 1 - 2 * covariance / (spread + (mean_x - mean_y)[..., 0].square()).clamp(min=SMALLEST_SPREAD)


def loss_gradient(
    scores: Tensor,
    targets: Tensor,
    share: Tensor,
    weights: Tensor | None,
    task: Task,
    loss: str = "mse",
    smoothing: float = 0.0,
) -> Tensor:
    """Compute the gradient of the batch mean of `row_losses`, or of `concordance_loss`, with respect to scores.

    Args:
        scores: Outputs of the last linear layer, shape (…, n, C).
        targets: As for `row_losses`.
        share: Weight of each row in the mean, (…, n, 1).
        weights: See `row_weights`, (…, n, 1), or (…, n, C) in `multi-label`; None: all 1.
        task: The task.
        loss: Loss of regression: `mse` or `ccc`.
        smoothing: Label smoothing, see `row_losses`.

    Returns:
        Shape (…, n, C).
    """
    if task == "regression" and loss == "ccc":
        targets = targets.to(scores)
        mean_x, mean_y = ((values * share).sum(-2, keepdim=True) for values in (scores, targets))
        x, y = scores - mean_x, targets - mean_y
        covariance = (x * y * share).sum(-2, keepdim=True)
        spread = ((x.square() + y.square()) * share).sum(-2, keepdim=True) + (mean_x - mean_y).square()
        spread = spread.clamp(min=SMALLEST_SPREAD)
        return 2 * share * (2 * covariance * (scores - mean_y) / spread - y) / spread
    if task == "single-label":
        gradient, at = scores.softmax(-1), targets[..., None]
        own = gradient.gather(-1, at) - (1 - smoothing + smoothing / scores.shape[-1])
        if smoothing:
            gradient.sub_(smoothing / scores.shape[-1])
        gradient.scatter_(-1, at, own)
    elif task == "multi-label":
        wanted = targets.to(scores)
        if smoothing:
            wanted.mul_(1 - smoothing).add_(smoothing / 2)
        gradient = scores.sigmoid().sub_(wanted).div_(scores.shape[-1])
    else:
        gradient = (scores - targets.to(scores)).mul_(2)
    return gradient.mul_(share) if weights is None else gradient.mul_(share).mul_(weights)


def choice_loss(scores: Tensor, targets: Tensor, task: Task, loss: str = "mse") -> Tensor:
    """What validation chooses by: the mean of `row_losses`, or one minus concordance where that is trained.

    Args:
        scores: Shape (…, n, C).
        targets: As for `row_losses`.
        task: Which.
        loss: Of regression: `mse` or `ccc`.

    Returns:
        Shape (…).
    """
    if task == "regression" and loss == "ccc":
        return concordance_loss(scores, targets, scores.new_full(scores.shape[:-1], 1 / scores.shape[-2]))
    return row_losses(scores, targets, task).mean(-1)


def valid_loss(outputs: np.ndarray, targets: np.ndarray, task: Task) -> float:
    """Compute the validation loss from predictions, for heads without scores: the mean over rows.

    Args:
        outputs: Probabilities (n, C), or values (n, 1).
        targets: Shape (n,) int, (n, C), or (n, 1).
        task: The task.

    Returns:
        Log loss in nats, mean binary log loss, or mean squared error.
    """
    if task == "regression":
        return float(np.square(outputs - targets).mean())
    outputs = np.clip(outputs, CLIP, 1 - CLIP if task == "multi-label" else 1)
    if task == "multi-label":
        return float(-(targets * np.log(outputs) + (1 - targets) * np.log(1 - outputs)).mean())
    return float(-np.log(outputs[np.arange(len(targets)), targets]).mean())


def row_weights(targets: Tensor, n_outputs: int, task: Task, class_weight: str | None) -> Tensor:
    """Compute the weight of each row, or of each row and class, in the training loss; the mean is 1.

    Args:
        targets: Shape (n,) int64, or (n, C).
        n_outputs: C.
        task: The task.
        class_weight: `balanced`, see `class_weights`, or None.

    Returns:
        Shape (n,), or (n, C) in `multi-label`; float64.
    """
    weights = weights_by_class(targets, n_outputs, task, class_weight)
    return weights.expand(len(targets)) if task == "regression" else weigh(targets, weights, task)


def weights_by_class(targets: Tensor, n_outputs: int, task: Task, class_weight: str | None) -> Tensor:
    """Return the weights that `weigh` takes, from the targets of all training rows.

    Returns:
        Shape (C,), or (2, C) in `multi-label`, see `class_weights`; all 1 without `class_weight`; (1,) in regression.
    """
    if task == "regression" or class_weight is None:
        shape = (2, n_outputs) if task == "multi-label" else (n_outputs,)
        return torch.ones(shape, dtype=torch.float64, device=targets.device)
    several = task == "multi-label"
    counts = targets.sum(0, dtype=torch.float64) if several else torch.bincount(targets, minlength=n_outputs)
    return class_weights(counts, len(targets), task)


def class_weights(counts: Tensor, n: int, task: Task) -> Tensor:
    """Compute weights that give every class the same total weight, as scikit-learn's `class_weight="balanced"`.

    Args:
        counts: Number of training rows with each class, shape (C,).
        n: Number of training rows.
        task: `single-label` or `multi-label`.

    Returns:
        A row of class c has weight n / (C · n_c): shape (C,) float64. In `multi-label`, rows without class c have
        weight n / (2 · (n - n_c)) for this class, rows with it n / (2 · n_c): shape (2, C) float64.
    """
    counts = counts.double()
    if task == "multi-label":
        return torch.stack([n / (2 * count).clamp(min=1) for count in (n - counts, counts)])
    return n / (len(counts) * counts)


def weigh(targets: Tensor, weights: Tensor, task: Task) -> Tensor:
    """Return the weight of each row, (…, n), or of each row and class, (…, n, C) in `multi-label`.

    Args:
        targets: Shape (…, n) int64, or (…, n, C) in `multi-label`.
        weights: From `class_weights`, with the same leading dimensions.
        task: The task.
    """
    if task == "multi-label":
        return torch.where(targets > 0, weights[..., 1:, :], weights[..., :1, :])
    return weights.gather(-1, targets)
