"""Run decoded batches through a backbone: transfer, forward pass, pooling, and what happens when memory runs out."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from features.audio.containers import file_of
from features.audio.decoded_cache import DecodedFiles
from features.audio.decoding import Waveform, resampled_length, stream_windows
from features.backbones.base import Backbone, pad
from features.errors import AudioError, AudioheadsError, decoder_error, first_line
from features.inference.block import Batch, Embedded
from features.inference.device_resampling import batch_on_device
from features.inference.device_transfer import ToDevice, ToHost
from features.inference.frame_buffer import FrameBuffer
from features.inference.loader import Decoded, Prepared, attempting, check_unchanged
from features.inference.oom import Splitter, find_budget, memory_of
from features.inference.timing import Clock
from features.planning.plan import PlannedClip
from features.planning.progress import Progress
from features.planning.settings import Settings
from features.planning.windows import Windows, read_ahead
from features.pooling import POOLINGS, Frames, Moments
from features.system.attempts import Attempts
from features.system.device_errors import is_device_failure
from features.system.out_of_memory import is_out_of_memory
from features.system.retry import Retry, unavailable_folder


@dataclass(frozen=True)
class LongClips:
    """Resources for long clips: decoded files, decoding threads, a folder for temporary files, and marks."""

    files: DecodedFiles
    pool: ThreadPoolExecutor
    scratch: Path | None
    unavailable: Callable[[], Path | None]
    attempts: Attempts


class Embedder:
    """A backbone with transfer, pooling, and handling of out-of-memory errors."""

    def __init__(
        self, backbone: Backbone, settings: Settings, clock: Clock, progress: Progress, long: LongClips
    ) -> None:
        """Prepare a backbone, and find out how much of its device's memory a batch may use.

        Args:
            backbone: The backbone.
            settings: Which poolings and frames to store.
            clock: Measures the busy time of each part.
            progress: Receives notes.
            long: Resources for long clips.
        """
        self.backbone = backbone
        self.settings = settings
        self.clock = clock
        self.long = long
        self.retry = Retry(progress.note)
        self.windows = Windows.of(backbone.spec, settings.window_overlap_s)
        self.feed = ToDevice(backbone.device)
        if settings.batch_s is None and backbone.budget is None:
            backbone.budget = find_budget(
                backbone, lambda waveforms, lengths: self._embedded(self._forward(self.feed(waveforms), lengths))
            )
        self.splitter = Splitter(progress.note, backbone.budget)
        self.note = progress.note
        backbone.measure = lambda part: clock.measure(part.replace(" ", "_"), backbone.device, within="forward")

    def embed(self, decoded: Decoded, batch: Batch) -> None:
        """Run a decoded batch through the model and add the results to `batch`."""
        for clip, failure in decoded.failures():
            batch.fail(clip, str(failure), content=failure.lasting)
        self._embed_short(decoded.usable(), batch)
        for clip in decoded.streamed():
            try:
                batch.parts.append(self._embed_long_with_retry(clip))
            except AudioError as error:
                batch.fail(clip, str(error), content=error.lasting)
            except _TooLargeError as error:
                batch.fail(clip, str(error), content=False)

    def _embed_short(self, usable: Sequence[tuple[PlannedClip, Waveform]], batch: Batch) -> None:
        """Embed the clips that need no windows, in as few pieces as fit in memory."""
        spec = self.backbone.spec
        lengths = [resampled_length(len(wave.samples), wave.sample_rate, spec.sample_rate) for _, wave in usable]
        for piece in self.splitter.run(
            [max(length, spec.min_samples) for length in lengths],
            lambda rows: self._embedded(self._frames([wave for _, wave in usable[rows.start : rows.stop]])),
        ):
            clips = [clip for clip, _ in usable[piece.rows.start : piece.rows.stop]]
            if piece.result is None:
                batch.fail(clips[0], self._too_large(clips[0].native_s), content=False)
            else:
                batch.parts.append(Embedded(clips, *piece.result))
        self.backbone.budget = self.splitter.budget

    def _frames(self, waves: Sequence[Waveform]) -> Frames:
        """Return the frames of some clips: of their samples, or of what the front end made of them on the host."""
        prepared = [wave for wave in waves if isinstance(wave, Prepared)]
        if not prepared:
            return self._forward(*self._audio(waves))
        lengths = torch.tensor([max(len(wave.samples), self.backbone.spec.min_samples) for wave in prepared])
        with self.clock.measure("forward", self.backbone.device):
            return self.backbone.embed_prepared([wave.inputs for wave in prepared], lengths)

    def _audio(self, waves: Sequence[Waveform]) -> tuple[Tensor, Tensor]:
        """Return the waveforms of some clips on the device, padded to the longest, and their lengths on the CPU."""
        spec = self.backbone.spec
        if self.settings.resample == "device":
            return batch_on_device(waves, spec.min_samples, spec.sample_rate, self.feed)
        waveforms, lengths = pad([wave.samples for wave in waves], spec.min_samples, pinned=self.feed.pinned)
        return self.feed(waveforms), lengths

    def _embedded(self, frames: Frames) -> tuple[list[int], ToHost]:
        """Return frame counts, and the transfer of the vectors and frames to store."""
        moments = self._moments(frames)
        with self.clock.measure("pool", self.backbone.device):
            tensors = self._vectors(moments)
            if "frames" in self.settings.pooling:
                tensors["frames"] = self._kept(frames)
            return frames.lengths.tolist(), ToHost(tensors)

    def _forward(self, waveforms: Tensor, lengths: Tensor) -> Frames:
        """Return the frames of waveforms on the device; without compilation from the first call on that needs it."""
        with self.clock.measure("forward", self.backbone.device):
            try:
                return self.backbone.embed_batch(waveforms, lengths)
            except Exception as error:
                if not self.backbone.compiled or is_out_of_memory(error) or is_device_failure(error):
                    raise
                self.backbone.compiled = False
                self.note(f"the compiled network failed ({first_line(error)}); continuing without compilation")
        return self._forward(waveforms, lengths)

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
        chosen, values = self.settings.frame_layers, frames.values
        if chosen is not None:  # not by a list as an index: it is copied to the device, and the host waits for that
            values = torch.stack([values[:, layer] for layer in chosen], dim=1)
        return values.transpose(1, 2).float().to(getattr(torch, self.settings.frame_dtype))

    def _embed_long_with_retry(self, clip: PlannedClip) -> Embedded:
        """Embed a long clip; start again if its folder or the cache folder was unavailable meanwhile."""

        def unavailable() -> Path | None:
            return unavailable_folder(file_of(clip.path)) or self.long.unavailable()

        with attempting(clip, self.long.attempts, self.note) as isolated:
            return self.retry(lambda: self._embed_long(clip, isolated), unavailable)

    def _embed_long(self, clip: PlannedClip, isolated: bool) -> Embedded:
        """Embed a clip window by window; memory use does not grow with its length."""
        spec, cut = self.backbone.spec, self.windows
        moments: Moments | None = None
        n_frames = 0
        buffer = FrameBuffer(self.long.scratch) if "frames" in self.settings.pooling else None
        windows = stream_windows(
            *(Path(clip.path), spec.sample_rate, cut.samples, clip.start_s, clip.duration_s),
            hop_samples=cut.hop_samples,
            decoded=self.long.files,
            isolated=isolated,
        )
        prepare = preparing(self.backbone, self.clock, 1) or (lambda wave: wave)
        waves = _failing_one_clip(windows, lambda window: prepare(Waveform(window, spec.sample_rate)))
        with contextlib.closing(read_ahead(waves, self.long.pool)) as ahead:
            for number, (wave, last) in enumerate(ahead):
                embedded = partial(self._window, wave, number == 0, last)
                (piece,) = self.splitter.run([max(len(wave.samples), spec.min_samples)], embedded)
                if piece.result is None:
                    raise _TooLargeError(self._too_large(spec.max_duration_s))
                count, part, kept = piece.result
                if part is None:
                    continue
                moments = part if moments is None else moments.join(part)
                n_frames += count
                if buffer is not None and kept is not None:
                    buffer.add(kept.wait()["frames"][0, :count].numpy())
        check_unchanged(clip)
        if moments is None:
            raise AudioError("holds no samples")
        return Embedded([clip], [n_frames], ToHost(self._vectors(moments)), None if buffer is None else [buffer])

    def _window(self, window: Waveform, first: bool, last: bool, _: range) -> tuple[int, Moments | None, ToHost | None]:
        """Embed one window of a long clip.

        Returns:
            The number of frames to keep, their moments, and the transfer of frames to store, if frames are stored.
        """
        frames = self.windows.keep(self._frames([window]), first=first, last=last)
        if frames is None:
            return 0, None, None
        stored = ToHost({"frames": self._kept(frames)}) if "frames" in self.settings.pooling else None
        return int(frames.lengths[0]), self._moments(frames), stored

    def _too_large(self, seconds: float) -> str:
        """Return the reason for a clip that does not fit in memory even in a batch by itself."""
        return f"{seconds:.1f} s at once need more memory than {memory_of(self.backbone)}"


def preparing(backbone: Backbone, clock: Clock, workers: int) -> Callable[[Waveform], Waveform] | None:
    """Return the function that prepares a decoded clip on the host; None if the backbone's `forward` does it all.

    Args:
        backbone: The backbone.
        clock: Measures the time of the front end.
        workers: The number of threads that prepare clips.
    """
    if (prepare := backbone.prepare) is None:
        return None
    shortest = backbone.spec.min_samples

    def prepared(wave: Waveform) -> Waveform:
        started = time.perf_counter()
        samples = np.pad(wave.samples, (0, max(0, shortest - len(wave.samples))))
        inputs = prepare(samples)
        clock.add("front_end", (time.perf_counter() - started) / workers)
        return Prepared(wave.samples, wave.sample_rate, inputs)

    return prepared


def _failing_one_clip(
    windows: Generator[np.ndarray, None, None], finish: Callable[[np.ndarray], Waveform]
) -> Generator[Waveform, None, None]:
    """Yield the finished windows of a clip; an unexpected exception while decoding becomes an `AudioError`."""
    with contextlib.closing(windows):
        while True:
            try:
                window = next(windows, None)
                if window is None:
                    return
                wave = finish(window)
            except AudioheadsError:
                raise
            except Exception as error:  # a crashing decoder fails one clip, not the run
                raise decoder_error(error) from error
            yield wave


class _TooLargeError(Exception):
    """A single window does not fit in the device's memory."""
