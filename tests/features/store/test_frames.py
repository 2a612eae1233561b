"""Stored frames of many clips: in memory or from the file, joined by id."""

import numpy as np
import pytest

from features.backbones import describe, load
from features.errors import CacheError
from features.store.frames import ClipFrames
from features.store.table import open_table
from tests.features.toys import NAMES, RATE, noise


def cached(corpus, entry, *names):
    spec = describe(entry)
    corpus.backbone = lambda spec: load(entry)
    return open_table(corpus.run(corpus.manifest(*names), spec, pooling=("frames",)).path)


@pytest.mark.parametrize("memory_bytes", [None, 0], ids=["memory", "file"])
def test_frames_are_found_by_id_and_equal_those_of_the_table(seven, memory_bytes):
    table = cached(seven, {"name": "logmel", "sample_rate_hz": RATE, "n_fft": 256, "hop_length": 100}, *NAMES)
    asked = [NAMES[4], NAMES[0], NAMES[2]]
    with ClipFrames(table, asked, memory_bytes=memory_bytes) as frames:
        assert frames.in_memory == (memory_bytes is None)
        assert (len(frames), frames.dim) == (3, 128)
        for at, clip in enumerate(asked):
            whole = table.frames(clip)[:, 0]
            assert frames.lengths[at] == len(whole)
            np.testing.assert_array_equal(frames.read(at), whole)
            np.testing.assert_array_equal(frames.read(at, 2, 5), whole[2:5])
            np.testing.assert_array_equal(frames.read(at, 2, 10_000), whole[2:])


def test_a_waveform_is_cached_as_it_is_across_windows(corpus):
    samples = noise(25 * RATE, 3)
    corpus.write("long.wav", samples, subtype="FLOAT")
    corpus.write("short.wav", samples[:100], subtype="FLOAT")
    entry = {"name": "waveform", "sample_rate_hz": RATE, "max_duration_s": 10}
    table = cached(corpus, entry, "long.wav", "short.wav")
    frames = ClipFrames(table, ["short.wav", "long.wav"])
    np.testing.assert_array_equal(frames.read(0)[:, 0], samples[:100])
    np.testing.assert_array_equal(frames.read(1)[:, 0], samples)


def test_log_mels_of_a_long_clip_share_one_time_grid(corpus):
    samples, hop = noise(25 * RATE, 3), 100
    corpus.write("long.wav", samples, subtype="FLOAT")
    options = {"name": "logmel", "sample_rate_hz": RATE, "n_fft": 256, "hop_length": hop, "n_mels": 16}
    windowed = cached(corpus, {**options, "max_duration_s": 10}, "long.wav").frames("long.wav")[:, 0]
    at_once = load(options).embed([samples])[0][0]
    assert windowed.shape == at_once.shape == (len(samples) // hop, 16)
    differs = np.flatnonzero(np.abs(windowed - at_once).max(axis=1) > 1e-3)
    joints = 10 * RATE // hop * np.arange(1, 3)
    assert 0 < len(differs) <= 4 * len(joints)
    assert np.abs(differs[:, None] - joints).min(axis=1).max() <= 2


def test_missing_frames_are_an_error(seven):
    table = cached(seven, {"name": "waveform", "sample_rate_hz": RATE}, *NAMES[:2])
    with pytest.raises(CacheError, match="1 clip"):
        ClipFrames(table, [NAMES[0], NAMES[5]])
    with pytest.raises(CacheError, match="changed"):
        ClipFrames(table, [NAMES[0]], ["another key"])
    pooled = open_table(seven.run(seven.manifest(*NAMES[:2])).path)
    with pytest.raises(CacheError, match="holds no frames"):
        ClipFrames(pooled, [NAMES[0]])
