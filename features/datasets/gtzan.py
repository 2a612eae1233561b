"""GTZAN: 1,000 half-minute music clips of ten genres (Tzanetakis and Cook, 2002); no official split.

The common copy has a corrupt file, jazz.00054. It is listed like any other clip, and its failure is recorded when it
is read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from features.datasets.listing import audio_files, existing_folder, layout_error, manifest_of, relative, subfolders
from features.datasets.options import DatasetOptions
from features.manifest import Manifest

SOURCE = "GTZAN is at https://www.kaggle.com/datasets/andradaolteanu/gtzan-dataset-music-genre-classification"
GENRES = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")
SUBFOLDERS = ("genres_original", "Data/genres_original", "genres", ".")


class Options(DatasetOptions):
    """Genre folders in `genres_original/` (WAV), `genres/` (AU) or the root itself."""

    kind: Literal["gtzan"] = "gtzan"


def index(root: Path, *, name: str | None = None) -> Manifest:
    """List GTZAN; the label is the genre.

    Raises:
        ManifestError: The folder is missing, or none of the usual subfolders has genre folders with audio.
    """
    root = existing_folder(root, SOURCE)
    for subfolder in SUBFOLDERS:
        if not (root / subfolder).is_dir():
            continue
        rows = [
            {"path": relative(path, root), "label": genre.name}
            for genre in subfolders(root / subfolder)
            if genre.name in GENRES
            for path in audio_files(genre)
        ]
        if rows:
            return manifest_of(name or "gtzan", root, rows)
    raise layout_error(root, f"genre folders ({', '.join(GENRES)}) in genres_original/, genres/ or here", SOURCE)
