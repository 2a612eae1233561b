"""What a container's header promises: finds files that were cut short, which libsndfile reads without a word."""

from __future__ import annotations

import struct
from pathlib import Path

UNKNOWN_SIZE = (0, 0xFFFFFFFF)  # what writers to a pipe put where the size would stand


def announced_shortfall(path: Path, size: int) -> str | None:
    """Say by how much a RIFF/WAVE or AIFF file is shorter than its own header announces.

    Args:
        path: The audio file; its content decides, not its suffix.
        size: The file's size in bytes.

    Returns:
        A reason, or None where the file is whole or its container does not tell.
    """
    with path.open("rb") as file:
        header = file.read(12)
        if len(header) < 12:
            return None
        if header[:4] in (b"RIFF", b"RIFX") and header[8:] == b"WAVE":
            order, wanted = ("<" if header[:4] == b"RIFF" else ">"), b"data"
        elif header[:4] == b"FORM" and header[8:] in (b"AIFF", b"AIFC"):
            order, wanted = ">", b"SSND"
        else:
            return None
        position = 12
        while position + 8 <= size:
            file.seek(position)
            chunk, length = struct.unpack(f"{order}4sI", file.read(8))
            held = size - position - 8
            if chunk == wanted:
                if length in UNKNOWN_SIZE or length <= held:
                    return None
                return f"is cut short: its header announces {length} bytes of audio, the file holds {held}"
            position += 8 + length + length % 2
    return None
