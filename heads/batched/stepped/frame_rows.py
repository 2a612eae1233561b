"""Training of heads on frames: fits of a block and seed start together, and read each minibatch of frames once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import cast

import torch
from torch import Tensor

from heads.batched.blocks import BlockFit, Loader, Place, chunks
from heads.batched.frame_blocks import FrameBlock
from heads.batched.job import Job
from heads.batched.rng import dropout_stream
from heads.batched.stepped.adamw import HeadNetwork, aligned
from heads.batched.stepped.early_stopping import FitPosition, train_fits
from heads.batched.stepped.frame_batches import FrameStore, frames_at_once
from heads.batched.stepped.minibatches import BlockRows, Turn
from heads.batched.stepped.plan import SCORES_BYTES, Plan, memory_note
from heads.batched.target_rows import row_bytes
from heads.options import SteppedOptions


class FrameRows(BlockRows):
    """The rows of some blocks of frames."""

    def _dropout(self, turns: Sequence[Turn], n_steps: int, units: int) -> Iterator[Tensor | None]:
        """Yield the dropout factors of each step: 0, or one over the probability that a number is kept."""
        device, size = self.job.device, self.options.batch_size
        keep = torch.tensor([1 - turn.dropout for turn in turns], device=device)[:, None, None]
        keys = list(dict.fromkeys((turn.seed, turn.epoch) for turn in turns))
        streams = [dropout_stream(seed, epoch, device) for seed, epoch in keys]
        stream_of = torch.tensor([keys.index((turn.seed, turn.epoch)) for turn in turns], device=device)
        for _ in range(n_steps):
            draws = torch.stack([torch.rand((size, units), generator=stream, device=device) for stream in streams])
            yield (draws[stream_of] < keep) / keep


def train_on_frames(
    places: Sequence[Place], load: Loader, job: Job, configurations: Sequence[int], network: HeadNetwork
) -> Iterator[BlockFit]:
    """Train some configurations of the same shape on the frames of every block with every seed.

    Frames stay in the cache. All configurations of a block and seed draw the same rows in each step, so they are
    trained together.

    Args:
        places: The blocks.
        load: Returns the `FrameBlock` of a place.
        job: The grid, and the settings shared by all fits.
        configurations: Positions in the grid.
        network: The architecture of these configurations.

    Yields:
        One candidate per block and configuration, in no particular order.
    """
    options = cast(SteppedOptions, job.options)
    plan = plan_frames(job, network, cast(FrameBlock, load(places[0])), len(places), len(configurations))
    note = memory_note(plan.n_bytes, plan.n_workers, plan.n_fits, "frames in the cache")
    if job.note and note:
        job.note(note)
    for group in chunks(places, 1, plan.n_blocks):
        blocks = [cast(FrameBlock, load(place)) for place in group]
        rows = FrameRows(blocks, job, options, plan, FrameStore(blocks, job.device))
        waiting = [
            [FitPosition(block, configuration, seed) for configuration in together]
            for block in range(len(group))
            for seed in range(len(job.seeds))
            for together in chunks(configurations, 1, plan.n_fits)
        ]
        yield from train_fits(waiting, group, rows, job, network)


def plan_frames(job: Job, network: HeadNetwork, block: FrameBlock, n_blocks: int, n_configurations: int) -> Plan:
    """Divide a job.

    Args:
        job: The job.
        network: The architecture of its fits.
        block: One of its blocks.
        n_blocks: Number of blocks to train on.
        n_configurations: Number of fits per block and seed.
    """
    options = cast(SteppedOptions, job.options)
    numbers = block.mean.size  # of a frame
    at_once = frames_at_once(numbers)
    trained = min(at_once, options.batch_size * int(block.frames.lengths(block.train).max()))
    scored = min(at_once, int(block.frames.lengths(block.valid).sum()))
    units = network.trained["attention_weight"][1]
    mixed = job.dim if "mixture" in network.trained else 0
    weights = sum(map(math.prod, network.trained.values()))
    frames = 4 * numbers * max(trained, scored)  # of a part, which fits share
    # Hidden units and mixed frames of a step; values, gradients, moments and best state; clips of a step.
    fit = 4 * (trained * (units + mixed) + 8 * weights + 6 * options.batch_size * job.dim)
    passing = 4 * (2 * units + mixed) * max(trained, scored)  # of the fits that are computed now
    n_groups = n_blocks * len(job.seeds)
    least = frames + passing + fit
    if job.device.type == "cpu":
        n_workers = max(1, min(job.cores, n_groups, job.memory // least))
        n_fits = min(n_configurations, 1 + (job.memory // n_workers - least) // fit)
    else:
        n_workers, n_fits = 1, min(n_groups * n_configurations, job.memory // (frames + passing + fit))
    n_fits = max(1, n_fits)
    scored_bytes = 4 * (2 * job.dim + 9 * aligned(job.n_outputs))
    small = (job.n_train + job.n_valid) * (row_bytes(job.task, job.n_outputs) + 16)  # targets and positions
    return Plan(
        n_blocks=max(1, min(n_blocks, job.memory // 8 // small)),
        spilled=False,
        n_workers=n_workers,
        n_fits=n_fits,
        valid_rows=max(32, SCORES_BYTES // scored_bytes // 32 * 32),
        scored_bytes=scored_bytes,
        tile_bytes=0,
        n_bytes=n_workers * (frames + passing + n_fits * fit),
        file_bytes=0,
    )
