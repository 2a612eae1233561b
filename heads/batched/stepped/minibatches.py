"""Rows of some blocks, the minibatches of an epoch, and validation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from heads.batched.blocks import chunks
from heads.batched.inference import standardisation
from heads.batched.job import Job
from heads.batched.losses import choice_loss, row_losses, weigh
from heads.batched.rng import dropout_stream, row_order, uniform_integers
from heads.batched.stepped.adamw import Minibatch, Stack
from heads.batched.stepped.plan import SCORES_BYTES, WINDOW, Plan
from heads.batched.stepped.row_store import RowStore
from heads.batched.target_rows import TargetRows
from heads.batched.vector_blocks import RowBlock
from heads.options import SteppedOptions

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
    """The rows of some blocks.

    Attributes:
        standardisation: Per block, see `heads.batched.inference.standardisation`.
        n_train: Number of training rows per block.
        n_valid: Number of validation rows per block.
    """

    def __init__(
        self, blocks: Sequence[RowBlock], job: Job, options: SteppedOptions, plan: Plan, store: RowStore
    ) -> None:
        """Combine the blocks' targets with their rows, which are in `store`."""
        self.job, self.options, self.plan = job, options, plan
        self.standardisation = [standardisation(block) for block in blocks]
        self.n_train = [len(block.train) for block in blocks]
        self.n_valid = [len(block.valid) for block in blocks]
        self._targets = TargetRows.joined([block.targets for block in blocks])
        self._first = list(accumulate(map(len, blocks), initial=0))
        weights = [block.class_weights(options.class_weight, job.n_outputs) for block in blocks]
        own = [one for one in weights if one is not None]
        self._class_weights = torch.stack(own) if own else None
        self._store = store

    def close(self) -> None:
        """Free the rows."""
        self._store.close()

    def n_steps(self, block: int) -> int:
        """Return the number of minibatches of an epoch."""
        return -(-self.n_train[block] // self.options.batch_size)

    def epoch(self, turns: Sequence[Turn], units: int) -> Iterator[Minibatch]:
        """Yield one epoch's minibatches for all networks; networks with fewer rows are padded with filler rows."""
        n_steps = max(self.n_steps(turn.block) for turn in turns)
        orders = [
            self._first[turn.block] + row_order(turn.seed, turn.epoch, self.n_train[turn.block]) for turn in turns
        ]
        task, balance = self.job.task, self._class_weights
        if balance is not None:
            balance = balance[[turn.block for turn in turns]]
        kept = self._dropout(turns, n_steps, units)
        for start in range(0, n_steps, WINDOW):
            for chosen, share in zip(*self._window(orders, start, min(start + WINDOW, n_steps)), strict=True):
                targets = self._targets.take(chosen)
                weights = None if balance is None else weigh(targets, balance, task)
                if weights is not None and task == "single-label":
                    weights = weights[..., None]
                yield Minibatch(self._store.gather(chosen), targets, share, weights, next(kept))

    def _window(self, orders: Sequence[np.ndarray], start: int, stop: int) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """Return the rows (M, B) of each step from `start` to `stop`, and their weights in the mean loss (M, B, 1)."""
        size, device = self.options.batch_size, self.job.device
        index = np.zeros((len(orders), (stop - start) * size), dtype=np.int64)
        shares = np.zeros(index.shape, dtype=np.float32)
        for at, order in enumerate(orders):
            rows = order[start * size : stop * size]
            index[at, : len(rows)] = rows
            batch = np.arange(len(rows)) // size
            shares[at, : len(rows)] = 1 / np.bincount(batch)[batch]
        shape = len(orders), stop - start, size
        steps = torch.from_numpy(index).to(device).view(shape).transpose(0, 1).contiguous()  # (steps, M, B)
        share = torch.from_numpy(shares).to(device).view(shape).transpose(0, 1)[..., None]
        return steps.unbind(), share.unbind()

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

    def valid_loss(self, stack: Stack, block_of: Sequence[int]) -> np.ndarray:
        """Return the validation loss of each network on its block's rows, shape (M,); nan without rows."""
        losses = np.full(len(block_of), np.nan)
        edges = [0, *(np.flatnonzero(np.diff(block_of)) + 1).tolist(), len(block_of)]
        for start, end in pairwise(edges):
            if self.n_valid[block_of[start]]:
                losses[start:end] = self._block_loss(stack, block_of[start], range(start, end))
        return losses

    def _block_loss(self, stack: Stack, block: int, fits: range) -> np.ndarray:
        """Return the validation loss of some networks of one block; few rows of few networks are scored at once."""
        task, loss = self.job.task, self.options.loss
        concordance = task == "regression" and loss == "ccc"
        first, n = self._first[block] + self.n_train[block], self.n_valid[block]
        found = torch.empty(len(fits), n, dtype=torch.float64, device=self.job.device)
        for start in range(0, n, self.plan.valid_rows):
            stop = min(start + self.plan.valid_rows, n)
            rows = self._store.read(first + start, first + stop)
            targets = self._targets.take(slice(first + start, first + stop))
            for part in chunks(fits, (stop - start) * self.plan.scored_bytes, SCORES_BYTES):
                scores = stack.scores(rows, slice(part[0], part[-1] + 1)).double()
                same = targets.expand(len(part), *targets.shape)
                each = scores[..., 0] if concordance else row_losses(scores, same, task)
                found[part[0] - fits[0] : part[-1] + 1 - fits[0], start:stop] = each
        if concordance:
            targets = self._targets.take(slice(first, first + n))
            return choice_loss(found[..., None], targets.expand(len(fits), *targets.shape), task, loss).cpu().numpy()
        return found.mean(-1).cpu().numpy()
