"""The handcrafted control is librosa's own calls, in the documented order."""

import librosa
import numpy as np
import pytest

from features.backbones import load

RATE, N_FFT, HOP = 22_050, 2048, 512


def by_librosa(clip):
    """(F, 53) from the waveform itself: nothing is shared between the calls."""
    same = {"y": clip, "sr": RATE, "n_fft": N_FFT, "hop_length": HOP}
    mfcc = librosa.feature.mfcc(**same, n_mfcc=20)
    rows = [
        mfcc,
        librosa.feature.delta(mfcc, mode="nearest"),
        librosa.feature.spectral_centroid(**same),
        librosa.feature.spectral_bandwidth(**same),
        librosa.feature.spectral_rolloff(**same),
        librosa.feature.spectral_flatness(y=clip, n_fft=N_FFT, hop_length=HOP),
        librosa.feature.zero_crossing_rate(clip, frame_length=N_FFT, hop_length=HOP),
        librosa.feature.rms(S=np.abs(librosa.stft(clip, n_fft=N_FFT, hop_length=HOP)), frame_length=N_FFT),
        librosa.feature.spectral_contrast(**same),
    ]
    return np.concatenate(rows).T


@pytest.mark.parametrize("samples", [N_FFT, 5_000, RATE, 2 * RATE + 300])
def test_rows_are_librosas_own(samples, make_clips):
    backbone = load({"name": "mfcc"})
    clips = make_clips(samples, 3 * RATE)
    frames = backbone.embed(clips)[0]
    expected = by_librosa(clips[0])
    assert frames.shape == (1, *expected.shape) == (1, 1 + samples // HOP, backbone.spec.dim)
    np.testing.assert_allclose(frames[0], expected, rtol=1e-4, atol=1e-4)


def test_known_sounds_land_in_the_documented_columns():
    time = np.arange(RATE) / RATE
    tone = (0.5 * np.sin(2 * np.pi * 1000 * time)).astype(np.float32)
    noise = np.random.default_rng(0).standard_normal(RATE).astype(np.float32) * 0.1
    (tone_rows,), (noise_rows,) = load({"name": "mfcc"}).embed([tone, noise])
    tone_mean, noise_mean = tone_rows[4:-4].mean(axis=0), noise_rows[4:-4].mean(axis=0)
    assert np.abs(tone_rows[8:-8, 20:40]).max() < 0.1  # deltas of a steady sound
    assert tone_mean[40] == pytest.approx(1000, rel=0.02)  # centroid, Hz
    assert tone_mean[41] < 500 < noise_mean[41]  # bandwidth, Hz
    assert tone_mean[42] == pytest.approx(1000, rel=0.05)  # roll-off, Hz
    assert tone_mean[43] < 0.01 < noise_mean[43]  # flatness
    assert tone_mean[44] == pytest.approx(2 * 1000 / RATE, rel=0.02)  # zero crossings a sample
    assert tone_mean[45] == pytest.approx(0.5 * (1 / 2 * 3 / 8) ** 0.5, rel=0.01)  # RMS under the Hann window
    assert tone_rows.shape[1] == 53  # 7 bands of contrast end the row
