"""Recognise the text that Git LFS leaves in place of a large file that was not fetched."""

from __future__ import annotations

from pathlib import Path

from features.errors import WeightsError

POINTER = b"version https://git-lfs.github.com/spec/"


def not_a_pointer(name: str, path: Path) -> Path:
    """Return a file unless it is only a pointer to a file in Git LFS.

    Args:
        name: The backbone, for messages.
        path: The file.

    Raises:
        WeightsError: It is a pointer.
    """
    with path.open("rb") as file:
        if file.read(len(POINTER)) == POINTER:
            raise WeightsError(
                f"{name}: {path} is a pointer of Git LFS, not the file itself; run `git lfs pull` in its folder, or "
                "download the file"
            )
    return path
