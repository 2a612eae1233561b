"""Training rows of some blocks on the device, and the minibatches of an epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from heads.batched.blocks import Loader, Place, chunks
from heads.batched.inference import standardisation
from heads.batched.job import Job
from heads.batched.losses import choice_loss, row_weights, wanted_outputs
from heads.batched.rng import dropout_stream, row_order, uniform_integers
from heads.batched.stepped.adamw import Minibatch, Stack, aligned
from heads.options import SteppedOptions

WINDOW = 16  # steps whose dropout is drawn at once
SCORES_BYTES = 2**26  # memory of one part of a validation pass
LEVELS = 2**16  # number of values of dropout's random integers


class Turn(NamedTuple):
    """The next epoch of a network.

    Attributes:
        block: Position of its block.
        seed: Seed of the network.
        epoch: Number of the epoch, from 1.
        dropout: Dropout probability of the network.
    """

    block: int
    seed: int
    epoch: int
    dropout: float


class BlockRows:
    """The rows of some blocks, float32, with padded widths.

    Attributes:
        standardisation: Per block, see `heads.batched.inference.standardisation`.
        n_valid: Number of validation rows per block.
    """

    def __init__(self, places: Sequence[Place], load: Loader, job: Job, options: SteppedOptions) -> None:
        """Load the blocks."""
        self.job, self.options = job, options
        self.standardisation: list[dict[str, np.ndarray]] = []
        self.valid: list[Tensor] = []
        self.valid_targets: list[Tensor] = []
        self.n_train = np.zeros(len(places), dtype=np.int64)
        for at, place in enumerate(places):
            block = load(place)
            n = self.n_train[at] = len(block.train)
            extra = (0, aligned(job.dim) - job.dim)
            if at == 0:
                shape = (len(places), job.n_train, *block.train.shape[1:-1], aligned(job.dim))
                self.train = torch.zeros(shape, device=job.device)
                self.wanted = torch.zeros(len(places), job.n_train, job.n_outputs, device=job.device)
                self.weights = None
                if options.class_weight is not None and job.task != "regression":
                    columns = job.n_outputs if job.task == "multi-label" else 1
                    self.weights = torch.zeros(len(places), job.n_train, columns, device=job.device)
            self.train[at, :n, ..., : job.dim] = block.train
            self.wanted[at, :n] = wanted_outputs(block.train_targets, job.n_outputs, job.task, options.label_smoothing)
            if self.weights is not None:
                weights = row_weights(block.train_targets, job.n_outputs, job.task, options.class_weight)
                self.weights[at, :n] = weights.view(n, -1)
            self.valid.append(pad(block.valid.float(), extra))
            self.valid_targets.append(block.valid_targets)
            self.standardisation.append(standardisation(block))
        self.n_valid = np.array([len(rows) for rows in self.valid])

    def n_steps(self, block: int) -> int:
        """Return the number of minibatches of an epoch."""
        return -(-int(self.n_train[block]) // self.options.batch_size)

    def epoch(self, turns: Sequence[Turn], units: int) -> Iterator[Minibatch]:
        """Yield one epoch's minibatches for all networks; networks with fewer rows are padded with filler rows."""
        size, device = self.options.batch_size, self.job.device
        n_steps = max(self.n_steps(turn.block) for turn in turns)
        order = np.zeros((len(turns), n_steps * size), dtype=np.int64)
        shares = np.zeros(order.shape, dtype=np.float32)
        for at, turn in enumerate(turns):
            n = int(self.n_train[turn.block])
            order[at, :n] = turn.block * self.train.shape[1] + row_order(turn.seed, turn.epoch, n)
            batch = np.arange(n) // size
            shares[at, :n] = 1 / np.bincount(batch)[batch]
        shape = len(turns), n_steps, size
        index = torch.from_numpy(order).to(device).view(shape).transpose(0, 1).contiguous()  # (steps, M, B)
        share = torch.from_numpy(shares).to(device).view(shape).transpose(0, 1)[..., None]
        rows = self.train.flatten(0, 1)
        kept = self._dropout(turns, n_steps, units)
        for start in range(0, n_steps, WINDOW):
            window = slice(start, start + WINDOW)
            wanted, weights = self._answers(index[window])
            for at, (chosen, part) in enumerate(zip(index[window].unbind(), share[window].unbind(), strict=True)):
                # index_select moves rows several times as fast as indexing does
                x = rows.index_select(0, chosen.view(-1)).view(*chosen.shape, *rows.shape[1:])
                yield Minibatch(x, wanted[at], part, None if weights is None else weights[at], next(kept))

    def _answers(self, index: Tensor) -> tuple[Sequence[Tensor], Sequence[Tensor] | None]:
        """Return target outputs and weights of rows (steps, M, B); one tensor (M, B, …) per step."""
        wanted, weights = (
            None
            if values is None
            else values.flatten(0, 1).index_select(0, index.flatten()).view(*index.shape, -1).unbind()
            for values in (self.wanted, self.weights)
        )
        assert wanted is not None
        return wanted, weights

    def _dropout(self, turns: Sequence[Turn], n_steps: int, units: int) -> Iterator[Tensor | None]:
        """Yield the dropout factors of each step: 0, or one over the probability that a unit is kept."""
        shares = np.array([turn.dropout for turn in turns])
        if not units or not shares.any():
            while True:
                yield None
        device = self.job.device
        levels = np.clip(np.rint((1 - shares) * LEVELS), 1, LEVELS)  # a unit is kept with probability levels / LEVELS
        limit = torch.from_numpy((levels - LEVELS // 2 - 1).astype(np.int16)).to(device)[:, None, None, None]
        scale = torch.from_numpy((LEVELS / levels).astype(np.float32)).to(device)[:, None, None, None]
        keys = list(dict.fromkeys((turn.seed, turn.epoch) for turn in turns))
        streams = [dropout_stream(seed, epoch, device) for seed, epoch in keys]
        stream_of = torch.tensor([keys.index((turn.seed, turn.epoch)) for turn in turns], device=device)
        for start in range(0, n_steps, WINDOW):
            shape = (min(WINDOW, n_steps - start), self.options.batch_size, units)
            draws = torch.stack([uniform_integers(stream, *shape) for stream in streams])
            draws = draws if len(keys) == len(turns) else draws.index_select(0, stream_of)
            yield from ((draws <= limit) * scale).unbind(1)

    def valid_loss(self, stack: Stack, block_of: Sequence[int], units: int) -> np.ndarray:
        """Return the validation loss of each network on its block's rows, shape (M,); nan without rows."""
        losses = np.full(len(block_of), np.nan)
        edges = [0, *(np.flatnonzero(np.diff(block_of)) + 1).tolist(), len(block_of)]
        for start, end in pairwise(edges):
            block = block_of[start]
            n = int(self.n_valid[block])
            if not n:
                continue
            targets = self.valid_targets[block]
            bytes_each = 4 * 3 * n * (units + aligned(self.job.n_outputs))
            for part in chunks(range(start, end), bytes_each, SCORES_BYTES):
                scores = stack.scores(self.valid[block], slice(part[0], part[-1] + 1)).double()
                found = choice_loss(scores, targets.expand(len(part), *targets.shape), self.job.task, self.options.loss)
                losses[part[0] : part[-1] + 1] = found.cpu().numpy()
        return losses
