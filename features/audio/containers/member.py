"""The bytes of an audio file in a container: a range of a file on disk, or bytes in memory."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from features.audio.spliced import SplicedFile


@dataclass(frozen=True)
class Member:
    """An audio file in a container. It opens like a `Path`.

    Attributes:
        name: Its name, with its suffix.
        content: Its bytes, or the file and the range [start, stop) where they are stored.
    """

    name: str
    content: bytes | tuple[Path, int, int]

    @property
    def suffix(self) -> str:
        """The suffix of its name, such as `.wav`."""
        return Path(self.name).suffix

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return len(self.content) if isinstance(self.content, bytes) else self.content[2] - self.content[1]

    def open(self, mode: str = "rb", buffering: int = -1) -> IO[bytes]:
        """Open it for reading."""
        if isinstance(self.content, bytes):
            return io.BytesIO(self.content)
        file, start, stop = self.content
        raw = SplicedFile(file, [(start, stop)])
        return cast(IO[bytes], raw if buffering == 0 else io.BufferedReader(raw))
