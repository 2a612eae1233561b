"""Blocks of a plan at work in this process: what a run, an actor and a share of a run have in common."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from threadpoolctl import threadpool_limits

from features.backbones.base import Backbone
from features.inference.embed import embed_blocks
from features.inference.timing import Timings
from features.planning.plan import Plan
from features.planning.progress import Progress
from features.planning.settings import Settings
from features.store.writer import CacheRows, Totals, write_file
from features.system.retry import Retry, unavailable_cache


@dataclass(frozen=True)
class ExtractionTask:
    """What whoever computes blocks has to know.

    Attributes:
        plan: Says what the blocks are.
        parts: The folder of the plan and its shards.
        spec: The cache spec.
        settings: How to run.
        load: Loads the backbone.
    """

    plan: Plan
    parts: Path
    spec: dict[str, Any]
    settings: Settings
    load: Callable[[], Backbone]

    def shard(self, number: int) -> Path:
        """Where a block's rows go."""
        return self.parts / f"shard-{number:06d}.h5"

    def n_clips(self, numbers: Sequence[int]) -> int:
        """Clips in some blocks."""
        return sum(len(batch) for number in numbers for batch in self.plan.blocks[number])

    def audio_s(self, numbers: Sequence[int]) -> float:
        """Seconds of audio in some blocks."""
        return sum(self.plan.audio_s(batch) for number in numbers for batch in self.plan.blocks[number])


@dataclass
class Computed:
    """What came of some blocks.

    Attributes:
        clips: block -> how many of its clips were embedded.
        seconds: Wall time, without loading the model.
        timings: How busy each part was; of all workers together.
    """

    clips: dict[int, int] = field(default_factory=dict)
    seconds: float = 0.0
    timings: Timings = field(default_factory=Timings)

    def add(self, other: Computed) -> None:
        """Count later work, too; a block that is computed again counts once."""
        self.clips |= other.clips
        self.seconds += other.seconds
        self.timings += other.timings


class Engine(Protocol):
    """Whoever computes blocks, each into its shard."""

    def __call__(self, job: ExtractionTask, numbers: Sequence[int], progress: Progress) -> Computed:
        """Compute the blocks of these numbers; a shard appears as soon as its block is done."""


def work_here(
    job: ExtractionTask,
    numbers: Sequence[int],
    progress: Progress,
    on_shard: Callable[[int, int], None] = lambda number, clips: None,
) -> Computed:
    """Compute blocks in this process.

    Args:
        job: The plan, and how to compute.
        numbers: Which of its blocks, in this order.
        progress: Told after each batch.
        on_shard: Told each block whose shard is there, and how many clips it holds.

    Returns:
        What came of them; every shard is on disk.

    Raises:
        AudioheadsError: The backbone cannot be loaded, or a shard not written.
    """
    computed = Computed()
    patience = Retry(progress.note)

    def write(number: int, rows: CacheRows, cost: dict[str, Any]) -> None:
        patience(
            lambda: write_file(job.shard(number), job.spec, [rows], Totals.of(rows), cost),
            lambda: unavailable_cache(job.parts),
        )
        computed.clips[number] = len(rows.ids)
        on_shard(number, len(rows.ids))

    with computing_as_planned(job.plan.threads):
        backbone = job.load()
        started = time.perf_counter()
        computed.timings = embed_blocks(job.plan, numbers, backbone, job.settings, progress, write, job.parts)
    computed.seconds = time.perf_counter() - started
    return computed


@contextlib.contextmanager
def computing_as_planned(threads: int) -> Iterator[None]:
    """Run torch and BLAS with a number of threads, and fp32 that is fp32 on CUDA too; then as before.

    Thread counts change the last bits of matrix products, and whoever starts a process may have set them.
    """
    before, tf32 = torch.get_num_threads(), torch.backends.cudnn.allow_tf32
    torch.set_num_threads(threads)
    torch.backends.cudnn.allow_tf32 = False
    try:
        with threadpool_limits(threads, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)
        torch.backends.cudnn.allow_tf32 = tf32
