"""Any folder with one subfolder per class, or with a pattern for its file names; clips may be in nested folders."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field

from features.datasets.listing import (
    AUDIO_SUFFIXES,
    audio_files,
    base_name,
    entries,
    existing_folder,
    is_audio,
    layout_error,
    listed_once,
    manifest_of,
    other_files,
    relative,
    subfolders,
)
from features.datasets.naming import NamePattern, PatternText, parse_pattern
from features.datasets.options import DatasetOptions
from features.errors import ManifestError
from features.manifest import SPLIT_ALIASES, SPLITS, Manifest

SOURCE = "make one folder per class with its audio files in it"
SHOWN = 5
_log = logging.getLogger(__name__)


class Options(DatasetOptions):
    """A folder of class folders: `root/<class>/**/<clip>.<audio suffix>`, or any folder with a `pattern`."""

    kind: Literal["folder"] = "folder"
    pattern: PatternText | None = Field(
        default=None,
        description="reads label, group, fold, split from file names: `{group}_{label}_{}.wav`, "
        "or a regular expression with `(?P<label>…)`",
    )


def index(root: Path, *, name: str | None = None, pattern: str | None = None) -> Manifest:
    """List the clips of a folder; the class is the first folder's name, or what the pattern reads as label.

    Raises:
        ManifestError: No such folder, no class folders with audio in them, the first folders are splits, or the pattern
            does not match.
    """
    root = existing_folder(root, SOURCE)
    with listed_once():
        parsed = parse_pattern(pattern) if pattern else None
        if parsed is not None and "label" in parsed.fields:
            rows = _by_names(root, parsed)
        else:
            rows = _by_folders(root)
            if parsed is not None:
                _add_fields(root, parsed, rows)
        _report_others(root)
    return manifest_of(name or base_name(root), root, rows)


def _by_folders(root: Path) -> list[dict[str, object]]:
    folders = subfolders(root)
    rows: list[dict[str, object]] = []
    without = []
    for folder in folders:
        files = audio_files(folder)
        rows.extend({"path": relative(path, root), "label": folder.name} for path in files)
        if not files and entries(folder):
            without.append(folder.name)
    if not rows:
        there = f", found {_counts(others)}" if (others := other_files(root)) else ""
        raise layout_error(root, f"class folders with audio files ({' '.join(AUDIO_SUFFIXES)}){there}", SOURCE)
    labels = {str(row["label"]) for row in rows}
    if len(labels) > 1 and all(label.lower() in (*SPLITS, *SPLIT_ALIASES) for label in labels):
        raise layout_error(
            root,
            f"class folders, found the splits {', '.join(sorted(labels))}",
            "point dataset.root at one of them, or use kind csv with a split column",
        )
    if without:
        shown = ", ".join(map(repr, without[:SHOWN])) + (" …" if len(without) > SHOWN else "")
        _log.warning("%s: no audio file in %d of %d folders: %s", root, len(without), len(folders), shown)
    _warn_of_leftovers(root)
    return rows


def _by_names(root: Path, pattern: NamePattern) -> list[dict[str, object]]:
    """List the files that the pattern matches; a few others are left out with a warning."""
    paths = [relative(path, root) for path in audio_files(root)]
    if not paths:
        raise layout_error(root, f"audio files ({' '.join(AUDIO_SUFFIXES)})", SOURCE)
    found, unmatched = pattern.read_all(paths)
    if len(unmatched) * 2 > len(paths):
        raise ManifestError(pattern.mismatch(root, unmatched, len(paths)))
    if unmatched:
        _log.warning("%s; they are left out", pattern.mismatch(root, unmatched, len(paths)))
    return [{"path": path, **fields} for path, fields in zip(paths, found, strict=True) if fields is not None]


def _add_fields(root: Path, pattern: NamePattern, rows: list[dict[str, object]]) -> None:
    """Add what the pattern reads to clips that have their label from a folder."""
    found, unmatched = pattern.read_all(str(row["path"]) for row in rows)
    if unmatched:
        raise ManifestError(
            f"{pattern.mismatch(root, unmatched, len(rows))}; every clip needs its {' and '.join(pattern.fields)}"
        )
    for row, fields in zip(rows, found, strict=True):
        row.update(fields or {})


def _warn_of_leftovers(root: Path) -> None:
    """Warn of audio files directly in the root, which have no class."""
    loose = [
        entry.name
        for entry in entries(root)
        if not entry.is_folder and (is_audio(entry.name) or (entry.is_link and not (root / entry.name).exists()))
    ]
    if loose:
        _log.warning("%s: ignored %d audio file(s) outside the class folders, first %r", root, len(loose), loose[0])


def _report_others(root: Path) -> None:
    """Warn of files whose suffix is neither that of audio nor of its usual companions."""
    if others := other_files(root):
        known = " ".join(AUDIO_SUFFIXES)
        _log.warning("%s: left out %s, by suffix not audio (known: %s)", root, _counts(others), known)


def _counts(others: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {suffix} file{'s' if count > 1 else ''}" for suffix, count in sorted(others.items()))
