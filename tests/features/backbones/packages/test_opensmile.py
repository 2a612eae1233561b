"""openSMILE's feature sets equal the package's own calls, bit for bit, and a missing package is one line."""

import sys

import numpy as np
import pytest

from features.backbones import describe, get_record, load
from features.errors import WeightsError

RATE = 16_000
SETS = {"egemaps": "eGeMAPSv02", "compare2016": "ComParE_2016"}


def by_opensmile(feature_set, clip, rate=RATE):
    """(D,) functionals of a clip by the documented call of the package."""
    opensmile = pytest.importorskip("opensmile", reason="opensmile is not installed")
    smile = opensmile.Smile(
        feature_set=opensmile.FeatureSet[feature_set], feature_level=opensmile.FeatureLevel.Functionals
    )
    return smile.process_signal(clip, rate)


@pytest.mark.parametrize("name", SETS)
def test_a_clip_has_the_packages_own_values(name, make_clips):
    clips = [*make_clips(960, RATE, 3 * RATE + 77), np.zeros(RATE, np.float32)]
    expected = [by_opensmile(SETS[name], clip) for clip in clips]
    backbone = load({"name": name})
    for clip, values in zip(backbone.embed(clips), expected, strict=True):
        np.testing.assert_array_equal(clip[0], values.to_numpy())
    assert backbone.spec.dim == len(expected[0].columns) == get_record(name).dim


def test_the_first_feature_is_the_pitch_in_semitones():
    tone = np.sin(2 * np.pi * 220 * np.arange(RATE) / RATE).astype(np.float32)
    semitones = by_opensmile("eGeMAPSv02", tone)["F0semitoneFrom27.5Hz_sma3nz_amean"].item()
    assert semitones == pytest.approx(36, abs=0.1)  # three octaves above 27.5 Hz
    assert load({"name": "egemaps"}).embed([tone])[0][0, 0, 0] == np.float32(semitones)


@pytest.mark.parametrize("rate", [22_050, 44_100, 48_000])
def test_the_shortest_clip_has_values_at_other_rates(rate, make_clips):
    pytest.importorskip("opensmile", reason="opensmile is not installed")
    backbone = load({"name": "egemaps", "sample_rate_hz": rate})
    (frames,) = backbone.embed(make_clips(backbone.spec.min_samples))
    assert np.isfinite(frames).all()
    (clip,) = make_clips(rate)
    np.testing.assert_array_equal(backbone.embed([clip])[0][0], by_opensmile("eGeMAPSv02", clip, rate).to_numpy())


def test_without_the_package_one_line_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "opensmile", None)
    assert describe({"name": "egemaps"}).dim == 88
    message = r"^egemaps: opensmile is not installed; pip install 'audioheads\[opensmile\]'$"
    with pytest.raises(WeightsError, match=message):
        load({"name": "egemaps"})
