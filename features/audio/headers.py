"""Read container headers to find truncated files, which libsndfile reads without an error."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

RIFF_ORDER = {b"RIFF": "<", b"RIFX": ">", b"RF64": "<"}
ANYWHERE = (b"RIFF", b"RIFX", b"RF64", b"FORM", b".snd", b"fLaC", b"caff")
MPEG_COUNTS = (b"Xing", b"Info", b"VBRI")
MPEG_HEAD_BYTES = 4096  # a frame count is in the first MPEG frame


def announced_shortfall(path: Path, size: int) -> str | None:
    """Report by how much a RIFF/WAVE, RF64, AIFF or AU file is shorter than its header announces.

    Args:
        path: The audio file; the format is read from its content, not its suffix.
        size: The file's size in bytes.

    Returns:
        A message, or None if the file is complete or its container does not state its size.
    """
    with path.open("rb") as file:
        announced, position = _announced_audio(file, size)
    if _is_unknown(announced) or announced <= size - position:
        return None
    return f"is cut short: its header announces {announced} bytes of audio, the file has {max(0, size - position)}"


def announces_frames(path: Path) -> bool:
    """Whether an MPEG audio file states its number of frames; otherwise libsndfile estimates it from the bit rate."""
    with path.open("rb") as file:
        head = file.read(10)
        if head[:3] == b"ID3" and len(head) == 10:
            length = 0
            for byte in head[6:]:
                length = length << 7 | byte & 0x7F
            file.seek(10 + length)
            head = b""
        head += file.read(MPEG_HEAD_BYTES)
    return any(tag in head for tag in MPEG_COUNTS)


def enters_anywhere(head: bytes) -> bool:
    """Whether a file with these first four bytes can be read from any position (WAV, FLAC, AIFF and similar)."""
    return head in ANYWHERE


def seeks_exactly(container: str, encoding: str) -> bool:
    """Whether libsndfile returns the same samples after a seek as without one.

    Args:
        container: libsndfile's name of the format, such as `WAV`.
        encoding: libsndfile's name of the sample encoding, such as `PCM_16`.
    """
    return container != "OGG" and not encoding.startswith("MPEG")


def _is_unknown(announced: int) -> bool:
    """Whether this is a placeholder that a program writing to a pipe stores instead of the size."""
    return announced in (0, 0xFFFFFFFF) or 0x7FFF0000 <= announced <= 0x80000000


def _announced_audio(file: BinaryIO, size: int) -> tuple[int, int]:
    """Return the bytes of audio that the header announces and their position; 0 if it does not state them."""
    header = file.read(12)
    if len(header) < 12:
        return 0, 0
    if header[:4] == b".snd":
        start, announced = struct.unpack(">II", header[4:])
        return announced, start
    if header[:4] in RIFF_ORDER and header[8:] == b"WAVE":
        order, wanted = RIFF_ORDER[header[:4]], b"data"
    elif header[:4] == b"FORM" and header[8:] in (b"AIFF", b"AIFC"):
        order, wanted = ">", b"SSND"
    else:
        return 0, 0
    position, wide = 12, 0
    while position + 8 <= size:
        file.seek(position)
        chunk, length = struct.unpack(f"{order}4sI", file.read(8))
        if chunk == b"ds64" and header[:4] == b"RF64":
            wide = struct.unpack("<QQ", file.read(16).ljust(16, b"\0"))[1]
        if chunk == wanted:
            return (wide if length == 0xFFFFFFFF else length), position + 8
        position += 8 + length + length % 2
    return 0, 0
