"""mAP, macro F1 and CCC: draws are scikit-learn's and Lin's; intervals hold the value, widen, and cover."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from heads.evaluation.bootstrap import (
    draws_for,
    resampled_concordance,
    resampled_macro_f1,
    resampled_precision,
)
from heads.evaluation.metrics import concordance, macro_f1, mean_average_precision
from heads.evaluation.predictions import Predictions
from heads.evaluation.resampling import group_weights
from heads.evaluation.statistics import compare

pytestmark = pytest.mark.thorough


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


@pytest.mark.parametrize(
    ("make", "resampled", "figure", "least"),
    [
        (lists, resampled_precision, mean_average_precision, 0.0),
        (lists, resampled_macro_f1, macro_f1, 0.0),
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
    assert draws_for(make().task, make().probabilities.size) == (2000 if make is lists else 10_000)
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
    found = [resampled_precision(one, groups, 0) for one in sets[:100]]
    assert 88 <= sum(one.low <= expected <= one.high for one in found) <= 100


@pytest.mark.parametrize("error", [0.5, 0.05])
def test_the_interval_of_ccc_covers_its_value(error):
    expected = 2 / (2 + error**2)  # of y and y + error: twice the variance over both variances
    found = [resampled_concordance([numbers(seed=seed, error=error)], np.arange(200), 400) for seed in range(200)]
    assert 182 <= sum(one.low <= expected <= one.high for one in found) <= 199


def spread_lists(spread, seed=0, n_groups=10, clips=50):
    """Five labels at 30 % and a mAP near 0.7; group effects of the size `spread` on otherwise equal groups."""
    rng = np.random.default_rng(seed)
    truth = np.tile(rng.random((clips, 5)) < 0.3, (n_groups, 1))
    noise = np.tile(rng.normal(size=(clips, 5)), (n_groups, 1)) + 1e-3 * rng.normal(size=truth.shape)
    quality = 1.6 + spread * np.repeat(np.linspace(-1, 1, n_groups), clips)[:, None]
    outputs = 1 / (1 + np.exp(-(quality * truth + noise)))
    return Predictions(outputs, truth.astype(int), ids(len(truth)), 1, 0, "m", task="multi-label")


def test_the_lower_end_follows_the_spread_of_the_draws():
    distances = []
    for spread in (0.05, 0.3, 1.0):
        found = resampled_precision([spread_lists(spread)], np.repeat(np.arange(10), 50), 400)
        assert 0.6 < found.value < 0.8
        distances.append(found.value - found.low)
        assert 1.5 < distances[-1] / found.draws.std() < 4  # Student's t with 9 degrees of freedom: 2.26
    assert distances[2] > 2 * distances[1] > 4 * distances[0]


def independent_lists(seed, apart, n_groups, clips=20):
    rng = np.random.default_rng(seed)
    truth = rng.random((n_groups * clips, 5)) < 0.3
    scores = apart * truth + rng.normal(size=truth.shape)
    return Predictions(scores, truth.astype(int), ids(len(truth)), 1, 0, "m", task="multi-label")


# The average precision of a large test set with these distances between positives and negatives.
@pytest.mark.parametrize(("apart", "true", "n_groups"), [(1.3748, 0.7, 6), (1.3748, 0.7, 30), (3.6680, 0.99, 6)])
def test_the_interval_of_map_covers_that_of_a_large_test_set_and_is_not_far_from_the_plain_one(apart, true, n_groups):
    large = mean_average_precision([independent_lists(0, apart, 2000)])
    assert large == pytest.approx(true, abs=0.003)
    groups = np.repeat(np.arange(n_groups), 20)
    found = [
        resampled_precision([independent_lists(seed, apart, n_groups)], groups, 200 if seed <= 20 else 0)
        for seed in range(1, 121)
    ]
    covered = np.mean([one.low <= true <= one.high for one in found])
    assert 0.92 <= covered <= (1 if true == 0.99 else 0.985)
    assert all(one.low < one.high for one in found)
    if true == 0.7:
        plain = np.median([one.value - np.quantile(one.draws, 0.025) for one in found[:20]])
        assert 0.6 < np.median([one.value - one.low for one in found[:20]]) / plain < 2.2


def test_without_an_error_few_groups_give_a_wide_interval():
    perfect = lists(n=60)
    perfect.probabilities[:] = perfect.targets
    few = resampled_precision([perfect], np.arange(60) // 10, 0)
    many = resampled_precision([perfect], np.arange(60), 0)
    assert few.value == few.high == 1 and 0.75 < few.low < many.low < 0.97
    f1 = resampled_macro_f1([perfect], np.arange(60) // 10, 0)
    assert f1.value == f1.high == 1 and f1.low == pytest.approx(few.low)


@pytest.mark.parametrize("task", ["multi-label", "single-label"])
def test_draws_of_macro_f1_are_scikit_learns(task):
    rng = np.random.default_rng(0)
    if task == "multi-label":
        one = lists()
        true, chosen = one.targets, one.predicted
    else:
        true = rng.integers(4, size=200)
        outputs = rng.random((200, 4)) + np.eye(4)[true] * 0.7
        one = Predictions((outputs / outputs.sum(1, keepdims=True)).astype(np.float32), true, ids(200), 1, 0, "m")
        chosen = one.predicted
    groups = np.arange(200) // 5
    found = resampled_macro_f1([one], groups, 3)
    weights = next(group_weights(40, 3, 0))[:, groups]
    wanted = [f1_score(true, chosen, average="macro", sample_weight=weight, zero_division=0) for weight in weights]
    assert found.draws == pytest.approx(wanted)
    assert found.value == pytest.approx(f1_score(true, chosen, average="macro"))


def test_the_interval_of_macro_f1_covers_that_of_a_large_test_set():
    def one(seed, n_groups=10):
        return [lists(n=20 * n_groups, separation=2.0, seed=seed)]

    true = macro_f1(one(0, 5000))
    found = [resampled_macro_f1(one(seed), np.arange(200) // 20, 0) for seed in range(1, 101)]
    assert 91 <= sum(own.low <= true <= own.high for own in found) <= 99


def test_errors_that_groups_share_do_not_spoil_the_coverage_of_ccc():
    def one(seed):
        rng = np.random.default_rng(seed)
        truth = rng.normal(size=200)
        error = np.sqrt(0.3) * np.repeat(rng.normal(size=10), 20) + np.sqrt(0.7) * rng.normal(size=200)
        return [Predictions((truth + 0.5 * error)[:, None], truth, ids(200), 1, 0, "m", task="regression")]

    true = 2 / (2 + 0.5**2)
    found = [resampled_concordance(one(seed), np.repeat(np.arange(10), 20), 0) for seed in range(300)]
    assert 277 <= sum(own.low <= true <= own.high for own in found) <= 297
