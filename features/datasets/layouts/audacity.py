"""Recordings with Audacity label files: `recording.wav` and `recording.txt`; each label is a clip."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from features.datasets.layouts.annotations import Annotation, LeftOut, segments
from features.datasets.layouts.rows import laid_out
from features.datasets.listing import audio_files, existing_folder, layout_error
from features.datasets.options import DatasetOptions
from features.errors import ManifestError
from features.manifest import Manifest

SOURCE = "the layout is described at https://manual.audacityteam.org/man/importing_and_exporting_labels.html"
_log = logging.getLogger(__name__)


class Options(DatasetOptions):
    """Recordings with a label file of the same name (`.txt`): lines of start, end and label, separated by tabs."""

    kind: Literal["audacity"] = "audacity"


def index(root: Path, *, name: str | None = None) -> Manifest:
    """List the labels of all recordings as segments; `group` is the recording.

    Raises:
        ManifestError: The folder is missing, has no recording with a label file, or a line is not a label.
    """
    root = existing_folder(root, SOURCE)
    recordings = audio_files(root)
    pairs = label_files(recordings)
    if not pairs:
        raise layout_error(root, "recordings with an Audacity label file (.txt) of the same name", SOURCE)
    if without := [path for path in recordings if path not in pairs]:
        _log.warning(
            "%s: %d recording(s) have no label file and are left out, first %r", *(root, len(without)), without[0].name
        )
    annotations = [one for recording, labels in pairs.items() for one in _annotations(recording, labels)]
    rows = list(segments(root, annotations, LeftOut(root)))
    if not rows:
        raise ManifestError(f"{root}: the label files contain no label with a length; mark regions instead of points")
    return laid_out(name, root, rows)


def label_files(recordings: list[Path]) -> dict[Path, Path]:
    """Return the label file of each recording that has one."""
    return {path: labels for path in recordings if (labels := path.with_suffix(".txt")).is_file()}


def parse_line(line: str) -> tuple[float, float, str]:
    """Return start, end and label of one line.

    Raises:
        ValueError: The line is not a label.
    """
    start, end, *rest = line.rstrip("\r\n").split("\t")
    start_s, end_s = float(start.replace(",", ".")), float(end.replace(",", "."))
    if not 0 <= start_s <= end_s < float("inf"):
        raise ValueError(line)
    return start_s, end_s, rest[0].strip() if rest else ""


def _annotations(recording: Path, labels: Path) -> Iterator[Annotation]:
    try:
        text = labels.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ManifestError(f"{labels}: not UTF-8 text (byte {error.start}); export the labels again") from None
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.startswith("\\"):  # a frequency range belongs to the line before
            continue
        try:
            start_s, end_s, label = parse_line(line)
        except ValueError:
            raise ManifestError(
                f"{labels}: line {number} is {line.strip()[:60]!r}, expected start, end and label of Audacity, "
                "separated by tabs"
            ) from None
        yield Annotation(f"{labels.name} line {number}", recording, start_s, end_s, label)
