"""Pictures of clips kept in the run folder, so that a report that is written again decodes no audio for them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from features.errors import RunError
from pipeline.results.run_folder import read_json, write_json

FILE = "pictures.json"
VERSION = 1  # of the way in which pictures are drawn
COLUMNS = 128  # of the envelope and the spectrogram
_ENVELOPE = re.compile(rf"[A-Za-z0-9+/]{{{COLUMNS}}}")
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")

Picture = tuple[str, str]
"""The envelope, one letter of base64 per column, and the spectrogram as WebP in base64."""


def read_pictures(run_dir: Path) -> dict[str, Picture]:
    """Return the kept pictures by the key of their clip; damaged ones, and those of other versions, count as absent."""
    stored = read_json(run_dir / FILE) or {}
    pictures = stored.get("pictures")
    if stored.get("version") != VERSION or not isinstance(pictures, dict):
        return {}
    return dict(_valid(pictures))


def write_pictures(run_dir: Path, pictures: Mapping[str, Picture]) -> None:
    """Replace the kept pictures. If the folder cannot be written, they are drawn again next time."""
    with suppress(RunError):
        write_json(run_dir / FILE, {"version": VERSION, "pictures": dict(pictures)})


def _valid(pictures: Mapping[str, object]) -> Iterator[tuple[str, Picture]]:
    for key, found in pictures.items():
        match found:
            case [str(envelope), str(spectrogram)] if _ENVELOPE.fullmatch(envelope) and _BASE64.fullmatch(spectrogram):
                yield key, (envelope, spectrogram)
