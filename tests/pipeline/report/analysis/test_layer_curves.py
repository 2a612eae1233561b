"""Scores, validation losses and weights by layer, worked out by hand."""

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

from heads.evaluation.statistics import accuracy_interval
from heads.splits.targets import targets_of
from heads.training.per_layer import LayerFit
from pipeline.report.analysis import layer_curves
from pipeline.report.analysis.layer_curves import score_curves, validation_curves, validation_losses, weight_curves
from pipeline.report.render.page import render
from pipeline.report.sections import layers
from pipeline.stages.layer_predictions import LAYERS_FILE, layer_predictions, layers_table, write_layers
from tests.pipeline.report.toy_studies import manifest_of, study_of

N = 40
LABELS = [f"<i>class</i> {row % 4}" for row in range(N)]
TRUTH = np.arange(N) % 4


def fits_of(manifest, wrong, seeds=(0, 1)):
    """A fit per layer, fold and seed; the first `wrong[layer]` clips are predicted one class off."""
    folds = manifest.clips["fold"].to_numpy()
    for layer, n_wrong in wrong.items():
        predicted = np.where(np.arange(N) < n_wrong, (TRUTH + 1) % 4, TRUTH)
        for fold in range(1, 6):
            rows = np.flatnonzero(folds == fold)
            probabilities = np.full((len(rows), 4), 0.1, np.float32)
            probabilities[np.arange(len(rows)), predicted[rows]] = 0.7
            for seed in seeds:
                yield LayerFit(fold, seed, 0, layer, {"l2": 0.1}, 0.5, rows, probabilities)


def study(tmp_path, wrong, **about):
    manifest = manifest_of(LABELS)
    probabilities = np.eye(4)[TRUTH][None].repeat(2, axis=0)
    toy = study_of(manifest, {"net · linear": probabilities}, folder=tmp_path, about={"net · linear": about})
    if wrong:
        folder = toy.models[0].fit.folder
        folder.mkdir(parents=True)
        ids = manifest.clips["id"].to_numpy(dtype=object)
        write_layers(folder, layers_table(list(fits_of(manifest, wrong)), ids, targets_of(manifest)))
    return toy


def test_scores_and_intervals_are_those_of_the_table_on_each_layer(tmp_path):
    toy = study(tmp_path, {0: 30, 5: 10, 9: 0})
    (curve,) = score_curves(toy)
    assert (curve.title, curve.layers, curve.values) == ("net · linear", [0, 5, 9], [0.25, 0.75, 1.0])
    for at, n_wrong in enumerate((30, 10, 0)):
        expected = accuracy_interval((np.arange(N) >= n_wrong).astype(float), toy.groups)
        assert (curve.low[at], curve.high[at]) == pytest.approx(expected)
    assert (curve.chosen, curve.n_fits) == ([10, 0, 0], 10)


def test_a_layer_on_which_a_fold_diverged_is_left_out(tmp_path):
    toy = study(tmp_path, {0: 4, 5: 4})
    folder = toy.models[0].fit.folder
    frame = pd.read_parquet(folder / LAYERS_FILE)  # written again as older versions did
    frame[(frame["layer"] != 5) | (frame["fold"] != "3")].astype({"id": "category"}).to_parquet(folder / LAYERS_FILE)
    assert score_curves(toy)[0].layers == [0]


@pytest.mark.parametrize("task", ["single-label", "multi-label", "regression"])
def test_compactly_stored_predictions_are_read_back(tmp_path, task):
    labels = {
        "single-label": ["a", "b", "a"],
        "multi-label": [("a",), ("a", "b"), ("b",)],
        "regression": [0.5, 1.5, 2.5],
    }[task]
    targets = targets_of(manifest_of(labels, task))
    width = targets.n_outputs
    predicted = np.random.default_rng(0).random((3, width)).astype(np.float32)
    fit = LayerFit("1", 3, 2, 7, {}, 0.1, np.array([2, 0, 1]), predicted)
    ids = np.array(["x", "y", "z"], dtype=object)
    table = layers_table([fit], ids, targets)
    write_layers(tmp_path, table)
    ((layer, (one,)),) = layer_predictions(tmp_path, targets, ids)
    assert layer == 7
    assert (one.fold, one.seed, one.draw, one.layer, one.task) == ("1", 3, 2, "7", task)
    order = np.argsort(one.ids)
    assert one.ids[order].tolist() == ["x", "y", "z"]
    assert np.array_equal(one.targets[order], targets.values)
    if task == "single-label":
        assert np.array_equal(one.predicted, predicted.argmax(1)) and "probability" in table.column_names
    else:
        assert np.allclose(one.probabilities, predicted)


def test_validation_losses_are_the_best_of_each_layer_in_the_mean_of_folds():
    candidates = {
        "1": [{"layer": 0, "valid_loss": 0.4}, {"layer": 0, "valid_loss": 0.2}, {"layer": 1, "valid_loss": 0.5}],
        "2": [{"layer": 0, "valid_loss": 0.6}, {"layer": 1, "valid_loss": None}],
        "3": [{"layer": 0, "valid_loss": 1.0}, {"layer": 1, "valid_loss": 0.5}, {"layer": "all", "valid_loss": 0.1}],
    }
    assert validation_losses(candidates) == {0: pytest.approx((0.2 + 0.6 + 1.0) / 3)}  # layer 1 failed in fold 2
    assert validation_losses({}) == {}


def test_a_run_of_an_older_version_shows_validation_losses(tmp_path):
    scores = [{"layer": layer, "l2": 0.1, "valid_loss": 1.0 - 0.1 * layer} for layer in range(3)]
    toy = study(tmp_path, {}, candidates={str(fold): scores for fold in range(1, 6)})
    assert score_curves(toy) == []
    (curve,) = validation_curves(toy)
    assert curve.values == pytest.approx([1.0, 0.9, 0.8])
    section = layers.section(toy)
    assert list(section.figures) == ["validation"] and "lower is better" in str(render(section, toy).html)


def test_one_layer_makes_no_section(tmp_path):
    one = {str(fold): [{"layer": 0, "valid_loss": 0.5}] for fold in range(1, 6)}
    assert layers.section(study(tmp_path, {}, candidates=one)) is None


def test_weights_are_averaged_over_saved_heads(tmp_path, monkeypatch):
    toy = study(tmp_path, {})
    monkeypatch.setattr(layer_curves, "_summed_layers", lambda study, model: [0, 4])
    folder = toy.models[0].fit.folder
    folder.mkdir(parents=True)
    for fold, weights in enumerate(([0.2, 0.8], [0.6, 0.4])):
        save_file({"layer_weights": np.array(weights, np.float32)}, folder / f"fold-{fold}-seed-0.safetensors")
    save_file({"weight_0": np.zeros(2, np.float32)}, folder / "other.safetensors")
    (folder / "damaged.safetensors").write_bytes(b"no")
    (curve,) = weight_curves(toy)
    assert (curve.layers, curve.n_fits) == ([0, 4], 2)
    assert curve.values == pytest.approx([0.4, 0.6])
    assert (curve.low, curve.high) == (pytest.approx([0.2, 0.4]), pytest.approx([0.6, 0.8]))


def test_the_section_warns_against_choosing_by_the_curve(tmp_path):
    toy = study(tmp_path, {0: 30, 5: 0, 9: 10})
    section = layers.section(toy)
    assert section.context["best"][0] | {"low": 0, "high": 0} == {
        "title": "net · linear", "layer": 5, "score": 1.0, "low": 0, "high": 0, "last": 9, "last_score": 0.75,
        "chosen": [(0, 10)], "n_fits": 10,
    }  # fmt: skip
    html = str(render(section, toy).html)
    assert "Do not choose a layer by this curve" in html and "0 (10×) of 10 fits" in html
    assert list(section.figures["score"].series[0].y) == [0.25, 1.0, 0.75]
