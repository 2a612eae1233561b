"""`predictions.parquet` of a run holds all models, and is written again only if one has changed."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from features.errors import RunError
from heads.evaluation.decisions.operating_points import OperatingPoint, Rule
from heads.evaluation.prediction_table import to_table
from heads.evaluation.predictions import Predictions
from pipeline.results.decisions.fit_decisions import FitDecisions, write_decisions
from pipeline.results.fit import Fit
from pipeline.results.run_folder import finish_fit
from pipeline.results.run_predictions import write_predictions

LABELS = [f"class {number:02d}" for number in range(20)]
N = 30


def predictions(model, seed=0):
    rng = np.random.default_rng(seed)
    ids = np.array([f"{row:02d}.wav" for row in range(N)], dtype=object)
    values = rng.dirichlet(np.ones(20), N).astype(np.float32)
    return Predictions(values, rng.integers(0, 20, N), ids, 1, 0, model, "linear", "mean", "0", "run")


def fit(folder, model, seed=0, most_cells=10_000):
    own = folder / "models" / model / "linear"
    own.mkdir(parents=True, exist_ok=True)
    finish_fit(own, {"job": model}, to_table([predictions(model, seed)], LABELS, most_cells))
    return Fit(own, {"job": model})


def write(folder, fits):
    write_predictions(folder, fits, LABELS, "single-label")
    return folder / "predictions.parquet"


def test_all_models_are_in_one_file_in_their_order(tmp_path):
    computed = Fit(tmp_path / "models" / "majority", {}, to_table([predictions("majority", 5)], LABELS))
    table = pd.read_parquet(write(tmp_path, [fit(tmp_path, "b", 1), fit(tmp_path, "a", 2), computed]))
    assert table["model"].tolist() == ["b"] * N + ["a"] * N + ["majority"] * N
    given = np.concatenate([predictions(*own).probabilities for own in (("b", 1), ("a", 2), ("majority", 5))])
    assert np.array_equal(np.stack(table["probabilities"]), given)


def test_the_file_is_written_again_only_if_a_model_changed(tmp_path):
    fits = [fit(tmp_path, "a"), fit(tmp_path, "b")]
    path = write(tmp_path, fits)
    before = path.stat().st_mtime_ns
    assert write(tmp_path, fits).stat().st_mtime_ns == before
    again = [fits[0], fit(tmp_path, "b", seed=9)]
    assert write(tmp_path, again).stat().st_mtime_ns > before
    assert np.array_equal(np.stack(pd.read_parquet(path)["probabilities"])[N:], predictions("b", 9).probabilities)
    for changed in ([again[1], again[0]], again[:1], [*again, Fit(tmp_path / "m", {}, fits[0].table())]):
        before = path.stat().st_mtime_ns
        assert write(tmp_path, changed).stat().st_mtime_ns > before
    path.write_bytes(path.read_bytes()[:-50])
    write(tmp_path, again)
    assert len(pd.read_parquet(path)) == 2 * N


def test_models_of_older_versions_are_joined_with_new_ones(tmp_path):
    older, new = fit(tmp_path, "older", 1), fit(tmp_path, "new", 2)
    stored = older.folder / "predictions.parquet"
    pd.read_parquet(stored).drop(columns="draw").to_parquet(stored, index=False)
    table = pd.read_parquet(write(tmp_path, [older, new]))
    assert table["draw"].tolist() == [0] * 2 * N
    assert np.array_equal(np.stack(table["probabilities"])[:N], predictions("older", 1).probabilities)


def test_if_one_model_has_few_probabilities_all_get_the_same_columns(tmp_path):
    table = pq.read_table(write(tmp_path, [fit(tmp_path, "whole"), fit(tmp_path, "few", most_cells=0)]))
    assert "classes" in table.column_names and table["probabilities"].type.list_size == 17
    assert table["model"].to_pylist() == ["whole"] * N + ["few"] * N


def test_a_damaged_file_is_named(tmp_path):
    broken = fit(tmp_path, "broken")
    (broken.folder / "predictions.parquet").write_bytes(b"PAR1")
    with pytest.raises(
        RunError, match=r"broken/linear/predictions.parquet: cannot be read as predictions .*train again"
    ):
        write(tmp_path, [broken])


def test_thresholds_decide_the_predicted_classes_and_a_change_of_them_is_written(tmp_path):
    names, ids = LABELS[:2], np.array(["a.wav", "b.wav"], dtype=object)
    one = Predictions(
        np.array([[0.3, 0.1], [0.6, 0.8]], np.float32), np.eye(2, dtype=int), ids, 1, 0, "m", task="multi-label"
    )
    own = tmp_path / "models" / "m" / "linear"
    own.mkdir(parents=True)
    finish_fit(own, {"job": "m"}, to_table([one], names))

    def predicted():
        write_predictions(tmp_path, [Fit(own, {"job": "m"})], names, "multi-label")
        return [list(classes) for classes in pd.read_parquet(tmp_path / "predictions.parquet")["predicted"]]

    assert predicted() == [[], names]
    for best, classes in ((0.2, [names[:1], names]), (0.7, [[], names[1:]])):
        counts = np.zeros((3, 4), int)
        point = OperatingPoint(Rule("max_f1"), np.full(2, best), best, np.ones(2, bool), np.ones(2, bool), True, counts)
        write_decisions(own, {"best": best}, {("1", 0, 0): FitDecisions(None, point)})
        assert predicted() == classes
