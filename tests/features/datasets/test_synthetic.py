"""Synthetic sounds: reproducible, extensible without changes, valid files, hard but learnable."""

import wave

import numpy as np
import pytest

from features.datasets import load_manifest
from features.datasets.synthesis.sounds import SOUNDS, scene
from features.errors import ManifestError


def make(root, **options):
    return load_manifest({"kind": "synthetic", "root": root, "clips_per_class": 2, **options})


def contents(manifest):
    return {clip: manifest.path_of(row).read_bytes() for row, clip in enumerate(manifest.clips["id"])}


def read(path):
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768, file.getframerate()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make(tmp_path_factory.mktemp("synthetic"), clips_per_class=10)


def test_twelve_classes_or_more_in_five_balanced_folds(made):
    assert len(made.labels) >= 12
    counts = made.clips.groupby(["label", "fold"]).size()
    assert counts.index.get_level_values("fold").unique().tolist() == [1, 2, 3, 4, 5]
    assert set(counts) == {2}


def test_files_have_the_promised_rate_and_lengths_and_do_not_clip(made):
    lengths = []
    for row in range(len(made)):
        samples, rate = read(made.path_of(row))
        assert rate == 16000
        assert 0.01 < np.abs(samples).max() < 0.95
        lengths.append(samples.size / rate)
    assert min(lengths) >= 0.5
    assert max(lengths) <= 4.0
    assert max(lengths) > 3 * min(lengths)


def test_every_clip_differs(made):
    assert len(set(contents(made).values())) == len(made)


def test_the_same_again_elsewhere(made, tmp_path):
    again = make(tmp_path, clips_per_class=10)
    assert contents(again) == contents(made)


def test_fewer_clips_or_classes_are_a_part_of_more(made, tmp_path):
    fewer = contents(make(tmp_path, clips_per_class=3, classes=["siren", "crackle"]))
    assert len(fewer) == 6
    assert fewer.items() <= contents(made).items()


def test_files_already_there_are_left_alone_and_damaged_ones_replaced(tmp_path):
    first = make(tmp_path)
    before = contents(first)
    times = {path: path.stat().st_mtime_ns for path in map(first.path_of, range(len(first)))}
    cut, gone = first.path_of(0), first.path_of(1)
    cut.write_bytes(cut.read_bytes()[:1000])
    gone.unlink()
    assert contents(make(tmp_path)) == before
    assert all(path.stat().st_mtime_ns == time for path, time in times.items() if path not in (cut, gone))
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} == {".wav"}


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"sample_rate_hz": 8000}, {"max_duration_s": 1.0}, {"max_snr_db": 10.0}], ids=str
)
def test_other_options_leave_the_old_files_as_they_are(tmp_path, change):
    first = make(tmp_path, classes=["siren"])
    before = contents(first)
    other = contents(make(tmp_path, classes=["siren"], **change))
    assert contents(first) == before
    assert not set(other) & set(before)
    assert not set(other.values()) & set(before.values())


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(ManifestError, match="cannot write the clips"):
        make(tmp_path / "taken")


@pytest.mark.parametrize("rate", [8000, 48000])
@pytest.mark.parametrize("name", SOUNDS)
def test_sounds_are_pure_finite_and_as_long_as_asked(name, rate):
    for n in (800, 12345):
        one, two = (scene(np.random.default_rng(5), SOUNDS[name], n, rate, (0.0, 20.0)) for _ in range(2))
        assert one.shape == (n,)
        assert one.dtype == np.float32
        np.testing.assert_array_equal(one, two)
        assert 0 < np.abs(one).max() < 1
        assert np.isfinite(one).all()


def test_the_noise_level_is_as_asked():
    rng = np.random.default_rng
    noisy, clean = (scene(rng(3), SOUNDS["sustained_tone"], 32000, 16000, (db, db)) for db in (0.0, 40.0))
    peaks = [
        np.sort(np.abs(np.fft.rfft(clip)) ** 2)[-50:].sum() / (np.abs(np.fft.rfft(clip)) ** 2).sum()
        for clip in (noisy, clean)
    ]
    assert peaks[0] < 0.8 < 0.95 < peaks[1]


@pytest.mark.slow
def test_handcrafted_features_learn_most_but_not_all(tmp_path):
    librosa = pytest.importorskip("librosa")
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import LeaveOneGroupOut, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    manifest = make(tmp_path, clips_per_class=25)
    features = []
    for row in range(len(manifest)):
        samples, rate = read(manifest.path_of(row))
        mfcc = librosa.feature.mfcc(y=samples, sr=rate, n_mfcc=20)
        features.append(np.concatenate([mfcc.mean(axis=1), mfcc.std(axis=1)]))
    labels, folds = (manifest.clips[column].to_numpy() for column in ("label", "fold"))
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=3000))
    accuracy = cross_val_score(
        model, np.array(features), labels.astype(str), groups=folds, cv=LeaveOneGroupOut()
    ).mean()
    assert 0.7 < accuracy < 0.9
