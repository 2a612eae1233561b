"""A clip is as long as its file really is, or fails with the reason; it is never shorter without a word."""

import importlib.util
import json
import re
import struct
import subprocess
import sys

import numpy as np
import pytest
import soundfile as sf

from features.audio.decoding import probe, read_waveform, stream_windows
from features.errors import AudioError
from tests.features.audio.test_headers import encoded
from tests.features.toys import noise
from tests.paths import SHARED

RATE = 44_100
CASES = SHARED / "cases/make_cases.py"


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    if not CASES.exists():
        pytest.skip("needs ../shared/cases")
    spec = importlib.util.spec_from_file_location("make_cases", CASES)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = tmp_path_factory.mktemp("cases")
    module.make(folder)
    return folder


def outcome(path):
    """Return the duration in seconds, whose samples all decode, or the reason of the failure."""
    try:
        info = probe(path)
        samples = read_waveform(path, None).samples
        assert len(samples) == info.frames
        windows = list(stream_windows(path, info.sample_rate, 10_000))
        np.testing.assert_array_equal(np.concatenate(windows), samples)
        return info.frames / info.sample_rate
    except AudioError as error:
        assert "\n" not in str(error)
        return str(error)


REASONS = {
    "two-joined.mp3": "joined",
    "chained.ogg": "2 joined Ogg streams",
    "granule.ogg": "announces 4611686018427387904 frames",
    "unknown-length.flac": "length",
    "one-hertz.wav": "implausible sample rate of 1 Hz",
    "half.w64": "cut short",
}


def test_every_case_has_its_right_outcome(cases):
    for name, right in json.loads((cases / "expected.json").read_text()).items():
        got = outcome(cases / name)
        seconds = re.match(r"([\d.]+) s", right)
        if isinstance(got, str):
            assert "failure" in right, f"{name}: {got}"
            assert REASONS[name] in got
        else:
            assert seconds, f"{name}: {got} s, expected {right}"
            assert got == pytest.approx(float(seconds[1]), abs=0.1), name


def test_nothing_is_printed_without_a_file_name(cases):
    code = (
        "import sys; from pathlib import Path; from features.audio.decoding import read_waveform\n"
        "for path in sys.argv[1:]: read_waveform(Path(path), 16000)"
    )
    paths = [str(cases / name) for name in ("two-joined.mp3", "vbr-no-count.mp3")]
    done = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""


def put(path, data, *edits):
    data = bytearray(data)
    for at, new in edits:
        data[at : at + len(new)] = new
    path.write_bytes(data)
    return path


PLACEHOLDERS = [0, 0xFFFFFFFF, 0xFFFFFFFF - 36, 0x80000000, 0x80000024, 0x7FFFFFFF - 44]


@pytest.mark.parametrize("length", PLACEHOLDERS)
@pytest.mark.parametrize("form", ["WAV", "AIFF", "AU", "SVX"])
def test_a_file_from_a_pipe_is_read_to_its_end(tmp_path, form, length):
    data = encoded(tmp_path, form, seconds=0.5, subtype="PCM_16")
    order = "<I" if form == "WAV" else ">I"
    field = 8 if form == "AU" else data.index({"WAV": b"data", "AIFF": b"SSND", "SVX": b"BODY"}[form]) + 4
    edits = [(field, struct.pack(order, length))]
    if form == "AIFF":
        edits.append((data.index(b"COMM") + 10, bytes(4)))
    assert outcome(put(tmp_path / "a", data, *edits)) == 0.5
    assert len(read_waveform(tmp_path / "a", RATE, 0.1, 0.2).samples) == 8820


@pytest.mark.parametrize(("form", "field", "lengths"), [("CAF", 4, [-1]), ("W64", 16, [0, 2**63 - 1, -1])])
def test_a_64_bit_container_from_a_pipe_is_read_to_its_end(tmp_path, form, field, lengths):
    data = encoded(tmp_path, form, seconds=0.5, subtype="PCM_16")
    at = data.index(b"data") + field
    for length in lengths:
        stated = struct.pack(">q" if form == "CAF" else "<q", length)
        assert outcome(put(tmp_path / "a", data, (at, stated))) == 0.5


def test_an_aiff_of_sox_from_a_pipe_is_read_to_its_end(tmp_path):
    data = encoded(tmp_path, "AIFF", seconds=0.5, subtype="PCM_16")
    stated = struct.pack(">I", 0x7F000008)
    assert outcome(put(tmp_path / "a", data, (data.index(b"SSND") + 4, stated))) == 0.5


def test_an_empty_wav_with_chunks_after_its_audio_is_empty(tmp_path):
    data = encoded(tmp_path, "WAV", seconds=0.01, subtype="PCM_16")
    at = data.index(b"data")
    assert (
        outcome(put(tmp_path / "a.wav", data[:at] + b"data" + bytes(4) + b"LIST\x02\0\0\0ab")) == "contains no samples"
    )


@pytest.mark.parametrize(
    "form", ["WAV", "AIFF", "AU", "RF64", "W64", "CAF", "NIST", "VOC", "SVX", "AVR", "OGG", "FLAC"]
)
def test_half_a_file_fails(tmp_path, form):
    data = encoded(tmp_path, form, **({} if form == "OGG" else {"subtype": "PCM_16"}))
    whole, half = put(tmp_path / "whole", data), put(tmp_path / "half", data[: len(data) // 2])
    assert outcome(whole) == 3.0
    assert re.search("cut short" + ("|cannot be decoded" if form == "FLAC" else ""), outcome(half))


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8000, 16_000, 44_100, 48_000])
def test_an_mp3_without_a_frame_count_has_the_samples_of_its_frames(tmp_path, rate, channels):
    samples = np.concatenate([noise(4 * rate, channels=channels), np.zeros_like(noise(6 * rate, channels=channels))])
    whole = tmp_path / "whole.mp3"
    sf.write(whole, samples, rate, format="MP3", bitrate_mode="VARIABLE")
    data = whole.read_bytes()
    second = data.index(data[:2], 4)
    path = put(tmp_path / "piped.mp3", data[second:])
    assert outcome(path) == pytest.approx(10, abs=0.1)
    decoded, expected = read_waveform(path, None).samples, read_waveform(whole, None).samples
    best = min(range(3000), key=lambda lag: np.abs(decoded[lag : lag + 2000] - expected[:2000]).max())
    np.testing.assert_allclose(decoded[best : best + 3 * rate], expected[: 3 * rate], atol=1e-4)


@pytest.mark.parametrize("flags", [0, 2])
def test_an_mp3_whose_info_frame_states_no_count_is_counted(tmp_path, flags):
    data = encoded(tmp_path, "MP3", seconds=6, bitrate_mode="VARIABLE")
    at = max(data[:200].find(b"Xing"), data[:200].find(b"Info"))
    assert outcome(put(tmp_path / "a.mp3", data, (at + 4, struct.pack(">I", flags)))) == pytest.approx(6, abs=0.1)


@pytest.mark.parametrize("stated", [10, 0xFFFFFFFF])
def test_an_mp3_with_a_wrong_frame_count(tmp_path, stated):
    data = encoded(tmp_path, "MP3", seconds=6)
    at = max(data[:200].find(b"Xing"), data[:200].find(b"Info")) + 8
    got = outcome(put(tmp_path / "a.mp3", data, (at, struct.pack(">I", stated))))
    assert "cut short" in got if stated > 10 else got == pytest.approx(6, abs=0.1)


def test_joined_mp3s_with_tags_between_and_after_them(tmp_path):
    parts = [encoded(tmp_path, "MP3", seconds=seconds) for seconds in (3, 2)]
    id3 = b"ID3\x03\0\0\0\0\x02\x00" + bytes(range(256))
    path = put(tmp_path / "a.mp3", id3 + parts[0] + b"TAG" + b"x" * 125 + id3 + parts[1] + b"TAG" + b"x" * 125)
    assert outcome(path) == pytest.approx(5, abs=0.12)


def test_joined_mp3s_of_different_rates_fail(tmp_path):
    first = encoded(tmp_path, "MP3")
    sf.write(tmp_path / "other.mp3", noise(96_000), 48_000)
    path = put(tmp_path / "a.mp3", first + (tmp_path / "other.mp3").read_bytes())
    assert "changes its sample rate" in outcome(path)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_chained_ogg_fails_and_says_so(tmp_path, subtype):
    sf.write(tmp_path / "one.ogg", noise(96_000), 48_000, format="OGG", subtype=subtype)
    one = (tmp_path / "one.ogg").read_bytes()
    assert outcome(put(tmp_path / "a.ogg", one)) == 2.0
    assert "2 joined Ogg streams" in outcome(put(tmp_path / "b.ogg", one + one))


@pytest.mark.parametrize("tag", [b"", b"ID3\x03\0\0\0\0\x02\x00" + bytes(256)])
def test_a_flac_of_unknown_length_is_counted(tmp_path, tag):
    data = bytearray(encoded(tmp_path, "FLAC"))
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    path = put(tmp_path / "a.flac", tag + data)
    assert outcome(path) == 3.0
    np.testing.assert_array_equal(
        read_waveform(path, None, 1.5, 0.5).samples, read_waveform(path, None).samples[66_150:88_200]
    )


def test_a_flac_that_announces_too_much_fails_before_it_is_decoded(tmp_path):
    data = encoded(tmp_path, "FLAC")
    path = put(tmp_path / "a.flac", data, (21, bytes([data[21] | 0x0F]) + b"\xff" * 4))
    with pytest.raises(AudioError, match=r"cut short|cannot be decoded|cannot hold"):
        probe(path)


def test_gsm_is_read_with_its_segments(tmp_path):
    path = tmp_path / "a.wav"
    sf.write(path, 0.3 * np.sin(np.arange(16_000) / 5), 8000, subtype="GSM610")
    assert outcome(path) == pytest.approx(2, abs=0.05)
    np.testing.assert_array_equal(
        read_waveform(path, None, 1.0, 0.5).samples, read_waveform(path, None).samples[8000:12_000]
    )


@pytest.mark.parametrize("rate", [1, 49, 2**31 - 1])
def test_an_implausible_sample_rate_fails(tmp_path, rate):
    data = encoded(tmp_path, "WAV", seconds=0.1, subtype="PCM_16")
    path = put(tmp_path / "a.wav", data, (24, struct.pack("<II", rate, min(2 * rate, 2**32 - 1))))
    assert re.search("implausible sample rate|cannot be decoded", outcome(path))


def test_many_channels_are_decoded_piece_by_piece(tmp_path, monkeypatch):
    path = tmp_path / "a.wav"
    sf.write(path, noise(2000, channels=64), 8000, subtype="FLOAT")
    whole = read_waveform(path, None).samples
    monkeypatch.setattr("features.audio.file.PIECE_VALUES", 64 * 300)
    np.testing.assert_array_equal(read_waveform(path, None).samples, whole)
