"""The Free Spoken Digit Dataset: 3,000 spoken digits of six speakers (Jackson and others)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from features.datasets.listing import audio_files, existing_folder, layout_error, manifest_of, relative
from features.datasets.options import DatasetOptions
from features.manifest import Manifest

SOURCE = "FSDD is at https://github.com/Jakobovski/free-spoken-digit-dataset"
TEST_INDICES = range(5)  # the official split: the first five takes of each digit and speaker are the test set
_CLIP = re.compile(r"(?P<digit>\d)_(?P<speaker>.+)_(?P<index>\d+)\.wav", re.IGNORECASE)


class Options(DatasetOptions):
    """`DIGIT_SPEAKER_INDEX.wav` in `recordings/` or in the root itself."""

    kind: Literal["fsdd"] = "fsdd"


def index(root: Path, *, name: str | None = None) -> Manifest:
    """List FSDD with its official split; `group` is the speaker. Training and test sets share speakers by design.

    Raises:
        ManifestError: The folder is missing, or has no file named like a recording.
    """
    root = existing_folder(root, SOURCE)
    folder = root / "recordings" if (root / "recordings").is_dir() else root
    rows = [
        {
            "path": relative(path, root),
            "label": clip["digit"],
            "split": "test" if int(clip["index"]) in TEST_INDICES else "train",
            "group": clip["speaker"],
        }
        for path in audio_files(folder)
        if (clip := _CLIP.fullmatch(path.name))
    ]
    if not rows:
        raise layout_error(root, "DIGIT_SPEAKER_INDEX.wav in recordings/ or here", SOURCE)
    return manifest_of(name or "fsdd", root, rows)
