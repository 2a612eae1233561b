"""Nearest neighbours: scikit-learn's votes, smoothed; k and metric chosen on validation."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor, NearestNeighbors

from features.errors import ConfigError
from heads.batched import neighbours
from heads.batched.blocks import Place, standardize
from heads.batched.job import Job
from heads.batched.vectors import ArrayVectors
from heads.kinds import knn
from heads.kinds.knn import KnnOptions
from heads.kinds.registry import predict
from heads.splits.protocol import Split
from heads.training.checkpoint import load_head, save_head
from heads.training.train import train_head

METRICS = ["cosine", "euclidean"]


def clips(task="single-label", n=150, dim=12, n_layers=2, seed=0):
    """Features whose last layer tells the targets best, with three unequal folds."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(5, dim))
    classes = rng.permutation(np.arange(n) % 5)
    members = rng.random((n, 5)) < 0.3
    signal = centres[classes] if task == "single-label" else members @ centres
    targets = {"single-label": classes, "multi-label": members.astype(np.float32), "regression": signal[:, 0] * 9 + 300}
    layers = [signal + 0.7 * (n_layers - layer) * rng.normal(size=(n, dim)) for layer in range(n_layers)]
    fold = np.minimum(np.arange(n) // (n // 4), 2)
    splits = [Split(f"f{k}", *(np.flatnonzero(fold == (k + j) % 3) for j in (2, 1, 0))) for k in range(3)]
    return (np.stack(layers, 1) * 3 + 1).astype(np.float32), targets[task], splits


def train(options, data, task="single-label", **kwargs):
    features, targets, splits = data
    n_outputs = 1 if task == "regression" else 5
    return train_head(options, features, targets, splits, [0, 1], n_classes=n_outputs, task=task, **kwargs)


def standardised(features, split, layer):
    rows = features[:, layer].astype(float)
    return (rows - rows[split.train].mean(0)) / rows[split.train].std(0)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("task", ["single-label", "multi-label", "regression"])
def test_neighbours_vote_as_scikit_learns_do(task, metric):
    features, targets, splits = data = clips(task)
    for k in (1, 4):
        result = train(KnnOptions(k=k, metric=metric, layers="last"), data, task)
        assert result.params_trained == 0
        for fit, split in zip(result.fits[::2], splits, strict=True):
            rows = standardised(features, split, 1)
            kind = KNeighborsRegressor if task == "regression" else KNeighborsClassifier
            model = kind(k, metric=metric, algorithm="brute").fit(rows[split.train], targets[split.train])
            if task == "regression":
                assert np.allclose(fit.probabilities[:, 0], model.predict(rows[split.test]), rtol=1e-5)
                continue
            found = model.predict_proba(rows[split.test])
            share = np.stack([label[:, 1] for label in found], 1) if task == "multi-label" else found
            outcomes = 2 if task == "multi-label" else 5
            assert np.allclose(fit.probabilities, (k * share + 1 / outcomes) / (k + 1), atol=1e-6)


@pytest.mark.parametrize("task", ["single-label", "multi-label", "regression"])
def test_k_metric_and_layer_are_chosen_by_validation_loss(task):
    features, targets, splits = data = clips(task)
    result = train(KnnOptions(k=[1, 5, 15]), data, task)
    chosen = set()
    for fit, split in zip(result.fits[::2], splits, strict=True):
        scores = result.candidates[split.fold, 0]
        best = min(scores, key=lambda score: score.valid_loss)
        assert (fit.configuration, fit.layer, fit.valid_loss) == (best.configuration, best.layer, best.valid_loss)
        assert len(scores) == 12 and np.isfinite([score.valid_loss for score in scores]).all()
        found = predict("knn", fit.state, features[split.valid, fit.layer], task).astype(float)
        truth = targets[split.valid]
        if task == "regression":
            loss = np.mean((found[:, 0] - truth) ** 2) / targets[split.train].std() ** 2
        elif task == "multi-label":
            loss = -np.log(np.where(truth == 1, found, 1 - found)).mean()
        else:
            loss = -np.log(found[np.arange(len(truth)), truth]).mean()
        assert loss == pytest.approx(fit.valid_loss, rel=1e-5)
        chosen.add(fit.configuration["k"])
    assert chosen - {1}


def test_test_rows_change_nothing_that_was_chosen():
    features, targets, splits = data = clips()
    before = train(KnnOptions(), data)
    other = targets.copy()
    other[splits[1].test] = (other[splits[1].test] + 1) % 5
    after = train(KnnOptions(), (features, other, splits))
    assert before.candidates["f1", 0] == after.candidates["f1", 0]
    one, two = before.fits[2], after.fits[2]
    assert all(np.array_equal(one.state[name], two.state[name]) for name in one.state)
    assert np.array_equal(one.probabilities, two.probabilities)


def test_a_fit_is_the_same_alone_as_in_the_batch():
    features, targets, splits = data = clips()
    for fit, split in zip(train(KnnOptions(k=[1, 2, 7, 30]), data).fits[::2], splits, strict=True):
        point = {name: [value] for name, value in fit.configuration.items()}
        alone = train(KnnOptions(**point, layers=[fit.layer]), (features, targets, [split])).fits[0]
        assert np.abs(alone.probabilities - fit.probabilities).max() < 1e-5
        assert alone.valid_loss == pytest.approx(fit.valid_loss, abs=1e-9)


def test_memory_bounds_change_nothing(monkeypatch):
    data = clips()
    whole = train(KnnOptions(), data)
    monkeypatch.setattr(neighbours, "DISTANCES_BYTES", 1)
    cut = train(KnnOptions(), data)
    assert all(np.array_equal(a.probabilities, b.probabilities) for a, b in zip(whole.fits, cut.fits, strict=True))


@pytest.mark.parametrize("metric", METRICS)
def test_of_equally_near_clips_the_first_vote(metric):
    rng = np.random.default_rng(3)
    rows = torch.from_numpy(np.repeat(rng.normal(size=(4, 33)), 500, axis=0)[rng.permutation(2000)].astype(np.float32))
    queries = torch.from_numpy(rng.normal(size=(9, 33)).astype(np.float32))
    for own in neighbours.Neighbours(rows).find(queries, [metric], 40)[metric]:
        nearest = own[0]
        copies = torch.nonzero((rows == rows[nearest]).all(1))[:, 0]
        assert own.tolist() == copies[:40].tolist()


@pytest.mark.parametrize("offset", [0.0, 300.0])
def test_neighbours_are_exact_where_single_precision_is_not(offset):
    """With a common offset, float32 products are less precise than the distances between neighbours."""
    rng = np.random.default_rng(4)
    rows = (rng.normal(size=(3000, 64)) + offset).astype(np.float32)
    queries = (rng.normal(size=(50, 64)) + offset).astype(np.float32)
    found = neighbours.Neighbours(torch.from_numpy(rows)).find(torch.from_numpy(queries), METRICS, 10)
    products = torch.from_numpy(queries) @ torch.from_numpy(rows).T
    rough = (torch.from_numpy(rows).square().sum(1) - 2 * products).topk(10, largest=False).indices
    for metric in METRICS:
        expected = NearestNeighbors(n_neighbors=10, algorithm="brute", metric=metric)
        expected.fit(rows.astype(np.float64))
        assert np.array_equal(found[metric], expected.kneighbors(queries.astype(np.float64), return_distance=False))
    assert torch.equal(rough, found["euclidean"]) == (offset == 0)


def test_a_k_beyond_the_training_clips_has_failed():
    features, targets, splits = clips()
    few = np.sort([row for label in range(5) for row in splits[0].train[targets[splits[0].train] == label][:2]])
    split = Split("f0", few, splits[0].valid, splits[0].test)
    result = train(KnnOptions(k=[11, 10, 3], metric="cosine"), (features, targets, [split]))
    for score in result.candidates["f0", 0]:
        assert np.isnan(score.valid_loss) == (score.configuration["k"] == 11)
    assert {fit.configuration["k"] for fit in result.fits} <= {10, 3}
    for valid in (split.valid, split.valid[:0]):
        with pytest.raises(ConfigError, match=r"k: 11 for 10 training clips"):
            train(
                KnnOptions(k=11, metric="cosine", layers="last"),
                (features, targets, [Split("f0", few, valid, split.test)]),
            )


def test_without_validation_rows_the_one_configuration_is_used():
    features, targets, splits = clips(n_layers=1)
    bare = [Split(split.fold, split.train, split.valid[:0], split.test) for split in splits]
    given, without = (train(KnnOptions(k=5, metric="cosine"), (features, targets, found)) for found in (splits, bare))
    for one, other in zip(given.fits, without.fits, strict=True):
        assert np.isnan(other.valid_loss) and np.array_equal(one.probabilities, other.probabilities)


def test_states_read_their_training_rows_when_asked():
    """The chosen states of all folds would otherwise hold a copy of most clips each."""
    features, targets, splits = clips(n_layers=1)
    options, cpu = KnnOptions(), torch.device("cpu")
    job = Job(options, tuple(options.configurations()), (0,), "single-label", 5, 150, 12, 1, cpu)
    loaded = []

    def load(place):
        loaded.append(standardize(ArrayVectors(features), targets, splits[0], 0, cpu))
        return loaded[-1]

    states = [fitted.states[0] for fitted in knn.fit_knn([Place(0, 0)], load, job)]
    assert len(states) == 10 and len(loaded) == 1
    assert np.array_equal(states[3]["rows"], loaded[0].train)
    assert len(loaded) == 2 and set(states[0]) == set(states[0].keys()) >= {"rows", "answers", "k", "metric"}


def test_a_head_of_an_older_version_predicts_the_same():
    features, _, _ = data = clips()
    fit = train(KnnOptions(k=3), data).fits[0]
    older = {**fit.state, "answers": np.eye(5, dtype=np.uint8)[fit.state["answers"]]}
    del older["n_outputs"]
    assert np.array_equal(predict("knn", older, features[fit.test_rows, fit.layer]), fit.probabilities)


@pytest.mark.parametrize("task", ["single-label", "multi-label", "regression"])
def test_a_saved_head_predicts_what_was_scored(tmp_path, task):
    features, _, _ = data = clips(task)
    fit = train(KnnOptions(k=[3, 5]), data, task).fits[0]
    about = {"configuration": fit.configuration, "backbone": {}, "pooling": ["mean"], "layer": fit.layer, "task": task}
    labels = [] if task == "regression" else list("abcde")
    save_head(tmp_path / "h.safetensors", fit.state, head="knn", labels=labels, **about)
    saved = load_head(tmp_path / "h.safetensors")
    assert np.array_equal(saved.predict(features[fit.test_rows, fit.layer]), fit.probabilities)
