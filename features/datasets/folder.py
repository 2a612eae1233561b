"""Any folder with one subfolder per class; clips may be in nested folders."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

from features.datasets.listing import (
    AUDIO_SUFFIXES,
    audio_files,
    base_name,
    existing_folder,
    is_hidden,
    layout_error,
    manifest_of,
    relative,
    subfolders,
)
from features.datasets.options import DatasetOptions
from features.manifest import SPLIT_ALIASES, SPLITS, Manifest

SOURCE = "make one folder per class with its audio files in it"
_log = logging.getLogger(__name__)


class Options(DatasetOptions):
    """A folder of class folders: `root/<class>/**/<clip>.<audio suffix>`."""

    kind: Literal["folder"] = "folder"


def index(root: Path, *, name: str | None = None) -> Manifest:
    """List the clips of a folder of class folders; the class is the first folder's name.

    Raises:
        ManifestError: No such folder, no class folders with audio in them, or the first folders are splits.
    """
    root = existing_folder(root, SOURCE)
    folders = subfolders(root)
    rows = [{"path": relative(path, root), "label": folder.name} for folder in folders for path in audio_files(folder)]
    if not rows:
        raise layout_error(root, f"class folders with audio files ({' '.join(AUDIO_SUFFIXES)})", SOURCE)
    labels = {row["label"] for row in rows}
    if len(labels) > 1 and all(label.lower() in (*SPLITS, *SPLIT_ALIASES) for label in labels):
        raise layout_error(
            root,
            f"class folders, found the splits {', '.join(sorted(labels))}",
            "point dataset.root at one of them, or use kind csv with a split column",
        )
    _warn_of_leftovers(root)
    return manifest_of(name or base_name(root), root, rows)


def _warn_of_leftovers(root: Path) -> None:
    """Warn of audio files directly in the root, which have no class."""
    loose = [
        entry.name
        for entry in sorted(root.iterdir())
        if not entry.is_dir()
        and not is_hidden(entry)
        and (entry.suffix.lower() in AUDIO_SUFFIXES or (entry.is_symlink() and not entry.exists()))
    ]
    if loose:
        _log.warning("%s: ignored %d audio file(s) outside the class folders, first %r", root, len(loose), loose[0])
