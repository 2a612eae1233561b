"""Decode audio files, mix them to mono and resample them, as one `Waveform` or as a stream of windows."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr

from features.audio import file as audio_file
from features.audio.decoded_cache import DecodedFiles, SampleSource
from features.audio.file import AudioFile, AudioInfo, is_entered_at_start, unreadable
from features.audio.isolated import IsolatedFile

# How samples are computed; part of every cache fingerprint.
AUDIO_SPEC = {"decoder": "libsndfile", "mono": "mean", "resampler": "soxr HQ", "length": "ceil(n*ratio)"}

MOST_RESAMPLED = 1 << 25  # samples that a streamed chunk is resampled to


@dataclass(frozen=True)
class Waveform:
    """Mono audio: `samples` float32 of shape (T,), nominally in [-1, 1], at `sample_rate` Hz."""

    samples: np.ndarray
    sample_rate: int

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.sample_rate


def resampled_length(n_samples: int, from_rate: int, to_rate: int) -> int:
    """Return the number of samples at `to_rate` Hz for `n_samples` at `from_rate` Hz (librosa's rule)."""
    return n_samples if from_rate == to_rate else math.ceil(n_samples * (to_rate / from_rate))


def probe(path: Path, *, isolated: bool = False) -> AudioInfo:
    """Read a file's header.

    Args:
        path: The audio file.
        isolated: Read it in a process of its own.

    Raises:
        AudioError: The file is not a readable audio file, is empty, or is shorter than its header announces.
    """
    with closing(_open(path, isolated)) as file:
        return file.info


def read_waveform(
    path: Path,
    sample_rate: int | None,
    start_s: float = 0.0,
    duration_s: float | None = None,
    decoded: DecodedFiles | None = None,
    *,
    isolated: bool = False,
) -> Waveform:
    """Decode one clip as mono float32 at `sample_rate` Hz; a segment is cut out exactly, then resampled.

    In seekable formats (such as WAV, FLAC and AIFF) only the segment is read. Other files (MP3, OGG) are decoded from
    their start to the end of the segment. Resampling is one-shot soxr HQ to ceil(n·ratio) samples, as in
    `librosa.load`.

    Args:
        path: The audio file.
        sample_rate: Target rate in Hz; None: the file's own.
        start_s: Start of the clip in the file, in seconds.
        duration_s: Length of the clip, in seconds; None: to the file's end.
        decoded: Cache for files that must be decoded from their start; their other segments reuse it.
        isolated: Decode the file in a process of its own.

    Returns:
        Samples of shape (T,).

    Raises:
        AudioError: As `probe`, or decoding fails, or samples are NaN or infinite.
    """
    with _source(path, start_s, duration_s, decoded, isolated) as source:
        start, stop = source.info.segment(start_s, duration_s)
        native = source.read(start, stop)
        native_rate = source.info.sample_rate
    wanted = native_rate if sample_rate is None else sample_rate
    return Waveform(resample(native, native_rate, wanted), wanted)


def stream_windows(
    path: Path,
    sample_rate: int,
    window_samples: int,
    start_s: float = 0.0,
    duration_s: float | None = None,
    *,
    hop_samples: int | None = None,
    decoded: DecodedFiles | None = None,
    isolated: bool = False,
) -> Generator[np.ndarray, None, None]:
    """Decode one long clip as windows, holding only about one window in memory.

    Args:
        path: The audio file.
        sample_rate: Target rate in Hz.
        window_samples: Window length in samples at `sample_rate`.
        start_s: Start of the clip in the file, in seconds.
        duration_s: Length of the clip, in seconds; None: to the file's end.
        hop_samples: Samples from the start of one window to the start of the next; None: `window_samples`.
        decoded: See `read_waveform`.
        isolated: See `read_waveform`.

    Yields:
        Float32 arrays of shape (window_samples,). The last one may be shorter, but is longer than the overlap of two
        windows. Together the windows equal the samples of `read_waveform`.

    Raises:
        AudioError: As `read_waveform`.
    """
    hop = window_samples if hop_samples is None else hop_samples
    pending = np.empty(0, dtype=np.float32)
    for chunk in _stream(path, sample_rate, start_s, duration_s, decoded, isolated):
        pending = np.concatenate([pending, chunk])
        while len(pending) > window_samples:
            yield pending[:window_samples]
            pending = pending[hop:]
    if len(pending):
        yield pending


def resample(samples: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """Resample float32 (T,) from `from_rate` to `to_rate` Hz to exactly ceil(T·ratio) samples."""
    if from_rate == to_rate:
        return samples
    return _fit(soxr.resample(samples, from_rate, to_rate, "HQ"), resampled_length(len(samples), from_rate, to_rate))


def _stream(
    path: Path,
    sample_rate: int,
    start_s: float,
    duration_s: float | None,
    decoded: DecodedFiles | None,
    isolated: bool,
) -> Iterator[np.ndarray]:
    """Yield consecutive resampled chunks of one clip."""
    with _source(path, start_s, duration_s, decoded, isolated) as source:
        native_rate = source.info.sample_rate
        start, stop = source.info.segment(start_s, duration_s)
        same_rate = native_rate == sample_rate
        resampler = None if same_rate else soxr.ResampleStream(native_rate, sample_rate, 1, "float32", "HQ")
        missing = resampled_length(stop - start, native_rate, sample_rate)
        step = max(1, min(audio_file.STREAM_FRAMES, MOST_RESAMPLED * native_rate // sample_rate))
        for first in range(start, stop, step):
            last = min(first + step, stop)
            chunk = source.read(first, last)
            if resampler is not None:
                chunk = resampler.resample_chunk(chunk, last=last == stop)
            chunk = chunk[:missing]
            missing -= len(chunk)
            yield chunk
        if missing:
            yield np.zeros(missing, dtype=np.float32)


@contextmanager
def _source(
    path: Path, start_s: float, duration_s: float | None, decoded: DecodedFiles | None, isolated: bool
) -> Iterator[SampleSource]:
    """Yield a clip's file: from the cache if only a segment of a non-seekable file is needed, else newly opened."""
    if decoded is not None and (start_s or duration_s is not None) and is_entered_at_start(path):
        try:
            with decoded.opened(path, lambda: _open(path, isolated)) as file:
                yield file
        except OSError as error:
            raise unreadable(error) from None
    else:
        with closing(_open(path, isolated)) as opened:
            yield opened


def _open(path: Path, isolated: bool) -> AudioFile | IsolatedFile:
    return IsolatedFile(path) if isolated else AudioFile(path)


def _fit(samples: np.ndarray, length: int) -> np.ndarray:
    """Cut or zero-pad to exactly `length` samples."""
    if len(samples) >= length:
        return samples[:length]
    return np.pad(samples, (0, length - len(samples)))
