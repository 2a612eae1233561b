"""One bad file costs its clip, not the run; its claims do not enter durations or speeds."""

import struct

import numpy as np
import soundfile as sf

from features.audio import file as audio_file
from tests.features.toys import NAMES, RATE, noise


def test_a_file_whose_header_claims_too_much_is_a_failure_of_its_clip(seven):
    sf.write(seven.root / "slow.wav", noise(40_000), RATE, subtype="PCM_16")
    slow = bytearray((seven.root / "slow.wav").read_bytes())
    slow[24:32] = struct.pack("<II", 1, 2)
    (seven.root / "slow.wav").write_bytes(slow)
    sf.write(seven.root / "far.ogg", noise(132_300), 44_100, format="OGG", subtype="VORBIS")
    far = (seven.root / "far.ogg").read_bytes()
    last = far.rfind(b"OggS")
    page = with_checksum(far[last : last + 6] + struct.pack("<q", 2**62) + far[last + 14 :])
    (seven.root / "far.ogg").write_bytes(far[:last] + page)
    summary = seven.run(seven.manifest("slow.wav", *NAMES, "far.ogg"))
    assert summary.computed == len(NAMES)
    assert "implausible sample rate of 1 Hz" in summary.failures["slow.wav"]
    assert "hold at most" in summary.failures["far.ogg"]


def test_the_reason_says_what_a_header_claims_or_what_to_do(seven):
    sf.write(seven.root / "fast.wav", noise(4000), RATE, subtype="PCM_16")
    fast = bytearray((seven.root / "fast.wav").read_bytes())
    fast[24:32] = struct.pack("<II", 4_000_000_000, 4_000_000_000)
    (seven.root / "fast.wav").write_bytes(fast)
    (seven.root / "no-codec.sph").write_bytes(b"NIST_1A\n   1024\n" + bytes(2000))
    assert seven.read("fast.wav", "no-codec.sph").unreadable == {
        "fast.wav": "has an implausible sample rate or number of channels",
        "no-codec.sph": "cannot be decoded (File contains data in an unimplemented format); convert it to WAV or FLAC, "
        "for example with ffmpeg",
    }


def with_checksum(page: bytes) -> bytes:
    crc = 0
    for byte in page[:22] + bytes(4) + page[26:]:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc & 0x80000000 else 0)) & 0xFFFFFFFF
    return page[:22] + struct.pack("<I", crc) + page[26:]


def test_an_unexpected_exception_while_decoding_fails_the_clip_short_or_long(seven, monkeypatch):
    """Codecs can raise anything; no file is known that makes the present ones do it."""
    seven.write("short.wav", noise(2001))
    seven.write("long.wav", noise(60 * RATE))
    right = audio_file.mono

    def fails(data):
        if len(data) == 2001:
            raise MemoryError("too much")
        if len(data) > 50 * RATE:
            raise OverflowError("too far")
        return right(data)

    monkeypatch.setattr(audio_file, "mono", fails)
    summary = seven.run(seven.manifest("short.wav", *NAMES, "long.wav"))
    assert summary.computed == len(NAMES)
    assert summary.failures == {
        "short.wav": "cannot be decoded (MemoryError: too much)",
        "long.wav": "cannot be decoded (OverflowError: too far)",
    }


def test_an_unexpected_exception_in_a_header_fails_the_file(seven, monkeypatch):
    right = audio_file.stated_audio

    def fails(path, size):
        if path.name == NAMES[1]:
            raise ZeroDivisionError("no channels")
        return right(path, size)

    monkeypatch.setattr(audio_file, "stated_audio", fails)
    summary = seven.run(seven.manifest(*NAMES))
    assert summary.failures == {NAMES[1]: "cannot be decoded (ZeroDivisionError: no channels)"}


def test_clips_that_fail_do_not_count_as_audio(seven):
    seven.write("bad.wav", np.full(20 * RATE, np.nan, "f4"), subtype="FLOAT")
    good = seven.run(seven.manifest(*NAMES)).audio_s
    for kept in seven.cache.rglob("*.h5"):
        kept.unlink()
    summary = seven.run(seven.manifest("bad.wav", *NAMES))
    assert list(summary.failures) == ["bad.wav"]
    assert abs(summary.audio_s - good) < 1e-3
