"""Recognise known corpora by their layout."""

from __future__ import annotations

from pathlib import Path

from features.datasets import load_manifest
from features.errors import ManifestError
from pipeline.init.found import Found

# Each with the options to try; the first that fits is used.
CORPORA: dict[str, tuple[dict[str, str], ...]] = {
    "esc50": ({"subset": "esc50"},),
    "urbansound8k": ({},),
    "speech_commands": ({},),
    "ravdess": ({"channel": "speech"}, {"channel": "song"}, {"channel": "both"}),
    "voxceleb1": ({},),
    "fsdd": ({},),
    "gtzan": ({},),
}
COVERED = 0.8  # fraction of the audio in a folder that a reader must list to recognise it


def find_corpus(path: Path, n_audio: int) -> Found | None:
    """Return a known corpus that covers nearly all audio of the folder, or None."""
    for kind, variants in CORPORA.items():
        for options in variants:
            try:
                manifest = load_manifest({"kind": kind, "root": path, **options})
            except ManifestError:
                continue
            if len(manifest) < COVERED * n_audio:
                continue
            notes = []
            if kind == "esc50":
                options = dict(options)
                if len(_subset(path)) == len(manifest):
                    options = {"subset": "esc10", "name": "esc10"}
                manifest = load_manifest({"kind": kind, "root": path, **options})
            if kind == "fsdd":
                notes.append("the official test set shares its speakers with the training set, by design")
            if kind == "voxceleb1":
                notes.append("the official split is by video, so every speaker is trained and tested on, by design")
            if kind == "gtzan":
                notes.append("artists repeat but are not recorded, so scores on random folds are too optimistic")
            given = {name: value for name, value in options.items() if (name, value) != ("subset", "esc50")}
            return Found({"kind": kind, **given, "root": str(path)}, manifest, f"the layout of `{kind}`", notes)
    return None


def _subset(path: Path) -> list[object]:
    """Return the ESC-10 clips of an ESC-50 folder, or an empty list."""
    try:
        return list(load_manifest({"kind": "esc50", "subset": "esc10", "root": path}).clips["id"])
    except ManifestError:
        return []
