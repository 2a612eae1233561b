"""Training of one attention head: AdamW on minibatches of clips; frames are read when needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from heads.batched.frame_blocks import FrameBlock
from heads.batched.inference import standardisation
from heads.batched.job import Job
from heads.batched.losses import choice_loss, concordance_loss, row_losses, weigh
from heads.batched.rng import dropout_stream, initial_layers, row_order
from heads.options import Configuration, SteppedOptions

TRAINED = ("attention_weight", "attention_bias", "attention_score", "weight_0", "bias_0")


class Piece(NamedTuple):
    """Frames start…stop-1 of the clip at position `at` of the batch."""

    at: int
    start: int
    stop: int


def pack(lengths: Sequence[int], max_frames: int) -> list[list[Piece]]:
    """Divide a batch into parts with a bounded number of frames, each padded to its longest piece.

    Args:
        lengths: Number of frames of each clip.
        max_frames: Maximum number of frames of a part, including padding; longer clips are cut.

    Returns:
        The parts; each is a list of pieces, longest first.
    """
    pieces = [
        Piece(at, start, min(start + max_frames, length))
        for at, length in enumerate(lengths)
        for start in range(0, length, max_frames)
    ]
    pieces.sort(key=lambda piece: piece.start - piece.stop)  # stable sort: ties keep their order
    parts: list[list[Piece]] = []
    for piece in pieces:
        longest = parts[-1][0].stop - parts[-1][0].start if parts else max_frames
        if not parts or (len(parts[-1]) + 1) * longest > max_frames:
            parts.append([])
        parts[-1].append(piece)
    return parts


def frame_mask(lengths: Tensor, most: int) -> Tensor:
    """Return the mask of the frames of a padded part that are not padding, (P, F) bool."""
    return torch.arange(most, device=lengths.device) < lengths[:, None]


def attend(weights: dict[str, Tensor], values: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Compute unnormalised attention over the pieces of a part.

    Args:
        weights: The trained tensors.
        values: Standardised frames, shape (P, F, D), padded beyond each piece's length; (P, F, L, D) with all layers,
            which are summed with the softmax of `mixture`.
        lengths: Number of frames of each piece, shape (P,).

    Returns:
        Highest score of each piece (P,); sum of exp(score - highest) (P,); sum of frames with these weights (P, D).
    """
    if "mixture" in weights:
        values = weights["mixture"].softmax(0) @ values
    scores = (values @ weights["attention_weight"] + weights["attention_bias"]).tanh() @ weights["attention_score"]
    scores = scores.masked_fill(~frame_mask(lengths, values.shape[1]), -torch.inf)
    top = scores.detach().amax(1)
    own = (scores - top[:, None]).exp()
    return top, own.sum(1), (own[:, None] @ values)[:, 0]


@dataclass(frozen=True)
class _FitProgress:
    """The result of one fit."""

    state: dict[str, np.ndarray]
    valid_loss: float
    epochs: int
    params_trained: int


class AttentionFit:
    """One fit: a configuration, a block and a seed."""

    def __init__(self, block: FrameBlock, job: Job, point: Configuration, seed: int, max_frames: int) -> None:
        """Initialise the weights.

        Args:
            block: The training and validation frames.
            job: Settings shared by all fits.
            point: The configuration.
            seed: Position of the seed in the job.
            max_frames: Maximum number of frames in one padded part of a batch.
        """
        self.block, self.job, self.point, self.max_frames = block, job, point, max_frames
        self.options = cast(SteppedOptions, job.options)
        self.seed = job.seeds[seed]
        self.fixed_epochs = None if job.epochs is None else job.epochs[seed]
        dim, units = block.mean.shape[-1], point["units"]
        (first, first_bias), (second, _) = initial_layers(self.seed, (dim, units, 1))
        # The output layer starts at zero, as in logistic regression.
        starts = (first, first_bias, second[:, 0], torch.zeros(dim, job.n_outputs), torch.zeros(job.n_outputs))
        self.weights = {
            name: start.clone().to(job.device).requires_grad_() for name, start in zip(TRAINED, starts, strict=True)
        }
        if block.mean.ndim == 2:
            self.weights["mixture"] = torch.zeros(len(block.mean), device=job.device, requires_grad=True)
        self.class_weights = block.class_weights(self.options.class_weight, job.n_outputs)

    def train(self) -> _FitProgress:
        """Train until early stopping or the last epoch; return the best state, or the last without validation."""
        optimizer = torch.optim.AdamW(
            self.weights.values(), lr=self.point["learning_rate"], weight_decay=self.point["weight_decay"]
        )
        best, best_loss, best_epoch = self._state(), np.inf, 0
        last = self.fixed_epochs or self.options.max_epochs
        for epoch in range(1, last + 1):
            self._epoch(optimizer, epoch)
            if not len(self.block.valid):
                continue
            loss = self._valid_loss()
            if not np.isfinite(loss):
                return self._finished(best, np.nan, best_epoch)
            if loss < best_loss:
                best, best_loss, best_epoch = self._state(), loss, epoch
            elif epoch - best_epoch >= self.options.patience:
                break
        if not len(self.block.valid):
            return self._finished(self._state(), np.nan, last)
        return self._finished(best, best_loss, best_epoch)

    def _finished(self, state: dict[str, np.ndarray], valid_loss: float, epochs: int) -> _FitProgress:
        return _FitProgress(state, valid_loss, epochs, sum(tensor.numel() for tensor in self.weights.values()))

    def _epoch(self, optimizer: torch.optim.Optimizer, epoch: int) -> None:
        """Do one pass over the training rows."""
        device, size, task = self.job.device, self.options.batch_size, self.job.task
        order = row_order(self.seed, epoch, len(self.block.train))
        stream = dropout_stream(self.seed, epoch, device)
        keep = 1 - self.point["dropout"]
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            at = torch.from_numpy(chosen).to(device)
            pooled = self._pooled(self.block.train[chosen])
            draws = torch.rand((size, pooled.shape[1]), generator=stream, device=device)[: len(chosen)]
            scores = self._scores(pooled * ((draws < keep) / keep))
            targets = self.block.targets.take(at)
            if task == "regression" and self.options.loss == "ccc":
                loss = concordance_loss(scores, targets, scores.new_full((len(chosen),), 1 / len(chosen)))
            else:
                weights = None if self.class_weights is None else weigh(targets, self.class_weights, task)
                loss = row_losses(scores, targets, task, weights, self.options.label_smoothing).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    def _valid_loss(self) -> float:
        with torch.no_grad():
            scores = self._scores(self._pooled(self.block.valid)).double()
        targets = self.block.targets.take(slice(len(self.block.train), None))
        return float(choice_loss(scores, targets, self.job.task, self.options.loss))

    def _scores(self, pooled: Tensor) -> Tensor:
        return pooled @ self.weights["weight_0"] + self.weights["bias_0"]

    def _pooled(self, rows: np.ndarray) -> Tensor:
        """Pool some rows, (B, D); with several parts, training recomputes activations to save memory."""
        parts = pack(self.block.frames.lengths(rows).tolist(), self.max_frames)
        if len(parts) == 1 or not torch.is_grad_enabled():
            found = [self._part(rows, part) for part in parts]
        else:
            found = [
                checkpoint(self._part, rows, part, use_reentrant=False, preserve_rng_state=False) for part in parts
            ]
        clip = torch.tensor([piece.at for part in parts for piece in part], device=self.job.device)
        top, total, weighted = (torch.cat(each) for each in zip(*found, strict=True))
        highest = top.new_full((len(rows),), -torch.inf).scatter_reduce(0, clip, top, "amax")
        share = (top - highest[clip]).exp()
        weighted = weighted.new_zeros(len(rows), weighted.shape[1]).index_add(0, clip, weighted * share[:, None])
        return weighted / total.new_zeros(len(rows)).index_add(0, clip, total * share)[:, None]

    def _part(self, rows: np.ndarray, part: Sequence[Piece]) -> tuple[Tensor, Tensor, Tensor]:
        lengths = torch.tensor([piece.stop - piece.start for piece in part])
        values = np.zeros((len(part), int(lengths.max()), *self.block.mean.shape), dtype=np.float32)
        for at, piece in enumerate(part):
            values[at, : piece.stop - piece.start] = self.block.read(int(rows[piece.at]), piece.start, piece.stop)
        device = self.job.device
        return attend(self.weights, torch.from_numpy(values).to(device), lengths.to(device))

    def _state(self) -> dict[str, np.ndarray]:
        """Return the arrays that the predictor needs."""
        trained = {name: tensor.detach().cpu().numpy().copy() for name, tensor in self.weights.items()}
        if "mixture" in trained:
            trained["layer_weights"] = torch.from_numpy(trained.pop("mixture")).softmax(0).numpy()
        return standardisation(self.block) | trained
