"""Open and decode audio files with libsndfile: length, sample rate and mono samples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf

from features.audio.headers import announced_shortfall, announces_frames, enters_anywhere, seeks_exactly
from features.errors import AudioError

STREAM_FRAMES = 1 << 20  # frames decoded at a time when streaming
HEADERLESS = (".raw", ".vox", ".gsm")  # libsndfile would guess the sample rate, or ask for it


@dataclass(frozen=True)
class AudioInfo:
    """Length and rate of a file: `frames` at `sample_rate` Hz."""

    frames: int
    sample_rate: int

    def segment(self, start_s: float = 0.0, duration_s: float | None = None) -> tuple[int, int]:
        """Return the first frame of a clip and the one after its last, in the file.

        Args:
            start_s: Start of the clip, in seconds.
            duration_s: Length of the clip, in seconds; None: to the file's end.

        Raises:
            AudioError: The segment extends more than 10 ms beyond the file.
        """
        start = round(start_s * self.sample_rate)
        stop = self.frames if duration_s is None else round((start_s + duration_s) * self.sample_rate)
        tolerance = max(1, self.sample_rate // 100)
        if start >= self.frames or stop > self.frames + tolerance or stop <= start:
            end = "its end" if duration_s is None else f"{start_s + duration_s:g} s"
            length_s = self.frames / self.sample_rate
            raise AudioError(f"segment {start_s:g} s to {end} is outside the file ({length_s:.3f} s)")
        return start, min(stop, self.frames)


class _SoundFile(sf.SoundFile):
    """A sound file without soundfile's seek after each read, which changes the next samples if seeks are not exact."""

    def seekable(self) -> bool:
        """Whether seeking leaves the samples unchanged."""
        return seeks_exactly(self.format, self.subtype) and bool(super().seekable())


class AudioFile:
    """An open audio file, decoded as it is read.

    Attributes:
        info: Its length and sample rate.
    """

    def __init__(self, path: Path) -> None:
        """Open the file.

        Raises:
            AudioError: The file is not a readable audio file, is empty, or is shorter than its header announces.
        """
        self._file = _open(path)
        try:
            self.info = _info(self._file)
        except AudioError:
            self._file.close()
            raise

    def read(self, start: int, stop: int) -> np.ndarray:
        """Mono samples start…stop-1 at the file's rate; each call starts where the last one stopped or later.

        Raises:
            AudioError: The samples cannot be decoded, or are NaN or infinite.
        """
        if not seeks_exactly(self._file.format, self._file.subtype):
            while (at := self._file.tell()) < start:
                _read(self._file, at, min(at + STREAM_FRAMES, start))
        return _mono(_read(self._file, start, stop))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def is_entered_at_start(path: Path) -> bool:
    """Whether a file can only be decoded exactly from its start, judged by its first bytes."""
    try:
        with path.open("rb") as file:
            return not enters_anywhere(file.read(4))
    except OSError:
        return False  # opening it later reports the error


def _open(path: Path) -> _SoundFile:
    """Open the file, or raise an `AudioError` that states in one line why it cannot be opened."""
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
            raise AudioError(f"has no header with a sample rate ({path.suffix}); convert it to WAV")
        file = _SoundFile(path)
    except sf.LibsndfileError as error:
        raise AudioError(_decoding_error(error)) from None
    except OSError as error:
        raise unreadable(error) from None
    if shortfall or file.format == "RAW":
        file.close()
        raise AudioError(shortfall or "is not an audio file of a known format")
    return file


def unreadable(error: OSError) -> AudioError:
    """Return the error for a file that the operating system cannot read."""
    return AudioError(f"cannot be read ({error.strerror or error})")


def _decoding_error(error: sf.LibsndfileError) -> str:
    reason = error.error_string.strip().rstrip(".:")
    return f"cannot be decoded ({reason or f'libsndfile error {error.code}'})"


def _info(file: sf.SoundFile) -> AudioInfo:
    """Return length and rate; raise `AudioError` if there are no samples."""
    frames = file.frames
    if file.subtype.startswith("MPEG") and not announces_frames(Path(file.name)):
        frames = _count_frames(Path(file.name))
    if frames <= 0:
        raise AudioError("contains no samples")
    return AudioInfo(frames, file.samplerate)


def _count_frames(path: Path) -> int:
    """Count the frames of a file by decoding it, since its header does not state them."""
    frames = 0
    try:
        with _SoundFile(path) as file:
            while n_read := len(file.read(STREAM_FRAMES, dtype="float32")):
                frames += n_read
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
    """Average the channels: (frames, channels) to (frames,)."""
    mono = data[:, 0] if data.shape[1] == 1 else data.mean(axis=1, dtype=np.float32)
    if not np.isfinite(mono).all():
        raise AudioError(f"{int((~np.isfinite(mono)).sum())} samples are NaN or infinite")
    return np.ascontiguousarray(mono)
