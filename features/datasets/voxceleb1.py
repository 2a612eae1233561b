"""VoxCeleb1, identification: utterances of 1,251 speakers with an official split (Nagrani et al., 2017).

The official split divides the videos of each speaker: every speaker is trained and tested on, in different recordings.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from features.datasets.listing import audio_files, existing_folder, layout_error, manifest_of, relative
from features.datasets.options import DatasetOptions
from features.errors import ManifestError
from features.manifest import Manifest

SOURCE = "VoxCeleb1 is at https://www.robots.ox.ac.uk/~vgg/data/voxceleb/vox1.html, after a registration"
LIST = "iden_split.txt"
SIDES = {"1": "train", "2": "valid", "3": "test"}
_LINE = re.compile(r"([123])\s+([^/\s]+/[^/\s]+/[^/\s]+)")


class Options(DatasetOptions):
    """`wav/SPEAKER/VIDEO/UTTERANCE.wav` and `iden_split.txt`."""

    kind: Literal["voxceleb1"] = "voxceleb1"


def index(root: Path, *, name: str | None = None) -> Manifest:
    """List VoxCeleb1 with its identification split; the label is the speaker, `group` the video.

    Two speakers may have been cut from the same video. It is one group.

    Raises:
        ManifestError: The folder is missing or has another layout, or the list is damaged or lacks a clip.
    """
    root = existing_folder(root, SOURCE)
    folder, listed = root / "wav", root / LIST
    if not folder.is_dir() or not listed.is_file():
        raise layout_error(root, f"wav/SPEAKER/VIDEO/UTTERANCE.wav and {LIST}", SOURCE)
    split = _read_split(listed)
    rows = []
    for path in audio_files(folder):
        clip = relative(path, folder)
        if clip not in split:
            raise ManifestError(f"{path}: not in {listed}, so it has no official split")
        speaker, video, _ = clip.split("/")
        rows.append({"path": f"wav/{clip}", "label": speaker, "split": split[clip], "group": video})
    return manifest_of(name or "voxceleb1", root, rows)


def _read_split(path: Path) -> dict[str, str]:
    """Read the side of every clip from lines such as `1 id10003/na8-QEFmj44/00003.wav`."""
    split = {}
    for number, line in enumerate(path.read_text("utf-8-sig", errors="replace").splitlines(), 1):
        if not line.strip():
            continue
        found = _LINE.fullmatch(line.strip())
        if not found:
            raise ManifestError(
                f"{path}, line {number}: should be a number from 1 (training) to 3 (test) and a clip, such as "
                f"`1 id10003/na8-QEFmj44/00003.wav`, not {line[:80]!r}"
            )
        split[found[2]] = SIDES[found[1]]
    return split
