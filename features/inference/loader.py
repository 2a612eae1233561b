"""Decode clips into padded batches, in threads ahead of the model and in the plan's order."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features.audio.containers import file_of
from features.audio.decoded_cache import DecodedFiles
from features.audio.decoding import Waveform, read_waveform
from features.errors import AudioError, RunError, decoder_error, first_line
from features.planning.plan import PlannedClip
from features.system.attempts import Attempts
from features.system.retry import Retry, unavailable_folder

READ_AHEAD = 3  # batches


@dataclass(frozen=True)
class Prepared(Waveform):
    """A decoded clip that the backbone's front end has prepared on the host.

    Attributes:
        inputs: The result of `Backbone.prepare`.
    """

    inputs: Any


@dataclass(frozen=True)
class Decoded:
    """One decoded batch of the plan.

    Attributes:
        rows: Positions in the plan's clips.
        clips: The clips.
        samples: For each clip its samples, the error if it cannot be decoded, or None if it is to be streamed.
    """

    rows: range
    clips: Sequence[PlannedClip]
    samples: Sequence[Waveform | AudioError | None]

    def failures(self) -> list[tuple[PlannedClip, AudioError]]:
        """Return (clip, error) of clips that could not be decoded."""
        return [(clip, s) for clip, s in zip(self.clips, self.samples, strict=True) if isinstance(s, AudioError)]

    def streamed(self) -> list[PlannedClip]:
        """Return the clips that are to be streamed."""
        return [clip for clip, samples in zip(self.clips, self.samples, strict=True) if samples is None]

    def usable(self) -> list[tuple[PlannedClip, Waveform]]:
        """Return the clips that could be decoded, with their waveforms."""
        return [(clip, s) for clip, s in zip(self.clips, self.samples, strict=True) if isinstance(s, Waveform)]


def decode_ahead(
    clips: Sequence[PlannedClip],
    batches: Iterable[range],
    sample_rate: int | None,
    max_samples: int,
    pool: ThreadPoolExecutor,
    files: DecodedFiles | None = None,
    on_read: Callable[[float], None] = lambda seconds: None,
    note: Callable[[str], None] = lambda message: None,
    attempts: Attempts | None = None,
    prepare: Callable[[Waveform], Waveform] | None = None,
) -> Generator[Decoded, None, None]:
    """Decode batches in order, a few ahead of the consumer. Waits while a folder of clips is unavailable.

    Args:
        clips: The plan's clips.
        batches: Ranges of positions in `clips`.
        sample_rate: Sample rate in Hz; None keeps each file's rate.
        max_samples: Longer clips are not decoded here but streamed later: their entry is None.
        pool: The threads that decode.
        files: A cache of decoded files, so that a file is not decoded again for each of its segments.
        on_read: Called in the threads of `pool` with the seconds that decoding a clip took.
        note: Called with a message when a folder is unavailable, or a file is decoded in a process of its own.
        attempts: Marks the files that are being decoded; None for no marks.
        prepare: Prepares decoded clips in the threads of `pool`, see `Prepared`.

    Yields:
        The decoded batches.

    Raises:
        RunError: A folder stayed unavailable.
    """
    retry = Retry(note)
    attempts = attempts or Attempts(None)

    def read(clip: PlannedClip) -> Waveform | AudioError | None:
        if clip.n_samples > max_samples:
            return None
        decoded = decode(clip)
        if prepare is None or isinstance(decoded, AudioError):
            return decoded
        try:
            return prepare(decoded)
        except Exception as error:
            return AudioError(f"cannot be prepared for the model ({first_line(error)})")

    def decode(clip: PlannedClip) -> Waveform | AudioError:
        started = time.perf_counter()
        try:
            with attempting(clip, attempts, note) as isolated:
                return retry(
                    lambda: read_planned(clip, sample_rate, files, isolated=isolated),
                    lambda: unavailable_folder(file_of(clip.path)),
                )
        except AudioError as error:
            return error
        except RunError:
            raise
        except Exception as error:  # a crashing decoder fails one clip, not the run
            return decoder_error(error)
        finally:
            on_read(time.perf_counter() - started)

    waiting: deque[tuple[range, Sequence[PlannedClip], list[Future[Waveform | AudioError | None]]]] = deque()
    upcoming = iter(batches)
    try:
        while True:
            while len(waiting) < READ_AHEAD and (rows := next(upcoming, None)) is not None:
                planned = clips[rows.start : rows.stop]
                waiting.append((rows, planned, [pool.submit(read, clip) for clip in planned]))
            if not waiting:
                return
            rows, planned, futures = waiting.popleft()
            yield Decoded(rows, planned, tuple(future.result() for future in futures))
    finally:
        for *_, futures in waiting:
            for future in futures:
                future.cancel()


@contextmanager
def attempting(clip: PlannedClip, attempts: Attempts, note: Callable[[str], None]) -> Iterator[bool]:
    """Mark a clip's file while the block decodes it; yields whether to decode it in a process of its own."""
    with attempts.attempt(clip.key.partition("#")[0]) as isolated:
        if isolated:
            note(f"{clip.path}: an earlier process ended while decoding it; it is decoded in a process of its own")
        yield isolated


def read_planned(
    clip: PlannedClip, sample_rate: int | None, files: DecodedFiles | None = None, *, isolated: bool = False
) -> Waveform:
    """Decode one clip.

    Args:
        clip: The clip.
        sample_rate: Sample rate in Hz; None keeps the file's rate.
        files: A cache of decoded files.
        isolated: Decode it in a process of its own.

    Raises:
        AudioError: The clip cannot be decoded, or its file has changed since it was planned.
    """
    waveform = read_waveform(Path(clip.path), sample_rate, clip.start_s, clip.duration_s, files, isolated=isolated)
    check_unchanged(clip)
    return waveform


def check_unchanged(clip: PlannedClip) -> None:
    """Raise `AudioError` if a clip's file has changed since it was planned."""
    try:
        stat = file_of(clip.path).stat()
    except OSError as error:
        raise AudioError(f"became unavailable while it was read ({error.strerror})") from None
    if (stat.st_size, stat.st_mtime_ns) != (clip.size, clip.mtime_ns):
        raise AudioError("changed while it was read; run again")
