"""Minibatch training of many fits in stacks, each with its own early stopping and best state."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from threading import Event
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from heads.batched.blocks import BlockFit, Loader, Place, chunks
from heads.batched.cores import on_threads
from heads.batched.job import Job
from heads.batched.losses import loss_gradient
from heads.batched.stepped.adamw import HeadNetwork, Minibatch, Rate, Stack
from heads.batched.stepped.minibatches import BlockRows, Turn
from heads.batched.stepped.plan import plan_job
from heads.batched.stepped.row_store import store_rows
from heads.batched.vector_blocks import VectorBlock
from heads.options import SteppedOptions


class FitPosition(NamedTuple):
    """One network to train: its positions in the blocks, the grid and the seeds."""

    block: int
    configuration: int
    seed: int


@dataclass
class FitProgress:
    """Training progress of one fit."""

    fit: FitPosition
    best: tuple[Tensor, Tensor] | None = None
    best_loss: float = np.inf
    best_epoch: int = 0
    epoch: int = 0


@dataclass(frozen=True)
class StoppedFit:
    """A finished fit."""

    fit: FitPosition
    state: dict[str, np.ndarray]
    valid_loss: float
    epochs: int


def train_stepped(
    places: Sequence[Place], load: Loader, job: Job, configurations: Sequence[int], network: HeadNetwork
) -> Iterator[BlockFit]:
    """Train some configurations of the same shape on the vectors of every block with every seed.

    Args:
        places: The blocks.
        load: Returns the block of a place.
        job: The grid, and the settings shared by all fits.
        configurations: Positions in the grid.
        network: The architecture of these configurations.

    Yields:
        One candidate per block and configuration, in no particular order.

    Raises:
        ConfigError: One minibatch does not fit in memory.
        RunError: There is no space for a temporary file.
    """
    options = cast(SteppedOptions, job.options)
    plan = plan_job(job, network, len(places), len(configurations) * len(job.seeds))
    if job.note and plan.note:
        job.note(plan.note)
    for group in chunks(places, 1, plan.n_blocks):
        blocks = [cast(VectorBlock, load(place)) for place in group]
        waiting = [
            [FitPosition(block, configuration, seed)]
            for block in range(len(group))
            for configuration in configurations
            for seed in range(len(job.seeds))
        ]
        with closing(BlockRows(blocks, job, options, plan, store_rows(blocks, job, plan))) as rows:
            yield from train_fits(waiting, group, rows, job, network)


def train_fits(
    waiting: Sequence[Sequence[FitPosition]], places: Sequence[Place], rows: BlockRows, job: Job, network: HeadNetwork
) -> Iterator[BlockFit]:
    """Train fits in stacks.

    On a CPU, each core has its own stack, limited by the caches; on a GPU, one stack contains as many fits as
    fit in memory. When fits stop, the next ones take their place. Initial weights, row order and dropout are
    functions of seed, epoch and step, and batched matrix products compute each network independently, so a
    fit does not depend on the other fits in its stack.

    A fit stops when its validation loss has not decreased for `patience` epochs, and keeps its best state. A
    fit with a non-finite validation loss has failed. Without validation rows, a fit trains for `job.epochs`
    of its seed, or `max_epochs`, and keeps its last state.

    Args:
        waiting: The fits; those of a group start together, so that they read the same minibatches until they stop.
        places: The blocks.
        rows: The rows of the blocks.
        job: The grid, and the settings shared by all fits.
        network: The architecture of the fits.

    Yields:
        One candidate per block and configuration, in no particular order.
    """
    work = _Work(rows, network, job, rows.options, deque(waiting))
    done: dict[tuple[int, int], list[StoppedFit]] = {}
    for outcome in work.outcomes():
        block, configuration, _ = outcome.fit
        seeds = done.setdefault((block, configuration), [])
        seeds.append(outcome)
        if len(seeds) == len(job.seeds):
            seeds = sorted(done.pop((block, configuration)), key=lambda one: one.fit.seed)
            yield BlockFit(
                places[block],
                configuration,
                [work.rows.standardisation[block] | one.state for one in seeds],
                np.array([one.valid_loss for one in seeds]),
                np.array([one.epochs for one in seeds]),
                network.n_trained,
            )


@dataclass(frozen=True)
class _Work:
    """The queue of fits, and the rows they are trained on."""

    rows: BlockRows
    network: HeadNetwork
    job: Job
    options: SteppedOptions
    waiting: deque[Sequence[FitPosition]]

    def outcomes(self) -> Iterator[StoppedFit]:
        """Train all waiting fits."""
        on_cpu = self.job.device.type == "cpu"
        sizes = [len(group) for group in self.waiting]
        n_workers = min(self.rows.plan.n_workers, len(sizes))
        size = max(*sizes, min(self.rows.plan.n_fits, -(-sum(sizes) // n_workers)))
        if on_cpu:
            yield from on_threads(n_workers, lambda stop: self._train(size, stop))
        else:
            yield from self._train(size, Event())

    def _train(self, size: int, stop: Event) -> Iterator[StoppedFit]:
        """Train waiting fits, up to `size` at a time and no less than a group, until none is left."""
        if self.job.device.type == "cpu":
            torch.set_flush_denormal(True)  # the moments of dead units become denormal, which is slow
        stack = Stack(self.network, self.job.n_outputs, self._gradient, self.job.device)
        running: list[FitProgress] = []
        while not stop.is_set():
            entering = self._next(size - len(running))
            if entering:
                stack.enter([self.job.seeds[fit.seed] for fit in entering], [self._rate(fit) for fit in entering])
                running += [FitProgress(fit) for fit in entering]
            if not running:
                return
            self._epoch(stack, running, stop)
            blocks = [progress.fit.block for progress in running]
            losses = self.rows.valid_loss(stack, blocks)
            ended = [self._ended(stack, at, progress, losses[at]) for at, progress in enumerate(running)]
            if any(ended):
                for at in np.flatnonzero(ended).tolist():
                    progress = running[at]
                    state = stack.state(progress.best or stack.snapshot(at))
                    yield StoppedFit(progress.fit, state, progress.best_loss, progress.best_epoch)
                staying = np.flatnonzero(~np.array(ended)).tolist()
                running = [running[at] for at in staying]
                stack.keep(staying)

    def _next(self, room: int) -> list[FitPosition]:
        """Take the next groups of fits that have room together."""
        fits: list[FitPosition] = []
        while len(fits) < room:
            try:
                group = self.waiting.popleft()  # several threads take from it
            except IndexError:
                break
            if len(fits) + len(group) > room:
                self.waiting.appendleft(group)
                break
            fits += group
        return fits

    def _rate(self, fit: FitPosition) -> Rate:
        point = self.job.grid[fit.configuration]
        return Rate(point["learning_rate"], point["weight_decay"])

    def _gradient(self, outputs: Tensor, batch: Minibatch) -> Tensor:
        task, loss, smoothing = self.job.task, self.options.loss, self.options.label_smoothing
        return loss_gradient(outputs, batch.targets, batch.share, batch.weights, task, loss, smoothing)

    def _epoch(self, stack: Stack, running: Sequence[FitProgress], stop: Event) -> None:
        """Train every network on its block's training rows once."""
        turns = []
        for progress in running:
            progress.epoch += 1
            dropout = self.job.grid[progress.fit.configuration].get("dropout", 0.0)
            turns.append(Turn(progress.fit.block, self.job.seeds[progress.fit.seed], progress.epoch, dropout))
        n_steps = [self.rows.n_steps(turn.block) for turn in turns]
        for step, batch in enumerate(self.rows.epoch(turns, self.network.units)):
            if stop.is_set():
                return
            stack.step(batch, frozenset(at for at, own in enumerate(n_steps) if own <= step))

    def _ended(self, stack: Stack, at: int, progress: FitProgress, loss: float) -> bool:
        """Keep the state of a network if it is the best so far; return whether its training is finished."""
        if self.job.epochs is not None or not self.rows.n_valid[progress.fit.block]:
            if progress.epoch < (self.job.epochs[progress.fit.seed] if self.job.epochs else self.options.max_epochs):
                return False
            progress.best, progress.best_loss, progress.best_epoch = stack.snapshot(at), np.nan, progress.epoch
            return True
        if not np.isfinite(loss):
            progress.best_loss = np.nan
            return True
        if loss < progress.best_loss:
            progress.best, progress.best_loss, progress.best_epoch = stack.snapshot(at), float(loss), progress.epoch
        waited = progress.epoch - progress.best_epoch
        return waited >= self.options.patience or progress.epoch >= self.options.max_epochs
