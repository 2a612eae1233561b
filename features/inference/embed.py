"""Embed the blocks of a plan: decoding, forward passes, pooling and writing run concurrently."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from features.audio.decoded_cache import DecodedFiles
from features.backbones.base import Backbone
from features.inference.block import Batch
from features.inference.compilation import compile_network
from features.inference.embedder import Embedder, LongClips, preparing
from features.inference.loader import decode_ahead
from features.inference.shard_writer import ShardWriter, WriteShard
from features.inference.timing import Clock, Timings
from features.numerics import full_float32
from features.planning.plan import Plan
from features.planning.progress import Progress
from features.planning.settings import Settings
from features.system.attempts import Attempts


@full_float32()
def embed_blocks(
    plan: Plan,
    numbers: Sequence[int],
    backbone: Backbone,
    settings: Settings,
    progress: Progress,
    write: WriteShard,
    scratch: Path | None = None,
    unavailable: Callable[[], Path | None] = lambda: None,
    marks: Path | None = None,
    *,
    warm_up: bool = False,
) -> Timings:
    """Embed the clips of some blocks; decoding, forward passes and writing overlap.

    Args:
        plan: The plan.
        numbers: The blocks to compute.
        backbone: The backbone.
        settings: Which poolings and frames to store, and how many threads decode.
        progress: Notified after each batch.
        write: Writes a block's shard; called in another thread, block by block in order.
        scratch: Folder for temporary files with frames of long clips; None for the system's temporary folder.
        unavailable: Returns the folder that is to be waited for before a long clip is tried again, None if there is
            none. Only a caller that holds a lock in its cache folder can tell that this folder disappeared.
        marks: Folder in which the files being decoded are marked, see `features.system.attempts`; None for no marks.
        warm_up: Run the backbone once before it is timed.

    Returns:
        The busy time of each part.

    Raises:
        RunError: A shard cannot be written; earlier shards are complete.
    """
    compile_s = compile_network(backbone, progress.note) if plan.compile else 0.0
    if warm_up:
        start_libraries(backbone)
    started, clock = time.perf_counter(), Clock()
    batches = (batch for number in numbers for batch in plan.blocks[number])
    spec, workers = backbone.spec, settings.workers or default_workers(backbone.device)
    about = {"parameters": backbone.parameters, "device": backbone.device_name, "drift": settings.precision_check}
    with (
        Attempts(marks) as attempts,
        DecodedFiles() as files,
        ThreadPoolExecutor(workers, "decode") as pool,
        contextlib.closing(
            decode_ahead(
                plan.clips,
                batches,
                None if settings.resample == "device" else spec.sample_rate,
                spec.max_samples,
                pool,
                files,
                on_read=lambda seconds: clock.add("read", seconds / workers),
                note=progress.note,
                attempts=attempts,
                prepare=None if settings.resample == "device" else preparing(backbone, clock, workers),
            )
        ) as decoded,
        ShardWriter(settings, write, about, clock, own_threads=plan.threads + workers, warm=warm_up) as writer,
    ):
        model = Embedder(backbone, settings, clock, progress, LongClips(files, pool, scratch, unavailable, attempts))
        for number in numbers:
            block = plan.blocks[number]
            for at, positions in enumerate(block):
                batch = Batch(number, at == len(block) - 1, len(positions), plan.audio_s(positions))
                model.embed(next(decoded), batch)
                writer.put(batch)
                _advance(progress, writer)
    _advance(progress, writer)
    busy = clock.seconds()
    idle = max(0.0, time.perf_counter() - started - busy.get("forward", 0.0) - busy.get("pool", 0.0))
    return Timings(**{f"{part}_s": seconds for part, seconds in busy.items()}, idle_s=idle, compile_s=compile_s)


def start_libraries(backbone: Backbone) -> None:
    """Run a short clip of noise through a backbone. Its libraries load parts of themselves at their first use."""
    spec = backbone.spec
    length = min(max(spec.min_samples, spec.sample_rate // 2), spec.max_samples)
    noise = 0.1 * torch.randn(1, length, generator=torch.Generator().manual_seed(0))
    with contextlib.suppress(Exception):  # what is wrong with the backbone shows in the first batch
        backbone.embed_batch(noise, torch.tensor([length]))


def default_workers(device: torch.device) -> int:
    """Return the default number of decoding threads: two if the model runs on the CPU, else one per core."""
    return 2 if device.type == "cpu" else max(2, os.cpu_count() or 2)


def _advance(progress: Progress, writer: ShardWriter) -> None:
    for done in writer.finished():
        progress.advance(*done)
