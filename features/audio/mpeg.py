"""Count the frames of an MPEG audio file (MP3, MP2) by walking its frame headers.

libsndfile believes the frame count at the start of a file, or estimates it from the first bit rate. It stops there,
even if more frames follow.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from features.audio.openable import Openable
from features.audio.windowed import WindowedBytes

INFO_BIT_RATE = 8  # index of a bit rate whose frames hold a frame count for every version of layer III

# (version 1?, layer) -> kbit/s of each index; index 0 is "free format", 15 is invalid
_KBIT = {
    (True, 1): [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
    (True, 2): [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
    (True, 3): [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
    (False, 1): [32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
    (False, 2): [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
    (False, 3): [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
}
_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}


@dataclass(frozen=True)
class MpegFrames:
    """The frames of a file.

    Attributes:
        count: Complete frames of audio, without a leading frame that only holds the frame count.
        samples_per_frame: Samples per channel that a frame decodes to.
        sample_rate: Sample rate of the first frame in Hz.
        stated: The frame count that the file states; None if it states none.
        uniform: Whether all frames have the same sample rate, layer and number of channels.
        runs: Byte ranges [start, stop) of consecutive audio frames, without tags and damaged parts.
        header: The four bytes at the start of the first audio frame.
    """

    count: int
    samples_per_frame: int
    sample_rate: int
    stated: int | None
    uniform: bool
    runs: tuple[tuple[int, int], ...]
    header: bytes

    @property
    def samples(self) -> int:
        """Samples per channel of all frames."""
        return self.count * self.samples_per_frame

    def counting_frame(self) -> bytes | None:
        """Return a silent frame that states `count`, to put before the audio; None except for layer III."""
        second, third, fourth = self.header[1:]
        if second >> 1 & 3 != 1:
            return None
        second, third = second | 1, third & 0x0C | INFO_BIT_RATE << 4  # without a checksum and without padding
        frame = bytearray(_lengths()[second << 8 | third])
        frame[:4] = 0xFF, second, third, fourth
        at = 4 + _side_info_bytes(self.header)
        frame[at : at + 12] = b"Info" + struct.pack(">II", 1, self.count)
        return bytes(frame)


def mpeg_frames(path: Openable) -> MpegFrames | None:
    """Walk the frames of a file; None if it has none whose length is known.

    Args:
        path: An MPEG audio file, with or without tags.
    """
    first, stated, count = b"", None, 0
    kinds: set[int] = set()
    runs: list[tuple[int, int]] = []
    with WindowedBytes(path) as data:
        for start, stop, n_frames, run_kinds in _runs(data):
            if not first:
                length = _frame_bytes(data.read(start, 4))
                is_info, stated = _frame_count(data.read(start, length))
                if is_info:
                    start, n_frames = start + length, n_frames - 1
                if not n_frames:
                    continue
                first = data.read(start, 4)
            count += n_frames
            kinds |= run_kinds
            runs.append((start, stop))
    if not first:
        return None
    version, layer = first[1] >> 3 & 3, 4 - (first[1] >> 1 & 3)
    samples = 384 if layer == 1 else 576 if layer == 3 and version != 3 else 1152
    rate = _RATES[version][first[2] >> 2 & 3]
    return MpegFrames(count, samples, rate, stated, len(kinds) == 1, tuple(runs), first)


def _runs(data: WindowedBytes) -> Iterator[tuple[int, int, int, set[int]]]:
    """Yield (start, stop, frames, kinds of frames) of consecutive complete frames."""
    at = _next_frame(data, _after_id3(data, 0))
    while at is not None:
        start, n_frames = at, 0
        kinds: set[int] = set()
        while length := _frame_bytes(header := data.read(at, 4)):
            if at + length > data.size:
                break
            kinds.add(_kind(header))
            n_frames += 1
            at += length
        if n_frames:
            yield start, at, n_frames, kinds
        at = _next_frame(data, _after_id3(data, at if n_frames else at + 1))


def _next_frame(data: WindowedBytes, at: int) -> int | None:
    """Return the position of the next frame that is followed by another one of its kind, or that ends the file."""
    while (at := data.find(b"\xff", at)) >= 0:
        header = data.read(at, 4)
        if length := _frame_bytes(header):
            following = data.read(at + length, 4)
            alike = _frame_bytes(following) and _kind(following) == _kind(header)
            if alike or at + length == data.size or following[:3] in (b"TAG", b"ID3", b"APE"):
                return at
        at += 1
    return None


def _after_id3(data: WindowedBytes, at: int) -> int:
    """Return the position after ID3v2 tags at `at`, or `at` if there are none."""
    while len(head := data.read(at, 10)) == 10 and head[:3] == b"ID3":
        length = 0
        for byte in head[6:]:
            length = length << 7 | byte & 0x7F
        at += 10 + length
    return at


def _frame_bytes(header: bytes) -> int:
    """Length of the frame with this header of four bytes; 0 if it is invalid or in free format."""
    return _lengths()[header[1] << 8 | header[2]] if len(header) == 4 and header[0] == 0xFF else 0


def _kind(header: bytes) -> int:
    """Return version, layer, sample rate and whether a frame is mono, as one number."""
    return (header[1] & 0x1E) << 8 | header[2] & 0x0C | (header[3] >= 0xC0)


def _side_info_bytes(header: bytes) -> int:
    """Length of the side information of a layer III frame, after which a frame count is stored."""
    mono = header[3] >= 0xC0
    return (17 if mono else 32) if header[1] >> 3 & 3 == 3 else (9 if mono else 17)


def _frame_count(frame: bytes) -> tuple[bool, int | None]:
    """Return whether a frame holds a Xing, Info or VBRI header instead of audio, and the frame count it states."""
    side = 4 + _side_info_bytes(frame)
    for at in (side, side + 2):  # with a checksum, some encoders store it two bytes later
        if frame[at : at + 4] in (b"Xing", b"Info") and len(frame) >= at + 12:
            flags, count = struct.unpack(">II", frame[at + 4 : at + 12])
            return True, count if flags & 1 else None
    if frame[36:40] == b"VBRI" and len(frame) >= 54:
        return True, struct.unpack(">I", frame[50:54])[0]
    return False, None


@functools.cache
def _lengths() -> list[int]:
    """Frame lengths in bytes by the second and third byte of a header; 0 if it is invalid or in free format."""
    lengths = [0] * 65536
    for key in range(0xE000, 65536):
        version, layer = key >> 11 & 3, 4 - (key >> 9 & 3)
        bit_rate, rate, padding = key >> 4 & 15, key >> 2 & 3, key >> 1 & 1
        if version == 1 or layer == 4 or rate == 3 or bit_rate in (0, 15):
            continue
        bits = 1000 * _KBIT[version == 3, layer][bit_rate - 1]
        hertz = _RATES[version][rate]
        if layer == 1:
            lengths[key] = (12 * bits // hertz + padding) * 4
        else:
            lengths[key] = (72 if layer == 3 and version != 3 else 144) * bits // hertz + padding
    return lengths
