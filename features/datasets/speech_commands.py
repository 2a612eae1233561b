"""Speech Commands: one-second words of many speakers, with an official split (Warden, 2018)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from features.datasets.listing import audio_files, existing_folder, layout_error, manifest_of, relative, subfolders
from features.datasets.options import DatasetOptions
from features.errors import ManifestError
from features.manifest import Manifest

SOURCE = "Speech Commands v2 is at http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz"
LISTS = {"valid": "validation_list.txt", "test": "testing_list.txt"}


class Options(DatasetOptions):
    """A folder per word, `validation_list.txt` and `testing_list.txt`; clips in neither list are for training."""

    kind: Literal["speech_commands"] = "speech_commands"
    words: list[str] | None = Field(default=None, description="only these words (default: all)")


def index(root: Path, *, name: str | None = None, words: list[str] | None = None) -> Manifest:
    """List Speech Commands with its official split; `group` is the speaker, the file name's part before `_nohash_`.

    Raises:
        ManifestError: The folder is missing, has another layout, or has no folder for a requested word.
    """
    root = existing_folder(root, SOURCE)
    folders = [folder for folder in subfolders(root) if not folder.name.startswith("_")]
    if not folders or not all((root / listed).is_file() for listed in LISTS.values()):
        raise layout_error(root, f"a folder per word, {' and '.join(LISTS.values())}", SOURCE)
    unknown = sorted(set(words or ()) - {folder.name for folder in folders})
    if unknown:
        raise ManifestError(
            f"{root}: no folder for the word {unknown[0]!r}; there are {', '.join(f.name for f in folders)}"
        )
    split = {
        clip: part for part, listed in LISTS.items() for clip in (root / listed).read_text("utf-8-sig").split("\n")
    }
    split = {clip.strip(): part for clip, part in split.items()}
    return manifest_of(
        name or "speech_commands",
        root,
        (
            {
                "path": (clip := relative(path, root)),
                "label": folder.name,
                "split": split.get(clip, "train"),
                "group": path.stem.split("_nohash_")[0],
            }
            for folder in folders
            if not words or folder.name in words
            for path in audio_files(folder)
        ),
    )
