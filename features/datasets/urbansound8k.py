"""UrbanSound8K: up to 4 s of city sounds in ten official folds (Salamon, Jacoby and Bello, 2014)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from features.datasets.listing import existing_folder, layout_error, manifest_of
from features.datasets.options import DatasetOptions
from features.datasets.tabular import read_csv
from features.manifest import Manifest

SOURCE = "UrbanSound8K is at https://urbansounddataset.weebly.com/urbansound8k.html"


class Options(DatasetOptions):
    """`metadata/UrbanSound8K.csv` with `audio/fold1/` to `audio/fold10/`."""

    kind: Literal["urbansound8k"] = "urbansound8k"


def index(root: Path, *, name: str | None = None) -> Manifest:
    """List UrbanSound8K with its folds; `group` is the Freesound recording (`fsID`).

    Raises:
        ManifestError: The folder is missing, or has another layout.
    """
    root = existing_folder(root, SOURCE)
    table = root / "metadata" / "UrbanSound8K.csv"
    if not table.is_file() or not (root / "audio").is_dir():
        raise layout_error(root, "metadata/UrbanSound8K.csv and audio/fold1/ to audio/fold10/", SOURCE)
    rows = read_csv(table, ("slice_file_name", "fsID", "fold", "class")).to_dict("records")
    return manifest_of(
        name or "urbansound8k",
        root,
        (
            {
                "path": f"audio/fold{row['fold']}/{row['slice_file_name']}",
                "label": row["class"],
                "fold": row["fold"],
                "group": row["fsID"],
            }
            for row in rows
        ),
    )
