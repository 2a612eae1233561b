"""Audio files in containers: `clips.tar::dogs/1.wav` is the path of the member `dogs/1.wav` of `clips.tar`.

Such a path can be used wherever the path of an audio file can. A container's kind is a module of `KINDS` with a
function `find(container, member) -> Member`.
"""

from __future__ import annotations

import io
import os
import re
from importlib import import_module
from pathlib import Path
from typing import cast

from features.audio.containers.member import Member
from features.errors import AudioError

SEPARATOR = "::"
KINDS = {
    ".tar": "features.audio.containers.tar",
    ".arrow": "features.audio.containers.arrow",
    ".parquet": "features.audio.containers.parquet",
}
_MEMBER = re.compile(rf"(.+?(?:{'|'.join(map(re.escape, KINDS))})){SEPARATOR}(.+)", re.IGNORECASE | re.DOTALL)


def split_member(path: str | Path) -> tuple[Path, str] | None:
    """Return the container and the name of a member; None if the path is that of a plain file."""
    text = str(path)
    if SEPARATOR not in text or (match := _MEMBER.fullmatch(text)) is None or os.path.lexists(text):
        return None
    return Path(match[1]), match[2]


def file_of(path: str | Path) -> Path:
    """Return the file on disk that holds the audio: the container of a member, or the path itself."""
    split = split_member(path)
    return Path(path) if split is None else split[0]


def stored_audio(path: Path) -> Path | Member:
    """Return what can be opened to read the bytes of an audio file: the path itself, or a member of a container.

    Raises:
        AudioError: The container is missing or damaged, or has no such member.
    """
    split = split_member(path)
    if split is None:
        return path
    container, member = split
    if not container.is_file():
        raise AudioError(f"file not found: {container.name}")
    try:
        found = import_module(KINDS[container.suffix.lower()]).find(container, member)
    except OSError as error:
        raise AudioError(f"cannot be read ({error.strerror or error})") from None
    if found is None:
        raise AudioError(f"{container.name} has no member {member!r}")
    return found


def open_audio(path: Path) -> io.BufferedIOBase:
    """Open the bytes of an audio file on disk or in a container.

    Raises:
        AudioError: As `stored_audio`.
        OSError: The file cannot be opened.
    """
    return cast(io.BufferedIOBase, stored_audio(path).open("rb"))
