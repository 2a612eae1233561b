"""UrbanSound8K: up to 4 s of city sounds in ten official folds (Salamon, Jacoby and Bello, 2014)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from features.datasets.listing import audio_files, existing_folder, layout_error, manifest_of, relative
from features.datasets.options import DatasetOptions
from features.datasets.tables.cells import read_csv
from features.manifest import Manifest

SOURCE = "UrbanSound8K is at https://urbansounddataset.weebly.com/urbansound8k.html"
CLASSES = (
    *("air_conditioner", "car_horn", "children_playing", "dog_bark", "drilling"),
    *("engine_idling", "gun_shot", "jackhammer", "siren", "street_music"),
)
TABLES = ("metadata/UrbanSound8K.csv", "UrbanSound8K.csv")
# Freesound id, class, occurrence, slice
_CLIP = re.compile(r"fold(?P<fold>10|[1-9])/(?P<group>\d+)-(?P<label>\d)-\d+-\d+\.wav", re.IGNORECASE)


class Options(DatasetOptions):
    """`audio/fold1/` to `audio/fold10/`, with or without `metadata/UrbanSound8K.csv`."""

    kind: Literal["urbansound8k"] = "urbansound8k"


def index(root: Path, *, name: str | None = None) -> Manifest:
    """List UrbanSound8K with its folds; `group` is the Freesound recording (`fsID`).

    Without the table, class, fold and recording are read from the paths, such as `fold1/101415-3-0-2.wav`.

    Raises:
        ManifestError: The folder is missing, or has another layout.
    """
    root = existing_folder(root, SOURCE)
    audio = "audio/" if (root / "audio").is_dir() else ""
    table = next((root / place for place in TABLES if (root / place).is_file()), None)
    rows = list(_by_table(table, audio) if table is not None else _by_names(root, audio))
    if not rows or not (audio or (root / "fold1").is_dir()):
        looked_for = "audio/fold1/ to audio/fold10/ with metadata/UrbanSound8K.csv or clips such as 101415-3-0-2.wav"
        raise layout_error(root, looked_for, SOURCE)
    return manifest_of(name or "urbansound8k", root, rows)


def _by_table(table: Path, audio: str) -> Iterator[dict[str, object]]:
    for row in read_csv(table, ("slice_file_name", "fsID", "fold", "class")).to_dict("records"):
        path = f"{audio}fold{row['fold']}/{row['slice_file_name']}"
        yield {"path": path, "label": row["class"], "fold": row["fold"], "group": row["fsID"]}


def _by_names(root: Path, audio: str) -> Iterator[dict[str, object]]:
    for file in audio_files(root / audio):
        path = relative(file, root)
        if clip := _CLIP.fullmatch(path.removeprefix(audio)):
            yield {"path": path, "label": CLASSES[int(clip["label"])], "fold": clip["fold"], "group": clip["group"]}
