"""Segments equal slices of the decoded file, and a file is decoded once for all its segments."""

import os
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf

from features.audio import file as audio_file
from features.audio.decoded_cache import DecodedFiles
from features.audio.decoding import read_waveform, stream_windows
from features.errors import AudioError
from features.manifest import Manifest
from features.planning import ordering as locality
from features.planning.ordering import Extent, computing_order
from features.records import Records
from tests.features.toys import noise, rows_of, toy_spec

RATE = 44_100
SECONDS = 12
CODECS = {
    "wav": {},
    "flac": {},
    "aiff": {},
    "mp3": {"format": "MP3", "subtype": "MPEG_LAYER_III", "bitrate_mode": "CONSTANT", "compression_level": 0.9},
    "ogg": {"format": "OGG", "subtype": "VORBIS"},
    "opus": {"format": "OGG", "subtype": "OPUS"},
}


def bursts():
    """Noise and silence by turns: an MP3 saves up bits in silence, which makes entering it elsewhere go wrong."""
    return noise(RATE * SECONDS, 5) * (np.arange(RATE * SECONDS) // 15_000 % 3 == 0)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("codecs")
    for suffix, options in CODECS.items():
        rate = 48_000 if suffix == "opus" else RATE
        with sf.SoundFile(folder / f"x.{suffix}", "w", rate, 1, **options) as file:
            for at in range(0, RATE * SECONDS, 50_000):
                file.write(bursts()[at : at + 50_000])
    return folder


@pytest.fixture
def decodings(monkeypatch):
    """Frames that libsndfile decoded, by file."""
    counted = {}

    def read(file, start, stop, right=audio_file._read):
        name = Path(file.name).name
        counted[name] = counted.get(name, 0) + stop - start
        return right(file, start, stop)

    monkeypatch.setattr(audio_file, "_read", read)
    return counted


@pytest.mark.parametrize("suffix", CODECS)
def test_a_segment_is_exactly_what_cutting_the_decoded_file_gives(files, suffix):
    path = files / f"x.{suffix}"
    with sf.SoundFile(path) as file:
        rate, whole = file.samplerate, file.read(dtype="float32")
    random = np.random.default_rng(0)
    starts = [0, *random.integers(0, len(whole) - 3000, 40), len(whole) - 3000]  # Vorbis goes wrong near the end
    with DecodedFiles() as kept:
        for start in starts:
            for use in (kept, None) if start % 4 == 0 else (kept,):
                cut = read_waveform(path, rate, start / rate, 3000 / rate, use).samples
                np.testing.assert_array_equal(cut, whole[start : start + 3000])


@pytest.mark.parametrize("suffix", ["wav", "mp3", "ogg"])
@pytest.mark.parametrize("kept", [False, True])
def test_a_long_segment_streams_the_same_samples(files, suffix, kept, monkeypatch):
    monkeypatch.setattr(audio_file, "STREAM_FRAMES", 10_000)
    path = files / f"x.{suffix}"
    with DecodedFiles() as files_kept:
        at_once = read_waveform(path, RATE, 2.5, 7.25).samples
        windows = list(stream_windows(path, RATE, 50_000, 2.5, 7.25, decoded=files_kept if kept else None))
    np.testing.assert_array_equal(np.concatenate(windows), at_once)


def run(corpus, files, names, starts, durations, **settings):
    ids = [f"{name}@{start}+{duration}" for name, start, duration in zip(names, starts, durations, strict=True)]
    clips = {"id": ids, "path": names, "label": "a", "start_s": starts, "duration_s": durations}
    return corpus.run(Manifest("birds", files, pd.DataFrame(clips)), toy_spec(), **settings)


def test_many_segments_decode_an_mp3_once_and_read_only_their_part_of_a_wav(corpus, files, decodings):
    starts = [float(start) for start in range(11)]
    durations = [0.3 + 0.05 * n for n in range(11)]
    summary = run(corpus, files, ["x.mp3"] * 11 + ["x.wav"] * 11, starts * 2, durations * 2, batch_s=2.0, workers=3)
    assert (summary.computed, summary.failures) == (22, {})
    assert decodings["x.mp3"] == pytest.approx((10 + durations[-1]) * RATE, abs=2)
    assert decodings["x.wav"] == pytest.approx(sum(durations) * RATE, abs=22)
    assert len(rows_of(summary.path)) == 22


def test_long_segments_decode_an_mp3_once(corpus, files, decodings):
    summary = run(corpus, files, ["x.mp3"] * 3, [0.5, 1.0, 0.0], [11.0, 10.5, 10.1])
    assert summary.computed == 3
    assert decodings["x.mp3"] == pytest.approx(11.5 * RATE, abs=2)


def test_a_changed_file_is_decoded_again(tmp_path):
    path = tmp_path / "x.ogg"
    with DecodedFiles() as kept:
        for seed in range(2):
            sf.write(path, noise(RATE, seed), RATE)
            os.utime(path, ns=(seed + 1, seed + 1))
            whole = sf.read(path, dtype="float32")[0]
            np.testing.assert_array_equal(read_waveform(path, RATE, 0.25, 0.5, kept).samples, whole[11_025:33_075])


def test_the_least_recently_used_file_is_removed_first_and_decoded_again(files, decodings):
    with DecodedFiles(most_bytes=RATE * 4) as kept:
        for name in ("x.mp3", "x.ogg", "x.mp3"):
            read_waveform(files / name, RATE, 0.5, 0.5, kept)
        assert decodings == {"x.mp3": 2 * RATE, "x.ogg": RATE}
    with DecodedFiles() as kept:
        for name in ("x.mp3", "x.ogg", "x.mp3"):
            read_waveform(files / name, RATE, 0.5, 0.5, kept)
        assert decodings == {"x.mp3": 3 * RATE, "x.ogg": 2 * RATE}


def test_without_room_for_temporary_files_segments_are_decoded_one_by_one(files, monkeypatch):
    def refuse(**options):
        raise OSError("no space left")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    whole = sf.read(files / "x.mp3", dtype="float32")[0]
    with DecodedFiles() as kept:
        for start in (3, 1):
            cut = read_waveform(files / "x.mp3", RATE, start, 0.5, kept).samples
            np.testing.assert_array_equal(cut, whole[start * RATE : start * RATE + RATE // 2])


def test_a_file_cut_short_fails_in_each_segment_beyond_and_only_there(files, tmp_path):
    short = tmp_path / "short.mp3"
    data = (files / "x.mp3").read_bytes()
    short.write_bytes(data[: len(data) // 2])
    with DecodedFiles() as kept:
        for start, good in ((1.0, True), (9.0, False), (2.0, True), (10.0, False)):
            if good:
                assert len(read_waveform(short, RATE, start, 0.5, kept).samples) == RATE // 2
            else:
                with pytest.raises(AudioError, match=r"cut short|outside the file"):
                    read_waveform(short, RATE, start, 0.5, kept)


def extents(names, seconds, segment=True):
    numbered = enumerate(zip(names, seconds, strict=True))
    clips = (Extent(f"{n}-{name}", name, round(s * RATE), RATE * 60, segment) for n, (name, s) in numbered)
    return Records.of(Extent, clips)


def test_clips_are_ordered_by_length_across_files():
    clips = extents(["b.wav", "a.wav", "b.wav", "a.mp3"], [1, 2, 3, 4], segment=False)
    assert computing_order(clips).tolist() == [3, 2, 1, 0]
    assert computing_order(extents(["b.wav", "a.wav", "b.wav"], [1, 2, 3])).tolist() == [2, 1, 0]


def test_segments_of_files_decoded_from_their_start_stay_together_in_groups_that_fit(monkeypatch):
    monkeypatch.setattr(locality, "GROUP_BYTES", 2 * 60 * RATE * 4)
    names = [f"{n % 6}.mp3" for n in range(24)] + ["long.wav"]
    clips = extents(names, [*range(1, 25), 30])
    order = computing_order(clips).tolist()
    assert order[0] == 24
    groups = [order[1 + 8 * n : 9 + 8 * n] for n in range(3)]
    assert [{names[at] for at in group} for group in groups] == [
        {"0.mp3", "1.mp3"},
        {"2.mp3", "3.mp3"},
        {"4.mp3", "5.mp3"},
    ]
    for group in groups:
        assert group == sorted(group, key=lambda at: -clips[at].n_samples)
