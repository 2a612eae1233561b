"""Windows: with overlap, frames equal those of the whole clip; without overlap, windows are concatenated."""

import numpy as np
import pytest
import torch

from features.audio.decoding import read_waveform, stream_windows
from features.backbones import describe, load
from features.errors import ConfigError
from features.planning.windows import Windows
from features.pooling import Frames
from features.store.verify import verify_table
from tests.features.toys import RATE, Toy, noise, rows_of, toy_spec

LOGMEL = {"name": "logmel", "sample_rate_hz": RATE, "n_fft": 256, "hop_length": 100, "n_mels": 16}
MFCC = {"name": "mfcc"}
WAV2VEC2 = {"name": "wav2vec2", "weights": "random", "size": "tiny"}


def cached(corpus, entry, overlap_s, pooling=("frames",)):
    """Return stage 1's output for a clip of several windows: its frames (F, L, D), or a pooled vector."""
    spec = describe({**entry, "max_duration_s": 10.0})
    corpus.backbone = lambda spec: load({**entry, "max_duration_s": 10.0}, spec=spec)
    path = corpus.run(corpus.manifest("long.wav"), spec, pooling=pooling, window_overlap_s=overlap_s).path
    table = verify_table(path)
    return table.frames("long.wav") if "frames" in pooling else rows_of(path)["long.wav"]


@pytest.mark.parametrize(("entry", "tolerance"), [(LOGMEL, 1e-5), (MFCC, 3e-3)], ids=["logmel", "mfcc"])
def test_with_an_overlap_longer_than_a_frames_reach_frames_are_those_of_the_clip_at_once(corpus, entry, tolerance):
    samples = noise(27 * RATE, 3)
    corpus.write("long.wav", samples, subtype="FLOAT")
    backbone = load({**entry, "max_duration_s": 60.0})
    at_once = backbone.embed([read_waveform(corpus.root / "long.wav", backbone.spec.sample_rate).samples])[0]
    at_once = at_once.transpose(1, 0, 2)  # [F, L, D]
    windowed = cached(corpus, entry, 2.0)
    assert windowed.shape == at_once.shape
    error = np.linalg.norm(windowed - at_once)
    assert error <= tolerance * np.linalg.norm(at_once)  # MFCC are cut 80 dB below the window's loudest
    joined = cached(corpus, entry, 0.0)
    n = min(len(joined), len(at_once))
    assert np.linalg.norm(joined[:n] - at_once[:n]) > 3 * error
    mean = cached(corpus, entry, 2.0, ("mean",))
    np.testing.assert_allclose(mean, windowed.mean(axis=0), rtol=1e-4, atol=1e-4)


def test_a_transformers_clip_in_overlapping_windows_has_as_many_frames_as_at_once(corpus):
    corpus.write("long.wav", noise(33 * 16_000, 3), 16_000)
    at_once = load({**WAV2VEC2, "max_duration_s": 60.0}).embed([noise(33 * 16_000, 3)])[0]
    assert len(cached(corpus, WAV2VEC2, 1.0)) == at_once.shape[1]
    assert len(cached(corpus, WAV2VEC2, 0.0)) == at_once.shape[1] - 3  # one is lost between windows


def test_no_overlap_is_every_frame_of_windows_one_after_the_other(corpus):
    corpus.write("long.wav", noise(27 * RATE, 3), subtype="FLOAT")
    corpus.backbone = Toy
    path = corpus.run(corpus.manifest("long.wav"), pooling=("frames",)).path
    expected = Toy(toy_spec()).embed([noise(27 * RATE, 3)])[0].transpose(1, 0, 2)
    np.testing.assert_array_equal(verify_table(path).frames("long.wav"), expected)


def test_an_overlap_makes_another_cache_file(corpus):
    assert corpus.file(window_overlap_s=0.0) == corpus.file()
    assert len({corpus.file(), corpus.file(window_overlap_s=1.0), corpus.file(window_overlap_s=2.0)}) == 3


@pytest.mark.parametrize("overlap_s", [5.1, 10.0, -1.0])
def test_more_than_half_a_window_is_an_error(corpus, overlap_s):
    with pytest.raises(ConfigError, match=rf"window_overlap_s: {overlap_s:g} s .*windows of 10 s"):
        corpus.file(window_overlap_s=overlap_s)


@pytest.mark.parametrize("hop", [400, 999, 1000])
@pytest.mark.parametrize("n", [1, 999, 1000, 1001, 1400, 5000, 5321])
def test_windows_cover_the_clip_and_the_last_one_reaches_beyond_the_overlap(corpus, hop, n):
    path = corpus.write("x.wav", noise(n, 1), subtype="FLOAT")
    windows = list(stream_windows(path, RATE, 1000, hop_samples=hop))
    for number, window in enumerate(windows):
        np.testing.assert_array_equal(window, noise(n, 1)[number * hop : number * hop + 1000])
    assert (len(windows) - 1) * hop + len(windows[-1]) == n
    assert all(len(window) == 1000 for window in windows[:-1])
    assert len(windows) == 1 or len(windows[-1]) > 1000 - hop


@pytest.mark.parametrize("overlap_s", [0.01, 0.3, 1.0, 3.3, 5.0])
@pytest.mark.parametrize("seconds", [10.01, 19.7, 34.5])
def test_kept_frames_are_each_frame_of_the_clip_once(overlap_s, seconds):
    spec = toy_spec()
    windows = Windows.of(spec, overlap_s)
    assert (spec.max_samples - windows.hop_samples) / RATE >= overlap_s
    total = int(seconds * RATE) // 80
    starts = [0]
    while starts[-1] + windows.samples < int(seconds * RATE):
        starts.append(starts[-1] + windows.hop_samples)
    kept = []
    for at, start in enumerate(starts):
        grid = torch.arange(start // 80, min(start + windows.samples, int(seconds * RATE)) // 80)
        frames = Frames(grid[None, None, :, None], torch.tensor([len(grid)]), grid[None].float())
        part = windows.keep(frames, first=at == 0, last=at == len(starts) - 1)
        if part is not None:
            assert part.values.shape[2] == int(part.lengths[0])
            assert part.weights is not None
            assert part.weights[0].tolist() == part.values.flatten().tolist()
            kept += part.values.flatten().tolist()
    assert kept == list(range(total))
