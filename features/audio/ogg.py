"""Read the page headers of an Ogg file: its number of links, and how much audio its packets can hold."""

from __future__ import annotations

from dataclasses import dataclass

from features.audio.openable import Openable
from features.audio.windowed import WindowedBytes

PAGE_HEADER_BYTES = 27
FIRST_PAGE = 2  # flag of the first page of a stream
# The most samples that a packet of each codec decodes to, by the start of its first packet
PACKET_SAMPLES = {b"\x01vorbis": 4096, b"OpusHead": 5760}
OTHER_PACKET_SAMPLES = 65_536


@dataclass(frozen=True)
class OggPages:
    """Facts about the pages of an Ogg file.

    Attributes:
        links: Consecutive groups of streams; a file of several is called chained.
        most_samples: The most samples per channel that the packets of the file can hold.
        missing: Bytes that the last page lacks.
    """

    links: int
    most_samples: int
    missing: int


def ogg_pages(path: Openable) -> OggPages:
    """Walk the pages of an Ogg file."""
    links = packets = packet_samples = end = 0
    after_data = True
    with WindowedBytes(path) as data:
        at = data.find(b"OggS", 0)
        while at >= 0 and len(header := data.read(at, PAGE_HEADER_BYTES)) == PAGE_HEADER_BYTES:
            body = at + PAGE_HEADER_BYTES + header[26]
            lacing = data.read(at + PAGE_HEADER_BYTES, header[26])
            is_first = bool(header[5] & FIRST_PAGE)
            if is_first:
                links += after_data
                start = data.read(body, 8)
                limits = [most for magic, most in PACKET_SAMPLES.items() if start.startswith(magic)]
                packet_samples = max([packet_samples, *limits] if limits else [OTHER_PACKET_SAMPLES])
            after_data = not is_first
            packets += sum(length < 255 for length in lacing)
            end = body + sum(lacing)
            at = data.find(b"OggS", end)
        missing = max(0, end - data.size)
    return OggPages(links, packets * packet_samples, missing)
