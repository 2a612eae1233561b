"""mAP and CCC: the weighted figures are scikit-learn's and Lin's; intervals hold the value, widen, and cover."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from heads.evaluation.bootstrap import draws_for, resampled_concordance, resampled_precision, weighted_precision
from heads.evaluation.metrics import concordance, mean_average_precision
from heads.evaluation.predictions import Predictions
from heads.evaluation.statistics import compare


def ids(n):
    return np.array([f"c{row:04d}" for row in range(n)], dtype=object)


def lists(n=200, n_classes=5, separation=2.0, seed=0, group_size=1):
    """Several-label predictions whose noise is shared within groups."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(rng.random((n // group_size, n_classes)) < 0.2, group_size, axis=0)
    noise = np.repeat(rng.normal(size=(n // group_size, n_classes)), group_size, axis=0)
    outputs = 1 / (1 + np.exp(-(separation * truth + noise)))
    return Predictions(outputs.astype(np.float32), truth.astype(int), ids(n), 1, 0, "m", task="multi-label")


def numbers(n=200, error=0.5, seed=0):
    rng = np.random.default_rng(seed)
    truth = 50 + 3 * rng.normal(size=n)
    return Predictions((truth + 3 * error * rng.normal(size=n))[:, None], truth, ids(n), 1, 0, "m", task="regression")


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.integers(0, 3)), min_size=2, max_size=30))
def test_weighted_precision_is_scikit_learns(clips):
    scores, truth, weights = (np.array(column) for column in zip(*clips, strict=True))
    if not (truth & (weights > 0)).any():
        return
    found = weighted_precision(scores / 4, truth.astype(bool), np.stack([weights, 2 * weights]).astype(np.float32))
    wanted = average_precision_score(truth, scores / 4, sample_weight=weights)
    assert found == pytest.approx([wanted, wanted])


@pytest.mark.parametrize(
    ("make", "resampled", "figure", "least"),
    [
        (lists, resampled_precision, mean_average_precision, 0.0),
        (numbers, resampled_concordance, concordance, -1.0),
    ],
)
def test_the_interval_holds_the_figure_and_groups_widen_it(make, resampled, figure, least):
    one = [make()]
    found = resampled(one, np.arange(200), 400)
    assert least <= found.low < found.value == figure(one) < found.high <= 1
    assert len(found.draws) == 400 and np.isfinite(found.draws).all()
    assert abs(found.draws.mean() - found.value) < found.high - found.low
    few = resampled(one, np.arange(200) // 40, 400)
    assert few.high - few.low > found.high - found.low
    assert np.array_equal(found.draws, resampled(one, np.arange(200), 400).draws)
    single = resampled(one, np.zeros(200), 400)
    assert (single.low, single.high) == (least, 1)


def test_shared_noise_within_groups_widens_the_interval():
    one = [lists(group_size=5)]
    alone, grouped = (resampled_precision(one, np.arange(200) // size, 1000) for size in (1, 5))
    assert grouped.high - grouped.low > 1.5 * (alone.high - alone.low)


def test_a_perfect_model_has_an_interval_too():
    perfect = resampled_precision([lists(separation=100.0)], np.arange(200), 400)
    assert perfect.value == perfect.high == 1 and 0.97 < perfect.low < 0.995
    nearly = lists(separation=100.0)
    nearly.probabilities[np.flatnonzero(nearly.targets[:, 0])[0], 0] = 0.4  # below all others of its class
    found = resampled_precision([nearly], np.arange(200), 400)
    assert found.value < 1 and found.low < perfect.low
    perfect = resampled_concordance([numbers(error=0.0)], np.arange(200), 400)
    assert perfect.value == pytest.approx(1) and 0.98 < perfect.low < 1


def test_rare_classes_without_a_positive_in_a_draw_are_left_out_of_it():
    one = lists(n=40, n_classes=3)
    one.targets[:, 2] = 0
    one.targets[7, 2] = 1
    assert np.isfinite(resampled_precision([one], np.arange(40), 400).draws).all()


@pytest.mark.parametrize(("make", "resampled"), [(lists, resampled_precision), (numbers, resampled_concordance)])
def test_models_are_compared_on_the_same_draws(make, resampled):
    models = {"good": make(seed=1), "twin": make(seed=1), "bad": make(seed=1)}
    rng = np.random.default_rng(0)
    models["bad"].probabilities[:] = rng.permutation(models["bad"].probabilities)
    assert draws_for([[one] for one in models.values()]) == (2000 if make is lists else 10_000)
    found = {name: resampled([one], np.arange(200), 1000) for name, one in models.items()}
    compared = compare(
        {name: one.value for name, one in found.items()}, np.stack([one.draws for one in found.values()], 1), 200
    )
    assert compared["good"].tied and compared["twin"].tied and compared["twin"].p_value == 1
    assert not compared["bad"].tied and compared["bad"].difference > 0.2


@pytest.mark.parametrize("group_size", [1, 5])
def test_the_interval_of_map_covers_its_expectation(group_size):
    sets = [[lists(seed=seed, separation=2.5, group_size=group_size)] for seed in range(150)]
    expected = np.mean([mean_average_precision(one) for one in sets])
    groups = np.arange(200) // group_size
    found = [resampled_precision(one, groups, 200) for one in sets[:100]]
    assert 88 <= sum(one.low <= expected <= one.high for one in found) <= 100


@pytest.mark.parametrize("error", [0.5, 0.05])
def test_the_interval_of_ccc_covers_its_value(error):
    expected = 2 / (2 + error**2)  # of y and y + error: twice the variance over both variances
    found = [resampled_concordance([numbers(seed=seed, error=error)], np.arange(200), 400) for seed in range(200)]
    assert 182 <= sum(one.low <= expected <= one.high for one in found) <= 199
