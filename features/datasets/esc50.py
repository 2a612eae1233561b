"""ESC-50 and ESC-10: 5-second environmental sounds in five official folds (Piczak, 2015)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from features.datasets.listing import audio_files, existing_folder, layout_error, manifest_of, relative, subfolders
from features.datasets.options import DatasetOptions
from features.datasets.tables.cells import read_csv
from features.errors import ManifestError
from features.manifest import Manifest

SOURCE = "ESC-50 with ESC-10 in it is at https://github.com/karolpiczak/ESC-50"
# Folders of the ten ESC-10 classes in ESC-50 as first published; ESC-10 itself uses 001 to 010.
ESC10_FOLDERS = frozenset({"101", "102", "201", "202", "203", "301", "302", "409", "501", "502"})
_CLASS_FOLDER = re.compile(r"(?P<code>\d{3}) - (?P<label>.+)")
_CLIP = re.compile(r"(?P<fold>\d)-(?P<source>\d+)-[A-Z]\d*(-\d+)?")


class Options(DatasetOptions):
    """`meta/esc50.csv` with `audio/`, or the first publication's folders `NNN - Class/FOLD-SOURCE-TAKE.ogg`."""

    kind: Literal["esc50"] = "esc50"
    subset: Literal["esc50", "esc10"] = Field(default="esc50", description="all 50 classes, or the 10 of ESC-10")


def index(root: Path, *, name: str | None = None, subset: str = "esc50") -> Manifest:
    """List ESC-50 or its subset ESC-10, with its folds; `group` is the Freesound recording.

    Raises:
        ManifestError: The folder is missing, or has neither layout.
    """
    root = existing_folder(root, SOURCE)
    table = root / "meta" / "esc50.csv"
    rows = list(_from_table(root, table, subset) if table.is_file() else _from_folders(root, subset))
    if not rows:
        raise layout_error(root, "meta/esc50.csv with audio/, or folders 'NNN - Class' of clips", SOURCE)
    return manifest_of(name or "esc50", root, rows)


def _from_table(root: Path, path: Path, subset: str) -> Iterator[dict[str, object]]:
    if not (root / "audio").is_dir():
        raise layout_error(root, "audio/ next to meta/", SOURCE)
    for row in read_csv(path, ("filename", "fold", "category", "esc10", "src_file")).to_dict("records"):
        if subset == "esc50" or str(row["esc10"]).lower() == "true":
            yield {
                "path": f"audio/{row['filename']}",
                "label": row["category"],
                "fold": row["fold"],
                "group": row["src_file"],
            }


def _from_folders(root: Path, subset: str) -> Iterator[dict[str, object]]:
    for folder in subfolders(root):
        named = _CLASS_FOLDER.fullmatch(folder.name)
        if not named or (subset == "esc10" and named["code"] > "100" and named["code"] not in ESC10_FOLDERS):
            continue
        for path in audio_files(folder):
            clip = _CLIP.fullmatch(path.stem)
            if not clip:
                raise ManifestError(f"{path}: not named FOLD-FREESOUND_ID-TAKE, so it has no official fold")
            yield {
                "path": relative(path, root),
                "label": named["label"],
                "fold": int(clip["fold"]),
                "group": clip["source"],
            }
