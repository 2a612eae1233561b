"""Multilayer perceptrons: all configurations, layers and seeds of a grid trained in stacks, each with its own stop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from typing import NamedTuple, cast

import numpy as np
import torch
from torch.nn.functional import cross_entropy, pad

from heads.blocks import Block, Fitted, Loader, Place, chunks
from heads.job import Job
from heads.noise import dropout_stream, row_order
from heads.options import Configuration, MlpOptions, widths
from heads.predict import count_parameters, head_state
from heads.stack import Stack, aligned

CPU_STACK_BYTES = 2**26  # stacks beyond the processor's caches ran at half the speed
CUDA_STACK_BYTES = 2**30


class Candidate(NamedTuple):
    """A block and a position in the grid."""

    place: Place
    configuration: int


def fit_mlp(places: Sequence[Place], load: Loader, job: Job) -> Iterator[Fitted]:
    """Train every configuration on every block with every seed.

    Networks of one shape train as one stack, as many as memory allows. Initial weights, the order
    of rows and dropout are functions of seed, epoch and step, so a fit alone and in a stack is the same.
    A fit stops when its validation loss has not fallen for `patience` epochs and keeps its best
    state; then it leaves the stack. One whose validation loss is not finite has failed.

    Args:
        places: The blocks.
        load: Gives the block of a place.
        job: The grid and what all fits share.

    Yields:
        One candidate per block and configuration, in no particular order.
    """
    options, grid, seeds = cast(MlpOptions, job.options), job.grid, job.seeds
    by_hidden = sorted(range(len(grid)), key=lambda at: (widths(grid[at]["hidden"]), at))
    for hidden, configurations in groupby(by_hidden, key=lambda at: widths(grid[at]["hidden"])):
        sizes = (job.dim, *hidden, job.n_outputs)
        candidates = [Candidate(place, at) for at in configurations for place in places]
        candidates.sort(key=lambda candidate: candidate.place)
        n_parameters = sum((aligned(fan_in) + 1) * aligned(fan_out) for fan_in, fan_out in pairwise(sizes))
        # Parameters, their gradients, two moments, a best state and what removal copies; a step's activations.
        bytes_each = 4 * len(seeds) * (6 * n_parameters + 6 * options.batch_size * sum(map(aligned, sizes)))
        budget = CUDA_STACK_BYTES if job.device.type == "cuda" else CPU_STACK_BYTES
        for chunk in chunks(candidates, bytes_each, budget):
            yield from _train_stack(chunk, load, grid, options, sizes, seeds, job.device)


def _train_stack(
    candidates: Sequence[Candidate],
    load: Loader,
    grid: Sequence[Configuration],
    options: MlpOptions,
    sizes: Sequence[int],
    seeds: Sequence[int],
    device: torch.device,
) -> Iterator[Fitted]:
    """Train the fits of some candidates, all of one shape, as one stack."""
    places = list(dict.fromkeys(candidate.place for candidate in candidates))
    rows = _Rows([load(place) for place in places], sizes[0], device)
    points = [grid[candidate.configuration] for candidate in candidates for _ in seeds]
    stack = Stack(
        sizes,
        seeds=[seed for _ in candidates for seed in seeds],
        dropout=[point["dropout"] for point in points],
        learning_rate=[point["learning_rate"] for point in points],
        weight_decay=[point["weight_decay"] for point in points],
        device=device,
    )
    block_of = np.repeat([places.index(candidate.place) for candidate in candidates], len(seeds))
    seed_of = np.tile(np.arange(len(seeds)), len(candidates))
    running = np.arange(len(points))
    best = [stack.state(fit) for fit in range(len(points))]
    best_loss, best_epoch = np.full(len(points), np.inf), np.zeros(len(points), dtype=np.int64)
    for epoch in range(1, options.max_epochs + 1):
        _train_epoch(stack, rows, block_of[running], seed_of[running], seeds, epoch, options.batch_size)
        loss = rows.valid_loss(stack, block_of[running])
        better = np.flatnonzero(loss < best_loss[running])
        for at in better.tolist():
            best[running[at]] = stack.state(at)
        best_loss[running[better]], best_epoch[running[better]] = loss[better], epoch
        failed = ~np.isfinite(loss)
        best_loss[running[failed]] = np.nan
        on = ~failed & (epoch - best_epoch[running] < options.patience)
        if not on.any():
            break
        if not on.all():
            stack.keep(torch.from_numpy(np.flatnonzero(on)).to(device))
            running = running[on]
    for at, candidate in enumerate(candidates):
        fits = range(at * len(seeds), (at + 1) * len(seeds))
        block = rows.blocks[places.index(candidate.place)]
        states = [head_state(stack.unpadded(best[fit]), block) for fit in fits]
        losses, epochs = best_loss[list(fits)], best_epoch[list(fits)]
        yield Fitted(candidate.place, candidate.configuration, states, losses, epochs, count_parameters(states[0]))


def _train_epoch(
    stack: Stack,
    rows: _Rows,
    block_of: np.ndarray,
    seed_of: np.ndarray,
    seeds: Sequence[int],
    epoch: int,
    batch_size: int,
) -> None:
    """Show every network of the stack its block's training rows once, in minibatches."""
    device = rows.train.device
    n_steps = -(-int(rows.n_train[block_of].max()) // batch_size)
    order = np.zeros((len(block_of), n_steps * batch_size), dtype=np.int64)
    weights = np.zeros(order.shape, dtype=np.float32)
    drawn: dict[tuple[int, int], np.ndarray] = {}
    for fit, (block, seed) in enumerate(zip(block_of.tolist(), seed_of.tolist(), strict=True)):
        n = int(rows.n_train[block])
        if (seed, n) not in drawn:
            drawn[seed, n] = row_order(seeds[seed], epoch, n)
        order[fit, :n] = block * rows.train.shape[1] + drawn[seed, n]
        batch = np.arange(n) // batch_size
        weights[fit, :n] = 1 / np.bincount(batch)[batch]
    steps_order = torch.from_numpy(order).to(device).view(len(block_of), n_steps, batch_size)
    steps_weights = torch.from_numpy(weights).to(device).view_as(steps_order)
    present, own = np.unique(seed_of, return_inverse=True)
    streams = [dropout_stream(seeds[seed], epoch, device) for seed in present]
    whose = torch.from_numpy(own).to(device)
    flat = rows.train.flatten(0, 1)
    hidden = [aligned(size) for size in stack.sizes[1:-1]]
    for step in range(n_steps):
        noise = [
            torch.stack([torch.rand(batch_size, width, generator=stream, device=device) for stream in streams])[whose]
            for width in hidden
        ]
        chosen = steps_order[:, step]
        stack.step(flat[chosen], rows.train_targets.flatten()[chosen], steps_weights[:, step], noise)


class _Rows:
    """The rows of some blocks on the device, float32, widths padded; training rows as one tensor (G, n, D padded)."""

    def __init__(self, blocks: Sequence[Block], dim: int, device: torch.device) -> None:
        extra = aligned(dim) - dim
        self.blocks = blocks
        self.n_train = np.array([len(block.train) for block in blocks])
        most = int(self.n_train.max())
        self.train = torch.zeros(len(blocks), most, aligned(dim), device=device)
        self.train_targets = torch.zeros(len(blocks), most, dtype=torch.int64, device=device)
        for at, block in enumerate(blocks):
            self.train[at, : len(block.train), :dim] = block.train
            self.train_targets[at, : len(block.train)] = block.train_targets
        self.valid = [pad(block.valid.float(), (0, extra)) for block in blocks]
        self.valid_targets = [block.valid_targets for block in blocks]

    def valid_loss(self, stack: Stack, block_of: np.ndarray) -> np.ndarray:
        """Mean log loss of each network on its block's validation rows, shape (M,), in nats."""
        losses = np.empty(len(block_of))
        for start, end in _runs(block_of):
            block = block_of[start]
            targets = self.valid_targets[block]
            bytes_each = 4 * 3 * len(targets) * sum(map(aligned, stack.sizes[1:]))
            for part in chunks(range(start, end), bytes_each, CPU_STACK_BYTES):
                with torch.no_grad():
                    logits = stack.logits(self.valid[block], fits=slice(part[0], part[-1] + 1))
                each = cross_entropy(logits.double().transpose(1, 2), targets.expand(len(part), -1), reduction="none")
                losses[part[0] : part[-1] + 1] = each.mean(1).cpu().numpy()
        return losses


def _runs(values: np.ndarray) -> Iterator[tuple[int, int]]:
    """Start and end of each run of equal values."""
    edges = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
    yield from pairwise(edges)
