"""Labelled segments of recordings: the common part of Audacity labels and Raven selection tables."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from features.audio.decoding import probe
from features.datasets.listing import relative
from features.errors import AudioError

# The length of other files is not always in their header; segments beyond their end fail when they are read.
STATED_LENGTH = (".wav", ".wave", ".w64", ".rf64", ".flac", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Annotation:
    """A label of a part of a recording.

    Attributes:
        place: Where it is written, for messages.
        recording: The audio file.
        start_s: Start in seconds.
        end_s: End in seconds.
        label: Its class.
    """

    place: str
    recording: Path
    start_s: float
    end_s: float
    label: str


@dataclass
class LeftOut:
    """Annotations that are not used, by reason, for one warning each."""

    where: object
    reasons: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, place: str) -> None:
        """Add one annotation."""
        self.reasons.setdefault(reason, []).append(place)

    def report(self) -> None:
        """Print one line per reason."""
        for reason, places in self.reasons.items():
            _log.warning("%s: %d annotation(s) %s, first %s", self.where, len(places), reason, places[0])


def segments(root: Path, annotations: Sequence[Annotation], left_out: LeftOut) -> Iterator[dict[str, object]]:
    """Yield a row per annotation; its group is the recording.

    An annotation without length or label is left out, and so is one that begins after the recording's end. One that
    ends after it is cut there.
    """
    lengths = _lengths_s({one.recording for one in annotations})
    for one in annotations:
        length_s = lengths.get(one.recording)
        end_s = one.end_s
        if not one.label:
            left_out.add("without a label are left out", one.place)
        elif end_s <= one.start_s:
            left_out.add("mark a point in time and are left out, since a clip needs a length", one.place)
        elif length_s is not None and one.start_s >= length_s:
            left_out.add("begin after the end of the recording and are left out", one.place)
        else:
            if length_s is not None and end_s > length_s:
                left_out.add("end after the end of the recording and are cut there", one.place)
                end_s = length_s
            path = relative(one.recording, root)
            yield {
                "path": path,
                "label": one.label,
                "group": path,
                "start_s": one.start_s,
                "duration_s": round(end_s - one.start_s, 9),
            }
    left_out.report()


def _lengths_s(recordings: Iterable[Path]) -> dict[Path, float]:
    """Return the lengths in seconds of recordings whose header states it."""

    def length(path: Path) -> float | None:
        try:
            info = probe(path)
        except (AudioError, OSError):
            return None  # reading it reports the reason
        return info.frames / info.sample_rate

    stated = [path for path in recordings if path.suffix.lower() in STATED_LENGTH]
    with ThreadPoolExecutor() as pool:
        found = dict(zip(stated, pool.map(length, stated), strict=True))
    return {path: seconds for path, seconds in found.items() if seconds is not None}
