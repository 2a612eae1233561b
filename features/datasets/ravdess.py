"""RAVDESS: 24 actors speak or sing two sentences in eight emotions (Livingstone and Russo, 2018); no official split."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import Field

from features.datasets.listing import audio_files, existing_folder, layout_error, manifest_of, relative, subfolders
from features.datasets.options import DatasetOptions
from features.manifest import Manifest

SOURCE = "RAVDESS is at https://zenodo.org/records/1188976"
EMOTIONS = {
    **{"01": "neutral", "02": "calm", "03": "happy", "04": "sad"},
    **{"05": "angry", "06": "fearful", "07": "disgust", "08": "surprised"},
}
CHANNELS = {"speech": "01", "song": "02"}
# modality, vocal channel, emotion, intensity, statement, repetition, actor
_CLIP = re.compile(r"03-(?P<channel>0[12])-(?P<emotion>0[1-8])-0[12]-0[12]-0[12]-(?P<actor>\d\d)\.wav", re.IGNORECASE)
_ACTOR = re.compile(r"Actor_\d\d", re.IGNORECASE)


class Options(DatasetOptions):
    """`Actor_01/` to `Actor_24/` with audio files named by the seven codes, `03-01-05-01-02-01-12.wav`."""

    kind: Literal["ravdess"] = "ravdess"
    channel: Literal["speech", "song", "both"] = Field(default="speech", description="spoken clips, sung ones or all")


def index(root: Path, *, name: str | None = None, channel: str = "speech") -> Manifest:
    """List RAVDESS' audio-only clips; the label is the emotion, `group` the actor.

    Raises:
        ManifestError: The folder is missing, or has no such clips.
    """
    root = existing_folder(root, SOURCE)
    # One common copy contains all clips a second time in a folder next to those of the actors.
    folders = [folder for folder in subfolders(root) if _ACTOR.fullmatch(folder.name)] or [root]
    rows = [
        {"path": relative(path, root), "label": EMOTIONS[clip["emotion"]], "group": clip["actor"]}
        for folder in folders
        for path in audio_files(folder)
        if (clip := _CLIP.fullmatch(path.name)) and channel in ("both", _channel_name(clip["channel"]))
    ]
    if not rows:
        what = "clips" if channel == "both" else f"{channel} clips"
        raise layout_error(root, f"Actor_01/ to Actor_24/ with {what} such as 03-01-05-01-02-01-12.wav", SOURCE)
    return manifest_of(name or "ravdess", root, rows)


def _channel_name(code: str) -> str:
    return next(name for name, number in CHANNELS.items() if number == code)
