"""What the readers of headers and samples need of an audio file."""

from __future__ import annotations

from typing import IO, Protocol


class Openable(Protocol):
    """A path, or a member of a container (`features.audio.containers`)."""

    def open(self, mode: str, buffering: int = ...) -> IO[bytes]:
        """Open it; only the mode `rb` is used."""
