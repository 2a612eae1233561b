"""Embed the blocks of a plan: decoding, forward passes, pooling and writing run concurrently."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from features.audio.containers import file_of
from features.audio.decoded_cache import DecodedFiles
from features.audio.decoding import stream_windows
from features.backbones.base import Backbone, pad
from features.errors import AudioError, AudioheadsError, decoder_error
from features.inference.compilation import compile_network
from features.inference.device_resampling import batch_on_device
from features.inference.device_transfer import ToDevice, ToHost
from features.inference.frame_buffer import FrameBuffer
from features.inference.loader import Decoded, check_unchanged, decode_ahead
from features.inference.oom import Splitter, find_budget
from features.inference.shard_writer import Batch, Embedded, ShardWriter, WriteShard
from features.inference.timing import Clock, Timings
from features.numerics import full_float32
from features.planning.plan import Plan, PlannedClip
from features.planning.progress import Progress
from features.planning.settings import Settings
from features.planning.windows import Windows, read_ahead
from features.pooling import POOLINGS, Frames, Moments
from features.system.retry import Retry, unavailable_folder


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

    Returns:
        The busy time of each part.

    Raises:
        RunError: A shard cannot be written; earlier shards are complete.
    """
    compile_s = compile_network(backbone, progress.note) if plan.compile else 0.0
    started, clock = time.perf_counter(), Clock()
    batches = (batch for number in numbers for batch in plan.blocks[number])
    spec, workers = backbone.spec, settings.workers or default_workers(backbone.device)
    about = {"parameters": backbone.parameters, "device": backbone.device_name, "drift": settings.precision_check}
    with (
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
            )
        ) as decoded,
        ShardWriter(settings, write, about, clock, own_threads=plan.threads + workers) as writer,
    ):
        model = _Model(backbone, settings, clock, progress, _Long(files, pool, scratch, unavailable))
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


def default_workers(device: torch.device) -> int:
    """Return the default number of decoding threads: two if the model runs on the CPU, else one per core."""
    return 2 if device.type == "cpu" else max(2, os.cpu_count() or 2)


def _advance(progress: Progress, writer: ShardWriter) -> None:
    for done in writer.finished():
        progress.advance(*done)


@dataclass(frozen=True)
class _Long:
    """Resources for long clips: the cache of decoded files, decoding threads, and a folder for temporary files."""

    files: DecodedFiles
    pool: ThreadPoolExecutor
    scratch: Path | None
    unavailable: Callable[[], Path | None]


class _Model:
    """The backbone with transfer, pooling, and handling of out-of-memory errors."""

    def __init__(self, backbone: Backbone, settings: Settings, clock: Clock, progress: Progress, long: _Long) -> None:
        self.backbone = backbone
        self.settings = settings
        self.clock = clock
        self.long = long
        self.retry = Retry(progress.note)
        self.windows = Windows.of(backbone.spec, settings.window_overlap_s)
        self.feed = ToDevice(backbone.device)
        if settings.batch_s is None and backbone.budget is None:
            backbone.budget = find_budget(backbone, self._pooled)
        self.splitter = Splitter(progress.note, backbone.budget)

    def embed(self, decoded: Decoded, batch: Batch) -> None:
        """Run a decoded batch through the model and add the results to `batch`."""
        for clip, reason in decoded.failures():
            batch.fail(clip, reason)
        spec = self.backbone.spec
        if self.settings.resample == "device":
            audio = batch_on_device(decoded, spec.min_samples, spec.sample_rate, self.feed)
        else:
            audio = decoded.batch(spec.min_samples, spec.sample_rate, pinned=self.feed.pinned)
        if audio is not None:
            for piece in self.splitter.run(audio.waveforms, audio.lengths, self._embedded):
                clips = [decoded.clip(audio.rows[at]) for at in piece.rows]
                if piece.result is None:
                    batch.fail(clips[0], self._too_large(clips[0].native_s), content=False)
                else:
                    batch.parts.append(Embedded(clips, *piece.result))
            self.backbone.budget = self.splitter.budget
        for clip in decoded.streamed():
            try:
                batch.parts.append(self._embed_long_with_retry(clip))
            except AudioError as error:
                batch.fail(clip, str(error))
            except _TooLargeError as error:
                batch.fail(clip, str(error), content=False)

    def _embedded(self, waveforms: Tensor, lengths: Tensor) -> tuple[list[int], ToHost]:
        """Return frame counts, and the transfer of the vectors and frames to store."""
        frames, moments = self._pooled(waveforms, lengths)
        with self.clock.measure("pool", self.backbone.device):
            tensors = self._vectors(moments)
            if "frames" in self.settings.pooling:
                tensors["frames"] = self._kept(frames)
            return frames.lengths.tolist(), ToHost(tensors)

    def _pooled(self, waveforms: Tensor, lengths: Tensor) -> tuple[Frames, Moments]:
        """Return a batch's frames (their lengths are on the CPU) and moments, both on the device."""
        frames = self._forward(waveforms, lengths)
        return frames, self._moments(frames)

    def _forward(self, waveforms: Tensor, lengths: Tensor) -> Frames:
        moved = self.feed(waveforms)
        with self.clock.measure("forward", self.backbone.device):
            return self.backbone.embed_batch(moved, lengths)

    def _moments(self, frames: Frames) -> Moments:
        device = self.backbone.device
        with self.clock.measure("pool", device), torch.inference_mode():
            there = Frames(frames.values, frames.lengths.to(device, non_blocking=True), frames.weights)
            return Moments.of(there, self.settings.pooling)

    def _vectors(self, moments: Moments) -> dict[str, Tensor]:
        """Return the clip vectors to store. The mean is always included, to check that embeddings are finite."""
        kept = [method for method in POOLINGS if method in self.settings.pooling]
        return {method: moments.pooled(method) for method in dict.fromkeys(["mean", *kept])}

    def _kept(self, frames: Frames) -> Tensor:
        """Return the frames of the layers to store, (B, F, L, D) in the stored type."""
        layers = self.backbone.spec.layers if self.settings.frame_layers is None else self.settings.frame_layers
        dtype = getattr(torch, self.settings.frame_dtype)
        return frames.values[:, list(layers)].transpose(1, 2).float().to(dtype)

    def _embed_long_with_retry(self, clip: PlannedClip) -> Embedded:
        """Embed a long clip; start again if its folder or the cache folder was unavailable meanwhile."""

        def unavailable() -> Path | None:
            return unavailable_folder(file_of(clip.path)) or self.long.unavailable()

        return self.retry(lambda: self._embed_long(clip), unavailable)

    def _embed_long(self, clip: PlannedClip) -> Embedded:
        """Embed a clip window by window; memory use does not grow with its length."""
        spec, cut = self.backbone.spec, self.windows
        moments: Moments | None = None
        n_frames = 0
        buffer = FrameBuffer(self.long.scratch) if "frames" in self.settings.pooling else None
        windows = stream_windows(
            *(Path(clip.path), spec.sample_rate, cut.samples, clip.start_s, clip.duration_s),
            hop_samples=cut.hop_samples,
            decoded=self.long.files,
        )
        with contextlib.closing(read_ahead(_failing_one_clip(windows), self.long.pool)) as ahead:
            for number, (window, last) in enumerate(ahead):
                (piece,) = self.splitter.run(*pad([window], spec.min_samples, pinned=self.feed.pinned), self._forward)
                if piece.result is None:
                    raise _TooLargeError(self._too_large(spec.max_duration_s))
                frames = cut.keep(piece.result, first=number == 0, last=last)
                if frames is None:
                    continue
                part = self._moments(frames)
                moments = part if moments is None else moments.join(part)
                n_frames += int(frames.lengths[0])
                if buffer is not None:
                    buffer.add(self._kept(frames)[0, : int(frames.lengths[0])].cpu().numpy())
        check_unchanged(clip)
        if moments is None:
            raise AudioError("holds no samples")
        return Embedded([clip], [n_frames], ToHost(self._vectors(moments)), None if buffer is None else [buffer])

    def _too_large(self, seconds: float) -> str:
        """Return the reason for a clip that does not fit in memory even in a batch by itself."""
        return f"{seconds:.1f} s at once need more memory than {self.backbone.device_name} has; lower max_duration_s"


def _failing_one_clip(windows: Generator[np.ndarray, None, None]) -> Generator[np.ndarray, None, None]:
    """Yield the windows of a clip; an unexpected exception while decoding becomes an `AudioError`."""
    with contextlib.closing(windows):
        while True:
            try:
                window = next(windows, None)
            except AudioheadsError:
                raise
            except Exception as error:  # a crashing decoder fails one clip, not the run
                raise decoder_error(error) from error
            if window is None:
                return
            yield window


class _TooLargeError(Exception):
    """A single window does not fit in the device's memory."""
