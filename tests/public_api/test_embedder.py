"""`Embedder` as a scikit-learn transformer: values, cache, errors, and scikit-learn's own checks."""

import pickle
from unittest import SkipTest

import numpy as np
import pytest
import soundfile as sf
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import estimator_checks_generator

import audioheads as ah
from features import backbones
from features.errors import AudioError, ConfigError, WeightsError
from features.manifest import Manifest

RATE = 16_000


@pytest.fixture(scope="module")
def waves():
    rng = np.random.default_rng(0)
    return [rng.uniform(-0.5, 0.5, length).astype(np.float32) for length in (4000, 9000, 6000)]


@pytest.fixture
def files(waves, tmp_path):
    paths = [tmp_path / f"{at}.wav" for at in range(len(waves))]
    for path, wave in zip(paths, waves, strict=True):
        sf.write(path, wave, RATE, "FLOAT")
    return paths


def test_vectors_are_the_pooled_frames_of_the_backbone(waves):
    backbone = backbones.load({"name": "mfcc"})
    given = [(backbone.spec.sample_rate, wave) for wave in waves]
    found = ah.Embedder("mfcc", pooling=["std", "mean"]).fit_transform(given)
    frames = [one[-1] for one in backbone.embed(waves)]
    expected = [np.concatenate([one.mean(0), one.std(0)]) for one in frames]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert found.dtype == np.float32


def test_files_and_waveforms_give_the_same_vectors_in_the_order_given(files, waves, tmp_path):
    embedder = ah.Embedder("mfcc", cache=tmp_path / "cache")
    expected = embedder.transform(files)
    np.testing.assert_array_equal(embedder.transform([(RATE, wave) for wave in waves]), expected)
    np.testing.assert_array_equal(embedder.transform([files[2], files[0], files[2]]), expected[[2, 0, 2]])
    np.testing.assert_array_equal(embedder.transform(str(files[1])), expected[[1]])
    assert embedder.transform([]).shape == (0, expected.shape[1])


def test_weights_of_another_preset_are_refused(waves, tmp_path):
    (tmp_path / "BEATs_iter3.pt").write_bytes(b"weights")
    embedder = ah.Embedder({"name": "beats-iter1", "weights": str(tmp_path / "BEATs_iter3.pt")})
    with pytest.raises(WeightsError, match="has the name of the weights of beats-iter3"):
        embedder.transform([(RATE, waves[0])])


def test_cached_recordings_are_not_embedded_again(files, waves, tmp_path, monkeypatch):
    embedder = ah.Embedder("mfcc", cache=tmp_path / "cache")
    given = [*files, (RATE, waves[0][:3000])]
    expected = embedder.transform(given)
    monkeypatch.setattr(backbones, "load", lambda *given, **more: pytest.fail("the backbone was loaded"))
    np.testing.assert_array_equal(clone(embedder).transform(given[::-1]), expected[::-1])
    with pytest.raises(pytest.fail.Exception, match="loaded"):
        ah.Embedder("mfcc").transform(files)


def test_waveforms_leave_no_digests_of_temporary_files_behind(files, waves, tmp_path):
    embedder = ah.Embedder("mfcc", cache=tmp_path / "cache")
    embedder.transform([(RATE, wave) for wave in waves])
    assert [*(tmp_path / "cache").rglob("*.parquet")] == []
    embedder.transform(files)
    assert len([*(tmp_path / "cache").rglob("*.parquet")]) == 1


def test_segments_of_a_manifest(files, tmp_path):
    import pandas as pd

    rows = {"id": ["a", "b"], "path": [files[1].name] * 2, "label": "x", "start_s": [0.0, 0.25], "duration_s": 0.25}
    manifest = Manifest("segments", tmp_path, pd.DataFrame(rows))
    wave = sf.read(files[1], dtype="float32")[0]
    found = ah.Embedder("mfcc").transform(manifest)
    expected = ah.Embedder("mfcc").transform([(RATE, wave[:4000]), (RATE, wave[4000:8000])])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_layer_of_a_network():
    entry = {"name": "wav2vec2", "weights": "random", "size": "tiny"}
    wave = np.random.default_rng(1).uniform(-0.5, 0.5, RATE).astype(np.float32)
    frames = backbones.load(entry).embed([wave])[0]
    for layer, position in ((0, 0), (1, 1), (-1, len(frames) - 1)):
        found = ah.Embedder(entry, pooling="mean", layer=layer).transform((RATE, wave))
        np.testing.assert_allclose(found[0], frames[position].mean(0), atol=1e-5)


def test_a_pipeline_is_cross_validated_with_groups(sounds, tmp_path):
    files = sorted(map(str, sounds.rglob("*.wav")))
    labels = [file.split("/")[-2] for file in files]
    model = make_pipeline(ah.Embedder("mfcc", cache=tmp_path), LogisticRegression(max_iter=2000))
    scores = cross_val_score(model, files, labels, groups=np.arange(len(files)) % 4, cv=GroupKFold(4))
    assert scores.mean() == 1.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": "mffc"}, "unknown backbone 'mffc': did you mean 'mfcc'"),
        ({"backbone": 3}, "backbone should be a name or an entry"),
        ({"pooling": "median"}, "pooling should be one or several of mean, std, max"),
        ({"pooling": ()}, "pooling should be"),
        ({"layer": 7}, "layer 7: mfcc has the layers 0 to 0"),
    ],
)
def test_invalid_parameters_are_named_when_used(options, message):
    embedder = ah.Embedder(**{"backbone": "mfcc", **options})
    for use in (embedder.fit, embedder.transform):
        with pytest.raises(ConfigError, match=message):
            use([(RATE, np.zeros(RATE, np.float32))])


def test_unreadable_recordings_are_named(files, tmp_path):
    (tmp_path / "text.wav").write_text("no audio")
    for name, reason in (("nowhere.wav", "file not found"), ("text.wav", "")):
        with pytest.raises(AudioError, match=rf"{name}: {reason}"):
            ah.Embedder("mfcc").transform([files[0], tmp_path / name])


def test_names_of_the_columns():
    names = ah.Embedder("mfcc").get_feature_names_out()
    assert len(names) == 106
    assert (names[0], names[-1]) == ("mfcc_mean_0", "mfcc_std_52")


def test_parameters_clone_and_pickle(files):
    embedder = ah.Embedder({"name": "mfcc"}, pooling=("mean",), sample_rate=8000)
    expected = embedder.transform(files)
    for copied in (clone(embedder), pickle.loads(pickle.dumps(embedder))):
        assert copied.get_params() == embedder.get_params()
        np.testing.assert_array_equal(copied.transform(files), expected)
    assert embedder.set_params(layer=0).layer == 0


@pytest.mark.thorough
def test_checks_of_scikit_learn():
    failed = {}
    for estimator, check in estimator_checks_generator(ah.Embedder("mfcc", sample_rate=RATE)):
        try:
            check(estimator)
        except SkipTest:  # needs an environment variable
            continue
        except Exception as error:
            failed[check.func.__name__] = f"{type(error).__name__}: {error}"
    assert failed == {}
