"""Audio files: decode, mix to mono, resample. One file in, one `Waveform` out, or a stream of windows."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr

from features.containers import announced_shortfall, announces_frames, enters_anywhere, seeks_exactly
from features.decoded import DecodedFiles, Source
from features.errors import AudioError

# How samples come about; part of every cache fingerprint.
AUDIO_SPEC = {"decoder": "libsndfile", "mono": "mean", "resampler": "soxr HQ", "length": "ceil(n*ratio)"}
STREAM_FRAMES = 1 << 20  # frames decoded at a time when streaming
HEADERLESS = (".raw", ".vox", ".gsm")  # libsndfile would guess a rate, or ask for one


@dataclass(frozen=True)
class Waveform:
    """Mono audio: `samples` float32 of shape (T,), nominally in [-1, 1], at `sample_rate` Hz."""

    samples: np.ndarray
    sample_rate: int

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.sample_rate


@dataclass(frozen=True)
class AudioInfo:
    """What a file's header says: `frames` at `sample_rate` Hz."""

    frames: int
    sample_rate: int

    def segment(self, start_s: float = 0.0, duration_s: float | None = None) -> tuple[int, int]:
        """First and last+1 frame of a clip in its file.

        Args:
            start_s: Where the clip starts, in seconds.
            duration_s: How long it is, in seconds; None: to the file's end.

        Raises:
            AudioError: The segment lies outside the file by more than 10 ms.
        """
        start = round(start_s * self.sample_rate)
        stop = self.frames if duration_s is None else round((start_s + duration_s) * self.sample_rate)
        tolerance = max(1, self.sample_rate // 100)
        if start >= self.frames or stop > self.frames + tolerance or stop <= start:
            end = "its end" if duration_s is None else f"{start_s + duration_s:g} s"
            length_s = self.frames / self.sample_rate
            raise AudioError(f"segment {start_s:g} s to {end} lies outside the file ({length_s:.3f} s)")
        return start, min(stop, self.frames)


def resampled_length(n_samples: int, from_rate: int, to_rate: int) -> int:
    """Samples that `n_samples` at `from_rate` Hz become at `to_rate` Hz (librosa's rule)."""
    return n_samples if from_rate == to_rate else math.ceil(n_samples * (to_rate / from_rate))


def probe(path: Path) -> AudioInfo:
    """Read a file's header.

    Raises:
        AudioError: Not a readable audio file, empty, or cut short by what its container says.
    """
    with _open(path) as file:
        return _info(file)


def read_waveform(
    path: Path,
    sample_rate: int | None,
    start_s: float = 0.0,
    duration_s: float | None = None,
    decoded: DecodedFiles | None = None,
) -> Waveform:
    """Decode one clip as mono float32 at `sample_rate` Hz; a segment is cut out exactly, then resampled.

    Of files that can be entered anywhere (WAV, FLAC, AIFF and their like) only the segment is read; others (MP3, OGG)
    are decoded from their start up to its end. Resampling is one-shot soxr HQ to ceil(n·ratio), as `librosa.load`
    does it.

    Args:
        path: The audio file.
        sample_rate: Wanted rate in Hz; None: the file's own.
        start_s: Where the clip starts in the file, in seconds.
        duration_s: How long the clip is, in seconds; None: to the file's end.
        decoded: Where what had to be decoded from the start is kept for the file's other segments.

    Raises:
        AudioError: As `probe`, or decoding fails, or samples are NaN or infinite.
    """
    with _source(path, start_s, duration_s, decoded) as source:
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
) -> Generator[np.ndarray, None, None]:
    """Decode one long clip as windows, holding only about one window in memory.

    Args:
        path: The audio file.
        sample_rate: Wanted rate in Hz.
        window_samples: Window length in samples at `sample_rate`.
        start_s: Where the clip starts in the file, in seconds.
        duration_s: How long the clip is, in seconds; None: to the file's end.
        hop_samples: From one window's start to the next one's; None: a window's length.
        decoded: See `read_waveform`.

    Yields:
        Float32 arrays of shape (window_samples,), the last one shorter, but longer than two windows' overlap;
        together they equal `read_waveform`'s samples.

    Raises:
        AudioError: As `read_waveform`.
    """
    hop = window_samples if hop_samples is None else hop_samples
    pending = np.empty(0, dtype=np.float32)
    for piece in _stream(path, sample_rate, start_s, duration_s, decoded):
        pending = np.concatenate([pending, piece])
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
    path: Path, sample_rate: int, start_s: float, duration_s: float | None, decoded: DecodedFiles | None
) -> Iterator[np.ndarray]:
    """Resampled pieces of one clip, in order."""
    with _source(path, start_s, duration_s, decoded) as source:
        native_rate = source.info.sample_rate
        start, stop = source.info.segment(start_s, duration_s)
        same_rate = native_rate == sample_rate
        resampler = None if same_rate else soxr.ResampleStream(native_rate, sample_rate, 1, "float32", "HQ")
        missing = resampled_length(stop - start, native_rate, sample_rate)
        for first in range(start, stop, STREAM_FRAMES):
            last = min(first + STREAM_FRAMES, stop)
            piece = source.read(first, last)
            if resampler is not None:
                piece = resampler.resample_chunk(piece, last=last == stop)
            piece = piece[:missing]
            missing -= len(piece)
            yield piece
        if missing:
            yield np.zeros(missing, dtype=np.float32)


@contextmanager
def _source(path: Path, start_s: float, duration_s: float | None, decoded: DecodedFiles | None) -> Iterator[Source]:
    """A clip's file: as it was decoded for another segment where that spares anything, else opened anew."""
    if decoded is not None and (start_s or duration_s is not None) and _is_entered_at_start(path):
        try:
            with decoded.opened(path, lambda: _File(path)) as file:
                yield file
        except OSError as error:
            raise _unreadable(error) from None
    else:
        with closing(_File(path)) as opened:
            yield opened


class _SoundFile(sf.SoundFile):
    """soundfile seeks to where it is after each read, which changes what follows where seeking is not exact."""

    def seekable(self) -> bool:
        """Whether seeking does not change samples."""
        return seeks_exactly(self.format, self.subtype) and bool(super().seekable())


class _File:
    """A file that is decoded as it is read."""

    def __init__(self, path: Path) -> None:
        self._file = _open(path)
        try:
            self.info = _info(self._file)
        except AudioError:
            self._file.close()
            raise

    def read(self, start: int, stop: int) -> np.ndarray:
        """Mono samples start…stop-1 at the file's rate."""
        if not seeks_exactly(self._file.format, self._file.subtype):
            while (at := self._file.tell()) < start:
                _read(self._file, at, min(at + STREAM_FRAMES, start))
        return _mono(_read(self._file, start, stop))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _is_entered_at_start(path: Path) -> bool:
    """Whether a file, as far as its first bytes tell, can only be decoded exactly from its start."""
    try:
        with path.open("rb") as file:
            return not enters_anywhere(file.read(4))
    except OSError:
        return False  # opening it says what is wrong


def _open(path: Path) -> _SoundFile:
    """The opened file, or one line on why it cannot be."""
    try:
        if not path.exists():
            raise AudioError("dangling link" if path.is_symlink() else "file not found")
        if not path.is_file():
            raise AudioError(f"is a {'directory' if path.is_dir() else 'device or pipe'}, not an audio file")
        size = path.stat().st_size
        if size == 0:
            raise AudioError("file is empty (0 bytes)")
        shortfall = announced_shortfall(path, size)
        if path.suffix.lower() in HEADERLESS:
            raise AudioError(f"has no header that tells its sample rate ({path.suffix}); convert it to WAV")
        file = _SoundFile(path)
    except sf.LibsndfileError as error:
        raise AudioError(_decoding_error(error)) from None
    except OSError as error:
        raise _unreadable(error) from None
    if shortfall or file.format == "RAW":
        file.close()
        raise AudioError(shortfall or "is no audio file of a known kind")
    return file


def _unreadable(error: OSError) -> AudioError:
    return AudioError(f"cannot be read ({error.strerror or error})")


def _decoding_error(error: sf.LibsndfileError) -> str:
    reason = error.error_string.strip().rstrip(".:")
    return f"cannot be decoded ({reason or f'libsndfile error {error.code}'})"


def _info(file: sf.SoundFile) -> AudioInfo:
    """Length and rate, when there is anything."""
    frames = file.frames
    if file.subtype.startswith("MPEG") and not announces_frames(Path(file.name)):
        frames = _count_frames(Path(file.name))
    if frames <= 0:
        raise AudioError("holds no samples")
    return AudioInfo(frames, file.samplerate)


def _count_frames(path: Path) -> int:
    """Frames of a file whose header states none, by decoding it."""
    frames = 0
    try:
        with _SoundFile(path) as file:
            while piece := len(file.read(STREAM_FRAMES, dtype="float32")):
                frames += piece
    except sf.LibsndfileError as error:
        raise AudioError(_decoding_error(error)) from None
    return frames


def _read(file: sf.SoundFile, start: int, stop: int) -> np.ndarray:
    """Frames start…stop-1 as float32 (frames, channels)."""
    try:
        if file.tell() != start:
            file.seek(start)
        data = file.read(stop - start, dtype="float32", always_2d=True)
    except sf.LibsndfileError as error:
        raise AudioError(_decoding_error(error)) from None
    if len(data) < stop - start:
        raise AudioError(f"is cut short: announces {file.frames} frames, decodes to {start + len(data)}")
    return data


def _mono(data: np.ndarray) -> np.ndarray:
    """(frames, channels) to (frames,): the mean of the channels."""
    mono = data[:, 0] if data.shape[1] == 1 else data.mean(axis=1, dtype=np.float32)
    if not np.isfinite(mono).all():
        raise AudioError(f"{int((~np.isfinite(mono)).sum())} samples are NaN or infinite")
    return np.ascontiguousarray(mono)


def _fit(samples: np.ndarray, length: int) -> np.ndarray:
    """Cut or zero-pad to exactly `length` samples."""
    if len(samples) >= length:
        return samples[:length]
    return np.pad(samples, (0, length - len(samples)))
