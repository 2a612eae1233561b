"""`compare`, its results, `Predictor` and `open_cache` on a small corpus."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf

import audioheads as ah
from features.errors import AudioError, CacheError, ConfigError, ManifestError, UserError
from pipeline.stages import head_fits

MODEL = "runs/sounds/models/mfcc/linear"


@pytest.fixture
def at_home(sounds, results, monkeypatch):
    monkeypatch.chdir(sounds.parent)
    return sounds.parent


def test_the_table_has_the_models_best_first(results):
    assert results.table["model"].tolist() == ["mfcc", "majority"]
    assert results.best["model"] == "mfcc"
    assert results.best["accuracy"] == 1.0
    assert results.best["protocol"] == "kfold"
    assert "mfcc linear, accuracy 1.000" in repr(results)
    assert "<td>mfcc</td>" in results._repr_html_()


@pytest.mark.e2e
def test_the_report_is_the_page_of_the_command(results, at_home):
    page = results.report(at_home / "page")
    assert page == at_home / "page" / "index.html"
    assert page.read_text(encoding="utf-8").count("<h1") == 1
    written = pd.read_csv(page.parent / "results.csv", keep_default_na=False)
    assert written["accuracy"].tolist() == results.table["accuracy"].tolist()


def test_a_finished_comparison_is_not_computed_again(results, at_home, sounds, monkeypatch):
    monkeypatch.setattr(head_fits, "train_head", lambda *given, **more: pytest.fail("trained again"))
    again = ah.compare(sounds, heads=["linear"], cache=at_home / "cache", runs=at_home / "runs")
    pd.testing.assert_frame_equal(again.table, results.table)


def test_a_config_made_in_python_or_read_from_a_file(results, at_home):
    config = ah.load_config(results.run_dir / "config.yaml")
    assert ah.make_config(config.model_dump(mode="json")) == config
    for given in (config, str(results.run_dir / "config.yaml"), config.model_dump(mode="json")):
        pd.testing.assert_frame_equal(ah.compare(given).table, results.table)
    with pytest.raises(ConfigError, match="heads: given next to a config"):
        ah.compare(config, heads=["linear"])
    with pytest.raises(ConfigError, match="config: sedes: unknown key, did you mean 'seeds'"):
        ah.make_config({"dataset": {"kind": "folder", "root": "sounds"}, "sedes": [1]})


def test_a_data_frame_with_groups(at_home, sounds, tmp_path):
    files = sorted(sounds.rglob("*.wav"))
    frame = pd.DataFrame({"path": map(str, files), "label": [file.parent.name for file in files]})
    frame["group"] = [f"speaker {at % 4}" for at in range(len(files))]
    found = ah.compare(
        frame, heads=["linear"], name="speakers", seeds=[1], cache=at_home / "cache", runs=tmp_path / "runs"
    )
    assert found.best["protocol"] == "leave-one-group-out"
    assert found.best["n_groups"] == 4
    assert found.run_dir == tmp_path / "runs" / "speakers"


def test_manifests_of_folders_tables_and_frames(at_home, sounds):
    folder = ah.read_manifest(sounds)
    assert folder.labels == ["high", "low"]
    frame = folder.clips.assign(path=[str(sounds / path) for path in folder.clips["path"]])
    assert ah.read_manifest(frame.drop(columns="id"), name="mine").name == "mine"
    frame.to_csv("clips.csv", index=False)
    assert len(ah.read_manifest("clips.csv")) == len(folder)
    assert len(ah.read_manifest({"kind": "folder", "root": sounds})) == len(folder)
    assert ah.read_manifest(folder) is folder
    with pytest.raises(ManifestError, match=r"the DataFrame has no column 'path' \(columns: id, label\)"):
        ah.read_manifest(frame[["id", "label"]])
    with pytest.raises(ManifestError, match="nowhere: no such folder"):
        ah.read_manifest("nowhere")
    with pytest.raises(TypeError, match="got int"):
        ah.read_manifest(3)


def test_rows_of_a_frame_are_named_as_those_of_a_table(at_home, sounds):
    files = [str(path) for path in sorted(sounds.rglob("*.wav"))[:2]]
    rows = {"path": [files[0], files[0], files[1], files[1]], "label": "x", "start_s": [0.0, 0.2, 0.0, 0.0]}
    found = ah.read_manifest(pd.DataFrame(rows, index=[9, 9, 9, 9]))  # the last row repeats another
    inside = [path.relative_to(at_home).as_posix() for path in map(Path, files)]
    assert found.clips["id"].tolist() == [f"{inside[0]}@0", f"{inside[0]}@0.2", f"{inside[1]}@0"]
    with pytest.raises(ManifestError, match="label 'x' and 'y'"):
        ah.read_manifest(pd.DataFrame({"path": files[0], "label": ["x", "y"]}))


def test_labels_are_those_that_reach_the_thresholds_of_the_model(results, at_home, sounds, monkeypatch):
    predictor = results.predictor()
    predictor.task = "multi-label"
    low, high = predictor.predict_proba(str(sounds / "low" / "0.wav"))[::-1]
    monkeypatch.setattr(type(predictor._model), "thresholds", np.array([high / 2, low * 1.01]))
    assert predictor.predict(str(sounds / "low" / "0.wav")) == ("high",)
    monkeypatch.setattr(type(predictor._model), "thresholds", np.array([high * 1.01, low * 0.99]))
    assert predictor.predict([str(sounds / "low" / "0.wav")]) == [("low",)]


def test_the_predictor_names_classes(results, at_home, sounds):
    wave, rate = sf.read(sounds / "low" / "0.wav", dtype="float32")
    for predictor in (ah.Predictor(MODEL), results.predictor(), results.predictor("mfcc", head="linear")):
        assert predictor.classes_.tolist() == ["high", "low"]
        assert predictor.predict("sounds/low/0.wav") == "low"
        assert predictor.predict([sounds / "high" / "1.wav", (rate, wave)]).tolist() == ["high", "low"]
        assert predictor.predict(wave, sample_rate=rate) == "low"
    many = predictor.predict_proba(["sounds/low/0.wav", "sounds/high/1.wav"])
    assert many.shape == (2, 2)
    np.testing.assert_allclose(many.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(predictor.predict_proba("sounds/low/0.wav"), many[0], atol=1e-6)
    assert predictor.predict([]).shape == (0,)
    assert repr(predictor) == "Predictor('mfcc linear', 2 classes)"
    with pytest.raises(AudioError, match=r"nowhere\.wav"):
        predictor.predict("nowhere.wav")
    with pytest.raises(UserError, match="no such model"):
        ah.Predictor("runs/sounds/models/mfcc/mlp")
    with pytest.raises(ValueError, match=r"no model vggish .* it has mfcc linear, majority"):
        results.predictor("vggish")


def test_the_cache_by_id_as_table_and_as_tensor(results, at_home):
    (path,) = (at_home / "cache" / "sounds").glob("*.h5")
    cache = ah.open_cache(path)
    assert len(cache) == 20
    assert cache.ids == list(cache)
    assert "low/0.wav" in cache
    table = cache.to_pandas()
    assert table.shape == (20, 106)
    assert (table.columns[0], table.columns[-1]) == ("mean_0", "std_52")
    np.testing.assert_array_equal(cache["low/0.wav"][-1], table.loc["low/0.wav"])
    np.testing.assert_array_equal(cache.to_torch(layer=0).numpy(), table.to_numpy())
    assert repr(cache).endswith("20 clips, mfcc, 1 layers × 53, mean+std)")
    with pytest.raises(KeyError, match="no clip 'x'"):
        cache["x"]
    with pytest.raises(CacheError, match="no layer 3; it has 0 to 0"):
        cache.to_numpy(3)
    with pytest.raises(CacheError, match="no cache file"):
        ah.open_cache("nowhere.h5")
