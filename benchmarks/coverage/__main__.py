"""Check the coverage of 95 % intervals, and how often equally good models are found to differ.

Simulates test sets of ESC-10's size: 400 clips in 304 groups with ESC-10's group sizes, and in 80 groups of
five, with and without outcomes that correlate within groups. `2 equal` and `5 equal`: how often any of 2 or 5
equally accurate models is found to be significantly different. Run: `python -m benchmarks.coverage`; it takes three
minutes on one core. Results with 2,000 test sets for intervals (standard error 0.005) and 1,000 for ties (0.007;
with 4,000, the value for two equal models at 0.6 in correlated groups of five was 0.044):

    groups          outcomes     accuracy  covered   width  2 equal  5 equal
    304 groups      independent       0.6    0.954   0.097    0.049    0.040
    304 groups      independent      0.77    0.953   0.084    0.041    0.035
    304 groups      independent      0.96    0.951   0.040    0.027    0.020
    304 groups      independent      0.99    0.956   0.023    0.012    0.003
    304 groups      correlated        0.6    0.947   0.104    0.040    0.025
    304 groups      correlated       0.77    0.953   0.088    0.033    0.028
    304 groups      correlated       0.96    0.941   0.041    0.035    0.015
    304 groups      correlated       0.99    0.955   0.024    0.013    0.001
    80 groups of 5  independent       0.6    0.955   0.100    0.052    0.032
    80 groups of 5  independent      0.77    0.952   0.086    0.036    0.032
    80 groups of 5  independent      0.96    0.956   0.041    0.021    0.016
    80 groups of 5  independent      0.99    0.960   0.024    0.004    0.001
    80 groups of 5  correlated        0.6    0.955   0.133    0.059    0.048
    80 groups of 5  correlated       0.77    0.959   0.111    0.040    0.047
    80 groups of 5  correlated       0.96    0.948   0.048    0.029    0.024
    80 groups of 5  correlated       0.99    0.968   0.027    0.004    0.001
"""

import argparse
from collections.abc import Callable

import numpy as np
from scipy import stats

from benchmarks.coverage.designs import DESIGNS
from benchmarks.coverage.scores import SCORES, measure
from heads.evaluation.bootstrap import resampled_concordance, resampled_precision
from heads.evaluation.metrics import concordance, mean_average_precision
from heads.evaluation.predictions import Predictions
from heads.evaluation.statistics import DRAWS, accuracy_interval, compare, tied_with_best

ESC10_GROUPS = np.repeat([1, 2, 3, 4, 5, 6, 7], [237, 51, 10, 2, 2, 1, 1])
SIZES = {"304 groups": ESC10_GROUPS, "80 groups of 5": np.full(80, 5)}
ACCURACIES = (0.6, 0.77, 0.96, 0.99)
# Fractions of the variance of a clip's latent score: clip and group (common to all models), group (per model).
SHARES = {"independent": (0.4, 0.0, 0.0), "correlated": (0.3, 0.1, 0.25)}


def outcomes(rng: np.random.Generator, sizes: np.ndarray, accuracy: float, n_models: int, shares: tuple) -> np.ndarray:
    """Simulate correct (1) and wrong (0) predictions, (clips, n_models), by thresholding a latent normal score."""
    group = np.repeat(np.arange(len(sizes)), sizes)
    n, (clip_share, group_share, own_share) = len(group), shares
    score = np.sqrt(clip_share) * rng.normal(size=(n, 1))
    score = score + np.sqrt(group_share) * rng.normal(size=(len(sizes), 1))[group]
    score = score + np.sqrt(own_share) * rng.normal(size=(len(sizes), n_models))[group]
    score = score + np.sqrt(1 - sum(shares)) * rng.normal(size=(n, n_models))
    return (score < stats.norm.ppf(accuracy)).astype(float)


def lists(rng: np.random.Generator, sizes: np.ndarray, separation: float, n_models: int, share: float) -> list:
    """Simulate ten classes, each present with probability 0.15, and the predictions of equally good models."""

    def noise() -> np.ndarray:
        group = np.sqrt(share) * rng.normal(size=(len(sizes), 10))
        return np.repeat(group, sizes, axis=0) + np.sqrt(1 - share) * rng.normal(size=(sizes.sum(), 10))

    truth = noise() < stats.norm.ppf(0.15)
    ids = np.arange(sizes.sum()).astype(str)
    order = np.argsort(ids)
    predicted = [stats.norm.cdf(separation * truth + noise()).astype(np.float32) for _ in range(n_models)]
    return [
        Predictions(one[order], truth[order].astype(int), ids[order], 1, 0, "m", task="multi-label")
        for one in predicted
    ]


def values(rng: np.random.Generator, sizes: np.ndarray, error: float, n_models: int, share: float) -> list:
    """Simulate normal values, and models that predict them with a normal error of `error` standard deviations."""

    def noise() -> np.ndarray:
        group = np.sqrt(share) * rng.normal(size=len(sizes))
        return np.repeat(group, sizes) + np.sqrt(1 - share) * rng.normal(size=sizes.sum())

    truth, ids = noise(), np.arange(sizes.sum()).astype(str)
    order = np.argsort(ids)
    predicted = [truth + error * noise() for _ in range(n_models)]
    return [Predictions(one[order, None], truth[order], ids[order], 1, 0, "m", task="regression") for one in predicted]


METRICS: dict[str, tuple[Callable, Callable, Callable, int, tuple[float, ...]]] = {
    "mAP": (lists, mean_average_precision, resampled_precision, 1000, (1.5, 2.5, 4.0, 5.5)),
    "CCC": (values, concordance, resampled_concordance, DRAWS, (1.0, 0.5, 0.2, 0.1)),
}


def other_metrics(n_sets: int) -> None:
    """Print coverage and ties of mAP and CCC; the true value is the mean over five times as many other test sets."""
    rng = np.random.default_rng(0)
    print(f"{'groups':<16}{'outcomes':<13}{'metric':>8}{'value':>8}{'covered':>9}{'width':>8}{'2 equal':>9}")
    for name, sizes in SIZES.items():
        groups = np.repeat(np.arange(len(sizes)), sizes)[np.argsort(np.arange(sizes.sum()).astype(str))]
        for kind, share in (("independent", 0.0), ("correlated", 0.3)):
            for metric, (make, figure, resampled, draws, settings) in METRICS.items():
                for setting in settings:
                    truth = np.mean([figure(make(rng, sizes, setting, 1, share)) for _ in range(5 * n_sets)])
                    covered = differs = width = 0.0
                    for _ in range(n_sets):
                        one, other = (
                            resampled([predicted], groups, draws) for predicted in make(rng, sizes, setting, 2, share)
                        )
                        covered += (one.low <= truth <= one.high) / n_sets
                        width += (one.high - one.low) / n_sets
                        drawn = np.stack([one.draws, other.draws], axis=1)
                        found = compare({"a": one.value, "b": other.value}, drawn, len(sizes))
                        differs += (not all(pair.tied for pair in found.values())) / n_sets
                    print(
                        f"{name:<16}{kind:<13}{metric:>8}{truth:>8.3f}{covered:>9.3f}{width:>8.3f}{differs:>9.3f}",
                        flush=True,
                    )


def main() -> None:
    """Print one line per setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=2000, help="test sets for intervals; half as many for ties")
    parser.add_argument("--metrics", action="store_true", help="check mAP and CCC instead of accuracy")
    parser.add_argument(
        "--scores",
        nargs="+",
        choices=SCORES,
        help="check the intervals of these scores at known true values, and save the figures",
    )
    names = [one.name for one in DESIGNS]
    parser.add_argument("--designs", nargs="+", choices=names, default=names, help="simulations for --scores")
    options = parser.parse_args()
    n_sets = options.sets
    if options.scores:
        return measure(options.scores, options.designs, n_sets, n_sets // 2)
    if options.metrics:
        return other_metrics(n_sets)
    rng = np.random.default_rng(0)
    print(f"{'groups':<16}{'outcomes':<13}{'accuracy':>8}{'covered':>9}{'width':>8}{'2 equal':>9}{'5 equal':>9}")
    for name, sizes in SIZES.items():
        groups = np.repeat(np.arange(len(sizes)), sizes)
        for kind, shares in SHARES.items():
            for accuracy in ACCURACIES:
                ends = np.array(
                    [accuracy_interval(outcomes(rng, sizes, accuracy, 1, shares)[:, 0], groups) for _ in range(n_sets)]
                )
                covered = np.mean((ends[:, 0] <= accuracy) & (accuracy <= ends[:, 1]))
                different = []
                for n_models in (2, 5):
                    calls = [
                        any(
                            not one.tied
                            for one in tied_with_best(
                                dict(zip("abcde", outcomes(rng, sizes, accuracy, n_models, shares).T, strict=False)),
                                groups,
                            ).values()
                        )
                        for _ in range(n_sets // 2)
                    ]
                    different.append(np.mean(calls))
                width = np.mean(ends[:, 1] - ends[:, 0])
                print(
                    f"{name:<16}{kind:<13}{accuracy:>8}{covered:>9.3f}{width:>8.3f}"
                    f"{different[0]:>9.3f}{different[1]:>9.3f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
