"""An interrupted job continues: kept blocks are not trained again, and the results are those of one job."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from heads.kinds.knn import KnnOptions
from heads.kinds.linear import LinearOptions
from heads.kinds.mlp import MlpOptions
from heads.kinds.registry import head_type
from heads.kinds.sklearn.head import SklearnOptions
from heads.training import kept_blocks
from heads.training import train as training
from heads.training.kept_blocks import KeptBlocks
from tests.heads.training.test_train import clips, train

HEADS = {
    "linear": LinearOptions(l2=[1.0, 1e-3]),
    "mlp": MlpOptions(hidden=8, learning_rate=[1e-2, 1e-3], max_epochs=3),
    "knn": KnnOptions(k=[1, 5], metric="cosine"),
}
PLACES = 6  # three folds of two layers


@pytest.fixture
def trained(monkeypatch):
    """The places that heads train, one list per call of a trainer."""
    calls = []

    def watched(name):
        def fit(places, load, job):
            calls.append(list(places))
            yield from head_type(name).fit(places, load, job)

        return replace(head_type(name), fit=fit)

    monkeypatch.setattr(training, "head_type", watched)
    return calls


def interrupted_after(n_candidates):
    def on_candidate(done, total):
        if done == n_candidates:
            raise KeyboardInterrupt

    return on_candidate


def assert_same(one, other):
    assert one.candidates == other.candidates
    for a, b in itertools.chain(zip(one.fits, other.fits, strict=True), zip(one.layers, other.layers, strict=True)):
        assert (a.fold, a.seed, a.layer, a.configuration) == (b.fold, b.seed, b.layer, b.configuration)
        np.testing.assert_array_equal(a.probabilities, b.probabilities)
    for a, b in zip(one.fits, other.fits, strict=True):
        assert (a.epochs, a.params_trained, set(a.state)) == (b.epochs, b.params_trained, set(b.state))
        for name in a.state:
            np.testing.assert_array_equal(a.state[name], b.state[name])


@pytest.mark.parametrize("name", HEADS)
def test_an_interrupted_job_continues_and_gives_the_same(tmp_path, trained, name):
    data, n_candidates = clips(), len(HEADS[name].configurations()) * PLACES
    whole = train(HEADS[name], data, keep_layers=True)
    stopped = interrupted_after(n_candidates - 1)  # the last block is not finished
    with pytest.raises(KeyboardInterrupt):
        train(HEADS[name], data, keep_layers=True, kept=KeptBlocks(tmp_path, "job"), on_candidate=stopped)
    seen = []
    trained.clear()
    again = train(
        HEADS[name], data, keep_layers=True, kept=KeptBlocks(tmp_path, "job"), on_candidate=lambda *at: seen.append(at)
    )
    assert sum(map(len, trained)) == 1
    assert seen == [(done, n_candidates) for done in range(1, n_candidates + 1)]
    assert_same(again, whole)


def test_blocks_of_another_job_and_damaged_files_are_deleted_and_trained_again(tmp_path, trained):
    data = clips()
    with pytest.raises(KeyboardInterrupt):
        train(HEADS["linear"], data, kept=KeptBlocks(tmp_path, "job"), on_candidate=interrupted_after(2 * PLACES))
    (kept,) = tmp_path.iterdir()
    damaged = tmp_path / "000001.safetensors"
    damaged.write_bytes(kept.read_bytes()[:-8])
    trained.clear()
    assert list(KeptBlocks(tmp_path, "other").read(None)) == []
    assert list(tmp_path.iterdir()) == []
    train(HEADS["linear"], data, kept=KeptBlocks(tmp_path, "job"))
    assert sum(map(len, trained)) == PLACES
    assert list(tmp_path.iterdir()) == []  # nothing is written within the first interval


def test_finished_blocks_are_written_after_each_interval(tmp_path, monkeypatch):
    monkeypatch.setattr(kept_blocks, "INTERVAL_S", 0.0)
    data = clips()
    with_files = train(HEADS["linear"], data, kept=KeptBlocks(tmp_path, "job"))
    assert len(list(tmp_path.iterdir())) == PLACES
    assert_same(train(HEADS["linear"], data, kept=KeptBlocks(tmp_path, "job")), with_files)


def test_estimators_are_not_kept(tmp_path):
    options = SklearnOptions(estimator="sklearn.naive_bayes.GaussianNB")
    with pytest.raises(KeyboardInterrupt):
        train(options, clips(), kept=KeptBlocks(tmp_path, "job"), on_candidate=interrupted_after(PLACES))
    assert list(tmp_path.iterdir()) == []


def test_training_goes_on_if_the_folder_cannot_be_written(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(kept_blocks, "INTERVAL_S", 0.0)
    (tmp_path / "file").touch()
    train(HEADS["linear"], clips(), kept=KeptBlocks(tmp_path / "file" / "below", "job"))
    assert "finished blocks cannot be kept in" in caplog.text
