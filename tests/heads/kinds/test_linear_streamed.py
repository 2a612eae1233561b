"""`linear` on many rows: the optimum of the rotated solver within 1e-4, whatever the chunks and threads."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from heads.batched import cores
from heads.batched.blocks import Place, standardize
from heads.batched.convex import streamed
from heads.batched.job import Job
from heads.batched.vectors import ArrayVectors
from heads.kinds import linear
from heads.kinds.linear import LinearOptions
from heads.training.train import train_head
from tests.heads.kinds.test_linear import PATH, clips, train

TASKS = ["single-label", "multi-label", "regression"]


def fits(data, task, penalties, class_weight=None, n_threads=1):
    """Every candidate of the first split, by penalty."""
    features, targets, splits = data
    options, cpu = LinearOptions(l2=penalties, class_weight=class_weight), torch.device("cpu")
    block = standardize(ArrayVectors(features), targets, splits[0], 0, cpu, task)
    n, dim = block.train.shape
    n_outputs = {"single-label": 5, "multi-label": targets.shape[-1], "regression": 1}[task]
    grid = tuple(options.configurations())
    job = Job(options, grid, (0,), task, n_outputs, n, dim, 1, cpu, cores=n_threads)
    found = {grid[fit.configuration]["l2"]: fit for fit in linear.fit_linear([Place(0, 0)], lambda _: block, job)}
    assert len(found) == len(penalties)
    return found


@pytest.fixture
def small_chunks(monkeypatch):
    """Read the rows of any job in chunks of 64."""
    monkeypatch.setattr(linear, "STREAMED_BYTES", 0)
    monkeypatch.setattr(cores, "MOST_ROWS", 64)


def relative(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize("kept", [0, 1])
@pytest.mark.parametrize("class_weight", [None, "balanced"])
@pytest.mark.parametrize("task", TASKS)
def test_rows_in_chunks_give_the_weights_of_all_rows_at_once(monkeypatch, task, class_weight, kept):
    data = clips(task, n=600)
    whole = fits(data, task, PATH, class_weight)
    monkeypatch.setattr(linear, "STREAMED_BYTES", 0)
    monkeypatch.setattr(cores, "MOST_ROWS", 64)
    monkeypatch.setattr(streamed, "KEPT", kept)  # curvatures are computed again, or kept
    chunked = fits(data, task, PATH, class_weight)
    for l2 in PATH:
        one, other = whole[l2].states[0], chunked[l2].states[0]
        assert relative(other["weight_0"], one["weight_0"]) < 1e-4
        assert np.abs(other["bias_0"] - one["bias_0"]).max() < 1e-3 * max(1, np.abs(one["bias_0"]).max())
        assert chunked[l2].valid_loss == pytest.approx(whole[l2].valid_loss, abs=1e-4)


@pytest.mark.usefixtures("small_chunks")
def test_rows_in_chunks_give_the_optimum_that_scikit_learn_finds():
    features, targets, splits = data = clips(n=600)
    rows = features[splits[0].train, 0].astype(float)
    rows = (rows - rows.mean(0)) / rows.std(0)
    for l2, fit in fits(data, "single-label", [0.1, 1e-3]).items():
        model = LogisticRegression(C=1 / (l2 * len(rows)), tol=1e-10, max_iter=50_000)
        model.fit(rows, targets[splits[0].train])
        assert relative(fit.states[0]["weight_0"], model.coef_.T) < 1e-4


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("task", TASKS)
def test_bits_do_not_depend_on_threads(task):
    one, three = (fits(clips(task, n=600), task, PATH[:3], n_threads=threads) for threads in (1, 3))
    for l2 in PATH[:3]:
        assert one[l2].valid_loss.tobytes() == three[l2].valid_loss.tobytes()
        for name, values in one[l2].states[0].items():
            assert values.tobytes() == three[l2].states[0][name].tobytes()


@pytest.mark.usefixtures("small_chunks")
def test_a_fit_is_the_same_alone_as_on_its_path_within_the_tolerance():
    data = clips(n=600)
    path = fits(data, "single-label", [3e-3, 1.0, 0.1, 0.1 + 1e-9, 1e-2])
    for l2 in (3e-3, 0.1):
        (alone,) = fits(data, "single-label", [l2]).values()
        assert relative(alone.states[0]["weight_0"], path[l2].states[0]["weight_0"]) < 1e-4


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("l2", [1e-6, 1e4])
def test_extreme_penalties_converge(l2):
    features, targets, splits = data = clips(n=600, noise=1.0)
    (fit,) = train(LinearOptions(l2=l2), (features, targets, splits[:1])).fits
    (whole,) = fits(data, "single-label", [1.0, l2])[l2].states
    assert np.isfinite(fit.probabilities).all()
    assert relative(fit.state["weight_0"], whole["weight_0"]) < 1e-3


@pytest.mark.usefixtures("small_chunks")
def test_a_class_with_one_clip_and_a_label_that_all_clips_have():
    features, targets, splits = clips(n=600)
    targets = np.minimum(targets, 3)
    targets[[splits[0].train[0], splits[0].valid[0], splits[0].test[0]]] = 4
    (fit,) = train(LinearOptions(l2=[0.1, 1e-3]), (features, targets, splits[:1])).fits
    assert np.isfinite(fit.probabilities).all() and fit.probabilities[:, 4].max() > 0
    features, labels, splits = clips("multi-label", n=600)
    labels[:, 2] = 1
    (fit,) = train(LinearOptions(l2=0.1), (features, labels, splits[:1]), "multi-label").fits
    assert fit.probabilities[:, 2].min() > 1 - 1e-4


@pytest.mark.usefixtures("small_chunks")
def test_many_classes_and_many_labels_per_clip():
    rng = np.random.default_rng(0)
    features, _, splits = clips(n=2000, dim=8)
    n_classes = 900
    classes = np.concatenate([np.arange(n_classes) for _ in range(3)])[: len(features)]
    split = [type(splits[0])("f0", np.arange(1000), np.arange(1000, 1500), np.arange(1500, 2000))]
    result = train_head(LinearOptions(l2=[0.1, 0.01]), features, classes, split, [0], n_classes=n_classes)
    assert np.isfinite(result.fits[0].probabilities).all()
    labels = (rng.random((len(features), 600)) < 0.8).astype(np.uint8)
    result = train_head(LinearOptions(l2=0.1), features, labels, split, [0], n_classes=600, task="multi-label")
    assert result.fits[0].probabilities.mean() == pytest.approx(0.8, abs=0.02)
