"""Open and decode audio files with libsndfile: length, sample rate and mono samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf

from features.audio.containers import open_audio, stored_audio
from features.audio.containers.member import Member
from features.audio.headers import enters_anywhere, flac_total, seeks_exactly, shortfall, stated_audio
from features.audio.mixing import mono
from features.audio.mpeg import mpeg_frames
from features.audio.ogg import ogg_pages
from features.audio.other_formats import decoding_error, unknown_format
from features.audio.quiet import quiet_codecs
from features.audio.spliced import SplicedFile, edited
from features.errors import AudioError

STREAM_FRAMES = 1 << 20  # frames decoded at a time when streaming
PIECE_VALUES = 1 << 23  # samples of all channels decoded at a time
RATES_HZ = (50, 10_000_000)  # plausible sample rates, from infrasound to ultrasound
TOLERANCE_S = 0.1  # a length may differ by this much from the one that is stated or decoded
FRAME_BYTES = 1 / 65_536  # bytes per frame that every codec needs; FLAC stores silence in ten bytes for 65,535 samples
SUSPICIOUS_FRAME_BYTES = 1 / 256  # only silence is stored in less
UNRECOGNISED = 1  # libsndfile's code for a file of no format that it knows
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


class _SequentialFile(_SoundFile):
    """A sound file that is only read from its start to its end."""

    def seekable(self) -> bool:
        """Return False."""
        return False


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
        with quiet_codecs():
            self._file, self.info = _opened(path)
        self._at = 0

    def read(self, start: int, stop: int) -> np.ndarray:
        """Mono samples start…stop-1 at the file's rate; each call starts where the last one stopped or later.

        Raises:
            AudioError: The samples cannot be decoded, or are NaN or infinite.
        """
        size = max(1, PIECE_VALUES // self._file.channels)
        with quiet_codecs():
            if self._at != start and self._file.seekable():
                self._seek(start)
            else:
                for at in range(self._at, start, size):
                    _read(self._file, at, min(at + size, start))
            pieces = [mono(_read(self._file, at, min(at + size, stop))) for at in range(start, stop, size)]
        self._at = stop
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def _seek(self, frame: int) -> None:
        try:
            self._file.seek(frame)
        except sf.LibsndfileError as error:
            raise AudioError(decoding_error(error)) from None

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def is_entered_at_start(path: Path) -> bool:
    """Whether a file can only be decoded exactly from its start, judged by its first bytes."""
    try:
        with open_audio(path) as file:
            return not enters_anywhere(file.read(4))
    except (AudioError, OSError):
        return False  # opening it later reports the error


def _opened(path: Path) -> tuple[_SoundFile, AudioInfo]:
    """Open the file, or raise an `AudioError` that states in one line why it cannot be used."""
    stored = stored_audio(path)
    try:
        size = _size(stored)
        audio = stated_audio(stored, size)
        if reason := shortfall(audio, size):
            raise AudioError(reason)
        if stored.suffix.lower() in HEADERLESS:
            raise AudioError(f"has no header with a sample rate ({stored.suffix}); convert it to WAV")
        unknown = audio is not None and audio.stated is None
        file = _spliced(stored, edited(size, audio.edits)) if audio and unknown and audio.edits else _sound(stored)
        try:
            return _checked(stored, size, file)
        except BaseException:
            file.close()
            raise
    except sf.LibsndfileError as error:
        raise AudioError(unknown_format(stored) if error.code == UNRECOGNISED else decoding_error(error)) from None
    except OSError as error:
        raise unreadable(error) from None


def _size(path: Path | Member) -> int:
    """Return the size of a regular file or a member of a container in bytes."""
    if isinstance(path, Member):
        if path.size == 0:
            raise AudioError("file is empty (0 bytes)")
        return path.size
    if not path.exists():
        raise AudioError("dangling link" if path.is_symlink() else "file not found")
    if not path.is_file():
        raise AudioError(f"is a {'directory' if path.is_dir() else 'device or pipe'}, not an audio file")
    size = path.stat().st_size
    if size == 0:
        raise AudioError("file is empty (0 bytes)")
    return size


def _sound(path: Path | Member, kind: type[_SoundFile] = _SoundFile) -> _SoundFile:
    """Open a file, or a member of a container, with libsndfile."""
    return kind(path.open() if isinstance(path, Member) else path)


def _spliced(path: Path | Member, parts: Sequence[bytes | tuple[int, int]]) -> _SoundFile:
    """Open a file as if it consisted of `parts`."""
    return _SoundFile(SplicedFile(path, parts))


def _checked(path: Path | Member, size: int, file: _SoundFile) -> tuple[_SoundFile, AudioInfo]:
    """Return a file, opened differently if libsndfile would not read all of it, and its length and rate."""
    if file.format == "RAW":
        raise AudioError(unknown_format(path))
    rate, (lowest, highest) = file.samplerate, RATES_HZ
    if not lowest <= rate <= highest:
        raise AudioError(f"has an implausible sample rate of {rate} Hz (expected {lowest} to {highest} Hz)")
    frames = file.frames
    if file.subtype.startswith("MPEG"):
        file, frames = _whole_mpeg(path, file)
    elif file.format == "OGG":
        _check_ogg(path, frames)
    elif file.format == "FLAC":
        file, frames = _whole_flac(path, size, file)
    if frames <= 0:
        raise AudioError("contains no samples")
    if frames * FRAME_BYTES > size:
        raise AudioError(f"announces {frames} frames, which {size} bytes cannot hold")
    return file, AudioInfo(frames, rate)


def _whole_mpeg(path: Path | Member, file: _SoundFile) -> tuple[_SoundFile, int]:
    """Return an MPEG audio file so that libsndfile reads all its frames, and its length.

    libsndfile stops at the number of frames that the file states, or at its own estimate if it states none.
    """
    found = mpeg_frames(path)
    if found is None:
        raise AudioError("states no length: no MPEG audio frames of a known length follow each other")
    tolerance = int(TOLERANCE_S * found.sample_rate)
    if found.stated is not None:
        missing = (found.stated - found.count) * found.samples_per_frame
        if missing > 9 * found.samples:  # otherwise reading beyond the end reports it; segments before it are good
            raise AudioError(
                f"is cut short: its header announces {found.stated} MPEG frames, the file has {found.count}"
            )
        if missing >= -tolerance:
            return file, file.frames
    elif abs((frames := _count_frames(path)) - found.samples) <= tolerance:
        return file, frames
    if not found.uniform:
        raise AudioError("changes its sample rate, layer or channels in the middle; convert it")
    start = found.counting_frame()
    if start is None:
        raise AudioError("is longer than libsndfile decodes (MPEG layer I or II); convert it")
    file.close()
    whole = _spliced(path, [start, *found.runs])
    return whole, whole.frames  # without the decoder's delay of 529 samples


def _check_ogg(path: Path | Member, frames: int) -> None:
    """Raise `AudioError` if libsndfile would not read all of a file, or states an impossible length."""
    pages = ogg_pages(path)
    if pages.missing:
        raise AudioError(f"is cut short: its last Ogg page lacks {pages.missing} bytes")
    if pages.links > 1:
        raise AudioError(f"consists of {pages.links} joined Ogg streams, of which only the first is read; convert it")
    if frames > pages.most_samples:
        raise AudioError(f"announces {frames} frames, its Ogg packets hold at most {pages.most_samples}")


def _whole_flac(path: Path | Member, size: int, file: _SoundFile) -> tuple[_SoundFile, int]:
    """Return a FLAC file with a length, counted if its header does not state it."""
    total = flac_total(path)
    if total is None:
        return file, file.frames
    frames, position = total
    if frames == 0:
        frames = _count_frames(path)
        with path.open("rb") as header:
            header.seek(position)
            old = int.from_bytes(header.read(5))
        file.close()
        return _spliced(path, edited(size, [(position, (old | frames & 0xF_FFFF_FFFF).to_bytes(5))])), frames
    if frames * SUSPICIOUS_FRAME_BYTES > size:
        with _sound(path) as other:
            other.seek(frames - 1)
            if len(other.read(1)) != 1:
                raise AudioError(f"is cut short: announces {frames} frames")
    return file, frames


def unreadable(error: OSError) -> AudioError:
    """Return the error for a file that the operating system cannot read."""
    return AudioError(f"cannot be read ({error.strerror or error})")


def _count_frames(path: Path | Member) -> int:
    """Count the frames of a file by decoding it, since its header does not state them."""
    frames = 0
    try:
        with _sound(path, _SequentialFile) as file:
            while n_read := len(file.read(STREAM_FRAMES, dtype="float32")):
                frames += n_read
    except sf.LibsndfileError as error:
        raise AudioError(decoding_error(error)) from None
    return frames


def _read(file: sf.SoundFile, start: int, stop: int) -> np.ndarray:
    """Frames start…stop-1 as float32 (frames, channels); the file is at `start`."""
    try:
        data = file.read(stop - start, dtype="float32", always_2d=True)
    except sf.LibsndfileError as error:
        raise AudioError(decoding_error(error)) from None
    if len(data) < stop - start:
        raise AudioError(f"is cut short: announces {file.frames} frames, decodes to {start + len(data)}")
    return data
