"""Compute blocks of a plan in this process; used by local runs, run shards and Ray actors."""

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

WARM_UP_FROM = 10  # clips; below, a warm-up would be a large part of the run


@dataclass(frozen=True)
class ExtractionTask:
    """Everything needed to compute blocks.

    Attributes:
        plan: The plan that defines the blocks.
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
        """Return the shard file of a block."""
        return self.parts / f"shard-{number:06d}.h5"

    def n_clips(self, numbers: Sequence[int]) -> int:
        """Return the number of clips in some blocks."""
        return sum(len(batch) for number in numbers for batch in self.plan.blocks[number])

    def audio_s(self, numbers: Sequence[int]) -> float:
        """Return the seconds of audio in some blocks."""
        return sum(self.plan.audio_s(batch) for number in numbers for batch in self.plan.blocks[number])


@dataclass
class Computed:
    """The result of computing some blocks.

    Attributes:
        clips: block -> number of its clips that were embedded.
        failed_s: block -> seconds of audio of its clips that were not.
        seconds: Wall time without loading the model.
        timings: Busy time of each part, summed over all workers.
    """

    clips: dict[int, int] = field(default_factory=dict)
    failed_s: dict[int, float] = field(default_factory=dict)
    seconds: float = 0.0
    timings: Timings = field(default_factory=Timings)

    def add(self, other: Computed) -> None:
        """Add later work; a block that was computed again counts once."""
        self.clips |= other.clips
        self.failed_s |= other.failed_s
        self.seconds += other.seconds
        self.timings += other.timings


class Engine(Protocol):
    """Computes blocks and writes each to its shard."""

    def __call__(self, job: ExtractionTask, numbers: Sequence[int], progress: Progress) -> Computed:
        """Compute the blocks with these numbers; each shard is written as soon as its block is done."""


def work_here(
    job: ExtractionTask,
    numbers: Sequence[int],
    progress: Progress,
    on_shard: Callable[[int, int], None] = lambda number, clips: None,
) -> Computed:
    """Compute blocks in this process.

    Args:
        job: The plan and its settings.
        numbers: The blocks to compute, in this order.
        progress: Notified after each batch.
        on_shard: Called with the block and its number of embedded clips after each shard is written.

    Returns:
        The result; every shard is on disk.

    Raises:
        AudioheadsError: The backbone cannot be loaded, or a shard cannot be written.
    """
    computed = Computed()
    retry = Retry(progress.note)

    def unavailable() -> Path | None:
        return unavailable_cache(job.parts)

    def write(number: int, rows: CacheRows, cost: dict[str, Any]) -> None:
        retry(
            lambda: write_file(job.shard(number), job.spec, [rows], Totals.of(rows), cost),
            unavailable,
        )
        computed.clips[number] = len(rows.ids)
        computed.failed_s[number] = max(0.0, job.audio_s([number]) - sum(rows.durations_s))
        on_shard(number, len(rows.ids))

    with computing_as_planned(job.plan.threads):
        backbone = job.load()
        started = time.perf_counter()
        computed.timings = embed_blocks(
            *(job.plan, numbers, backbone, job.settings, progress, write, job.parts, unavailable),
            marks=job.parts.parent,
            warm_up=one_batch(job.plan),
        )
    computed.seconds = time.perf_counter() - started
    return computed


def one_batch(plan: Plan) -> bool:
    """Return whether a plan is one batch of enough clips for a warm-up to cost little.

    Figures of speed leave out the first batch, which pays for starting libraries. These runs have no other batch.
    """
    return sum(map(len, plan.blocks)) == 1 and len(plan.clips) >= WARM_UP_FROM


@contextlib.contextmanager
def computing_as_planned(threads: int) -> Iterator[None]:
    """Set the thread count of torch and BLAS; restore the old settings afterwards.

    Thread counts change the last bits of matrix products, and the environment of the process may have set them.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with threadpool_limits(threads, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)
