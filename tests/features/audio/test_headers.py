"""Truncated files are detected if their container states a length."""

import struct

import numpy as np
import pytest
import soundfile as sf

from features.audio.decoding import probe, read_waveform
from features.errors import AudioError
from tests.features.toys import noise

RATE = 44100


def encoded(tmp_path, form, seconds=3.0, **options):
    path = tmp_path / f"whole.{form}"
    sf.write(path, noise(int(RATE * seconds)), RATE, format=form, **options)
    return path.read_bytes()


def mpeg_frame_bytes(head: bytes) -> int:
    """Length of an MPEG-1 layer III frame of 44.1 kHz."""
    rates = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320]
    return 144_000 * rates[head[2] >> 4] // RATE + (head[2] >> 1 & 1)


@pytest.mark.parametrize("form", ["WAV", "AIFF", "AU", "RF64", "FLAC", "MP3"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_file_cut_short_is_refused(tmp_path, form, share):
    data = encoded(tmp_path, form)
    path = tmp_path / "cut"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(AudioError, match=r"cut short|cannot be decoded") as error:
        read_waveform(path, 16000)
    assert "()" not in str(error.value)


@pytest.mark.parametrize("form", ["WAV", "AIFF", "AU", "RF64"])
def test_one_missing_frame_is_seen_before_decoding(tmp_path, form):
    data = encoded(tmp_path, form, seconds=0.1)
    path = tmp_path / "cut"
    path.write_bytes(data)
    probe(path)
    end = data.rindex(b"PEAK") if b"PEAK" in data else len(data)
    path.write_bytes(data[: end - 2])
    with pytest.raises(AudioError, match="cut short: its header announces"):
        probe(path)


def test_big_endian_wav_is_understood(tmp_path):
    data = encoded(tmp_path, "WAV", endian="BIG")
    assert data[:4] == b"RIFX"
    path = tmp_path / "cut"
    path.write_bytes(data[:-1000])
    with pytest.raises(AudioError, match="cut short"):
        probe(path)


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFF000, 0x7FFFFFFF, 0x7FFFF000 // 6 * 6, 0x80000000])
def test_a_wav_from_a_pipe_has_no_length_and_is_whole(tmp_path, size):
    data = bytearray(encoded(tmp_path, "WAV", seconds=0.5))
    at = data.index(b"data") + 4
    data[at : at + 4] = struct.pack("<I", size)
    path = tmp_path / "piped.wav"
    path.write_bytes(data)
    assert len(read_waveform(path, RATE).samples) == RATE // 2


def test_chunks_around_the_audio_do_not_confuse(tmp_path):
    data = encoded(tmp_path, "WAV", seconds=0.1)
    start = data.index(b"data")
    odd = b"note" + struct.pack("<I", 5) + b"data\xff\x00"  # a padded chunk that looks like audio inside
    path = tmp_path / "a.wav"
    path.write_bytes(data[:start] + odd + data[start:] + b"LIST" + struct.pack("<I", 400))
    assert len(read_waveform(path, RATE).samples) == RATE // 10


@pytest.mark.parametrize(
    "head", [b"RIFF", b"RIFF\x04\0\0\0WAVE", b"FORM\0\0\0\x04AIFF", b".snd", b"ID3", b"fLaC", b"OggS"]
)
def test_only_the_start_of_a_header_is_refused(tmp_path, head):
    path = tmp_path / "a"
    path.write_bytes(head)
    with pytest.raises(AudioError):
        probe(path)


def without_frame_count(data: bytes) -> bytes:
    assert b"Xing" in data[:200] or b"Info" in data[:200]
    return data[mpeg_frame_bytes(data) :]


@pytest.mark.parametrize("tagged", [False, True])
def test_an_mp3_that_states_no_frame_count_is_taken_as_it_decodes(tmp_path, tagged):
    quiet_then_loud = np.concatenate([np.zeros(RATE * 3, dtype=np.float32), noise(RATE * 3)])
    whole = tmp_path / "whole.mp3"
    sf.write(whole, quiet_then_loud, RATE, format="MP3", bitrate_mode="VARIABLE")
    path = tmp_path / "uncounted.mp3"
    tag = b"ID3\x03\0\0\0\0\x01\x00" + b"Xing".ljust(128, b"\0") if tagged else b""
    path.write_bytes(tag + without_frame_count(whole.read_bytes()))
    with sf.SoundFile(path) as file:
        assert file.frames > 7 * RATE, "libsndfile no longer overestimates: this test guards nothing"
    assert probe(path).frames == pytest.approx(6 * RATE, abs=4000)
    assert len(read_waveform(path, RATE).samples) == probe(path).frames
    assert len(read_waveform(path, RATE, 1.0, 2.0).samples) == 2 * RATE


def test_an_mp3_with_a_tag_and_a_frame_count_is_still_known_to_be_short(tmp_path):
    data = b"ID3\x03\0\0\0\0\x40\x00" + bytes(64 * 128) + encoded(tmp_path, "MP3")
    path = tmp_path / "a.mp3"
    path.write_bytes(data)
    assert probe(path).frames == 3 * RATE
    path.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(AudioError, match="cut short"):
        read_waveform(path, RATE)
