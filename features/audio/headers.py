"""Read container headers to find truncated files, which libsndfile reads without an error, and unknown lengths."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import IO

from features.audio.openable import Openable

RIFF_ORDER = {b"RIFF": "<", b"RIFX": ">", b"RF64": "<"}
ANYWHERE = (b"RIFF", b"RIFX", b"RF64", b"FORM", b".snd", b"fLaC", b"caff")
IFF_AUDIO = {b"AIFF": b"SSND", b"AIFC": b"SSND", b"8SVX": b"BODY", b"16SV": b"BODY"}
W64_GUID = bytes.fromhex("2e91cf11a5d628db04c10000")  # the end of `riff`; other chunks end differently
PCM_COMPRESSION = (b"NONE", b"twos", b"sowt", b"fl32", b"FL32", b"fl64", b"FL64", b"in24", b"in32", b"raw ")
HEADER_BYTES = 1 << 16  # placeholders may be reduced by the length of a header
HUGE = 1 << 62  # no file is as long: 64-bit placeholders are above
Edits = list[tuple[int, bytes]]


@dataclass(frozen=True)
class StatedAudio:
    """What a container states about its audio.

    Attributes:
        start: Position of the audio's first byte.
        stated: Bytes of audio; None if unknown, because the file was written to a pipe.
        edits: (position, new bytes) of header fields that would state the length of an unknown one.
    """

    start: int
    stated: int | None
    edits: Edits = field(default_factory=list)


def stated_audio(path: Openable, size: int) -> StatedAudio | None:
    """Return what a container states about the length of its audio.

    Reads RIFF/WAVE, RF64, Wave64, AIFF, 8SVX, CAF, AU, NIST SPHERE, AVR and VOC.

    Args:
        path: The audio file, or a member of a container; the format is read from its content, not its suffix.
        size: The file's size in bytes.

    Returns:
        None for another container, or if it states nothing.
    """
    with path.open("rb") as file:
        head = file.read(40)
        try:
            if head[:4] in RIFF_ORDER and head[8:12] == b"WAVE":
                return _riff(file, size, head)
            if head[:4] == b"FORM" and head[8:12] in IFF_AUDIO:
                return _iff(file, size, head)
            if head[:4] == b"riff" and head[4:16] == W64_GUID:
                return _wave64(file, size)
            if head[:4] == b"caff":
                return _caf(file, size)
            if head[:4] == b".snd":
                start, length = struct.unpack(">II", head[4:12])
                edits = [(8, struct.pack(">I", max(0, min(size - start, 0x7FFEFFFF))))]
                return StatedAudio(start, None, edits) if _is_unknown(length) else StatedAudio(start, length)
            if head[:7] == b"NIST_1A":
                return _sphere(file)
            if head[:4] == b"2BIT":
                channels, bits = struct.unpack(">HH", head[12:16])
                frames = struct.unpack(">I", head[26:30])[0]
                return StatedAudio(128, frames * (2 if channels else 1) * (bits // 8))
            if head[:19] == b"Creative Voice File":
                return _voc(file, size, head)
        except (struct.error, ValueError):  # a header that ends early; libsndfile reports the reason
            return None
    return None


def shortfall(audio: StatedAudio | None, size: int) -> str | None:
    """Return by how much a file of `size` bytes is shorter than it states; None if it is complete or unknown."""
    if audio is None or audio.stated is None or audio.stated <= size - audio.start:
        return None
    there = max(0, size - audio.start)
    return f"is cut short: its header announces {audio.stated} bytes of audio, the file has {there}"


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


def flac_total(path: Openable) -> tuple[int, int] | None:
    """Return the number of samples that a FLAC file states (0: unknown) and the position of that field.

    The field is the last 36 bits of the five bytes at that position. Returns None if the file is not FLAC.
    """
    with path.open("rb") as file:
        head, start = file.read(10), 0
        if head[:3] == b"ID3" and len(head) == 10:
            start = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
        file.seek(start)
        head = file.read(26)
    if head[:4] != b"fLaC" or len(head) < 26:
        return None
    return int.from_bytes(head[21:26]) & 0xF_FFFF_FFFF, start + 21


def _is_unknown(length: int) -> bool:
    """Whether a 32-bit length is a placeholder that a program writing to a pipe stores instead of the length."""
    return length == 0 or length > 0xFFFFFFFF - HEADER_BYTES or abs(length - 0x80000000) <= HEADER_BYTES


def _is_chunk_chain(file: IO[bytes], position: int, size: int, order: str) -> bool:
    """Whether chunks with readable names extend from `position` exactly to the end of the file."""
    while position + 8 <= size:
        file.seek(position)
        name, length = struct.unpack(f"{order}4sI", file.read(8))
        if not all(32 <= byte < 127 for byte in name):
            return False
        position += 8 + length + length % 2
    return position in (size, size + 1)


def _riff(file: IO[bytes], size: int, head: bytes) -> StatedAudio | None:
    order = RIFF_ORDER[head[:4]]
    position, ds64, wide = 12, 0, 0
    while position + 8 <= size:
        file.seek(position)
        chunk, length = struct.unpack(f"{order}4sI", file.read(8))
        start = position + 8
        if chunk == b"ds64" and head[:4] == b"RF64":
            ds64, wide = start, struct.unpack("<QQ", file.read(16))[1]
        if chunk == b"data":
            there = size - start
            if ds64 and length == 0xFFFFFFFF:
                if 0 < wide < HUGE and wide != 0xFFFFFFFF:
                    return StatedAudio(start, wide)
                return StatedAudio(start, None, [(ds64, struct.pack("<QQ", size - 8, there))])
            if length == 0 and _is_chunk_chain(file, start, size, order):
                return StatedAudio(start, 0)
            if not _is_unknown(length):
                return StatedAudio(start, length)
            fits = size < 0xFFFFFFFF - HEADER_BYTES  # libsndfile reads longer ones to the end
            fields = [(4, struct.pack(f"{order}I", size - 8)), (start - 4, struct.pack(f"{order}I", there))]
            return StatedAudio(start, None, fields if fits else [])
        position = start + length + length % 2
    return None


def _iff(file: IO[bytes], size: int, head: bytes) -> StatedAudio | None:
    wanted, position, edits = IFF_AUDIO[head[8:12]], 12, [(4, struct.pack(">I", min(size - 8, 0x7FFEFFFF)))]
    frame_bytes = frames_at = 0
    while position + 8 <= size:
        file.seek(position)
        chunk, length = struct.unpack(">4sI", file.read(8))
        start = position + 8
        if chunk == b"COMM":
            about = file.read(22)
            channels, _, bits = struct.unpack(">HIH", about[:8])
            if head[8:12] == b"AIFF" or about[18:22] in PCM_COMPRESSION:
                frame_bytes, frames_at = channels * -(-bits // 8), start + 2
        if chunk == wanted:
            there = size - start
            # SoX writes 0x7F000000 bytes and a header
            if not (_is_unknown(length) or length == 8 or abs(length - 0x7F000000) <= HEADER_BYTES):
                return StatedAudio(start, length)
            if length in (0, 8) and _is_chunk_chain(file, start + length, size, ">"):
                return StatedAudio(start, length)
            edits.append((start - 4, struct.pack(">I", min(there, 0x7FFEFFFF))))
            if frame_bytes:
                edits.append((frames_at, struct.pack(">I", max(0, there - 8) // frame_bytes)))
            return StatedAudio(start, None, edits)
        position = start + length + length % 2
    return None


def _wave64(file: IO[bytes], size: int) -> StatedAudio | None:
    position = 40
    while position + 24 <= size:
        file.seek(position)
        name, length = struct.unpack("<16sQ", file.read(24))
        start = position + 24
        if name[:4] == b"data":
            if 24 < length < HUGE or (length == 24 and start == size):
                return StatedAudio(start, length - 24)
            fields = [(16, struct.pack("<Q", size)), (start - 8, struct.pack("<Q", size - position))]
            return StatedAudio(start, None, fields)
        if length < 24:
            return None
        position += -(-length // 8) * 8
    return None


def _caf(file: IO[bytes], size: int) -> StatedAudio | None:
    position = 8
    while position + 12 <= size:
        file.seek(position)
        name, length = struct.unpack(">4sq", file.read(12))
        start = position + 12
        if name == b"data":  # its first four bytes are not audio
            if length in (0, 4) and start + length == size:
                return StatedAudio(start, length)
            if length > 4:
                return StatedAudio(start, length)
            return StatedAudio(start, None, [(start - 8, struct.pack(">q", size - start))])
        if length < 0:
            return None
        position = start + length
    return None


def _sphere(file: IO[bytes]) -> StatedAudio | None:
    file.seek(0)
    lines = file.read(1024).decode("latin-1").splitlines()
    fields = {words[0]: words[2] for line in lines[2:] if len(words := line.split(maxsplit=2)) == 3}
    if "sample_count" not in fields or "shorten" in fields.get("sample_coding", ""):
        return None
    frame_bytes = int(fields.get("channel_count", 1)) * int(fields.get("sample_n_bytes", 1))
    return StatedAudio(int(lines[1]), int(fields["sample_count"]) * frame_bytes)


def _voc(file: IO[bytes], size: int, head: bytes) -> StatedAudio | None:
    position = struct.unpack("<H", head[20:22])[0]
    while position + 4 <= size:
        file.seek(position)
        block = file.read(4)
        length = int.from_bytes(block[1:], "little")
        if block[0] in (1, 9):
            return StatedAudio(position + 4, length)
        if block[0] == 0:
            return None
        position += 4 + length
    return None
