"""Coverage of the intervals of ROC-AUC, average precision, equal error rate and of rates at a threshold.

Positives lie some standard deviations above negatives, as in `designs.separated`, so the true values are known.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from scipy import optimize, stats

from benchmarks.coverage.designs import DESIGNS, Design, average_precision, separated
from benchmarks.figures import Figure
from benchmarks.results import save
from heads.evaluation.class_scores import Estimate
from heads.evaluation.decisions.calibration import mean_interval
from heads.evaluation.decisions.ranking_scores import ranking_scores, replicate, worth_of_ranking
from heads.evaluation.decisions.threshold_outcomes import group_counts
from heads.evaluation.predictions import Predictions

GROUPS = (10, 30, 100)
AUCS = (0.7, 0.9, 0.98)
RANKING = ("ROC-AUC", "average precision", "equal error rate")
SCORES = (*RANKING, "precision", "recall", "false positive rate", "Brier score")


def estimates(one: Predictions, groups: np.ndarray) -> list[Estimate | None]:
    """Return the estimates of a test set with one label, in the order of `SCORES`."""
    scores, truth = one.probabilities[:, 0], one.targets[:, 0] > 0
    found = ranking_scores(replicate([[(scores, truth)]], groups), groups, worth_of_ranking(truth, groups))
    rates = group_counts(scores[None] >= 0.5, truth, groups).outcome()
    brier = mean_interval((scores.astype(np.float64) - truth) ** 2, groups)
    ranked = found.roc_auc, found.average_precision, found.equal_error_rate
    return [*ranked, rates.precision, rates.recall, rates.false_positive_rate, brier]


def true_values(apart: float, positive: float) -> list[float]:
    """Return the values of infinitely many clips with the threshold halfway between the two means."""
    area, missed = float(stats.norm.cdf(apart / np.sqrt(2))), float(stats.norm.cdf(-apart / 2))
    recall, alarms = 1 - missed, missed
    precision = positive * recall / (positive * recall + (1 - positive) * alarms)
    points = (np.arange(100_000) + 0.5) / 100_000
    of_positive = 1 / (1 + np.exp(-2 * (apart / 2 + stats.norm.ppf(points))))
    brier = float(np.mean((1 - of_positive) ** 2))  # the same for negatives, by symmetry
    return [area, average_precision(apart, positive), missed, precision, recall, alarms, brier]


def simulate(design: Design, area: float, n_groups: int, n_sets: int) -> np.ndarray:
    """Return whether each interval contains the true value, shape (sets, scores); nan if a score is not defined."""
    apart = optimize.brentq(lambda apart: stats.norm.cdf(apart / np.sqrt(2)) - area, 0, 12)
    true = true_values(apart, design.positive)
    rng = np.random.default_rng([int(1000 * area), n_groups])
    groups = np.repeat(np.arange(n_groups), design.clips)
    found = np.full((n_sets, len(SCORES)), np.nan)
    for number in range(n_sets):
        one = separated(rng, design, n_groups, apart, apart / 2)
        for at, estimate in enumerate(estimates(one, groups)):
            if estimate is not None:
                found[number, at] = estimate[1] <= true[at] <= estimate[2]
    return found


def measure(n_sets: int, show: Callable[[str], object] = print) -> list[Figure]:
    """Measure and show the coverage for every design, area and number of groups; the goal is 0.93 to 0.98."""
    figures = []
    show(f"{'design':<25}{'ROC-AUC':>8}{'groups':>7}  " + "".join(f"{score[:12]:>13}" for score in SCORES))
    for design in DESIGNS:
        single = Design(design.name, design.clips, 1, design.positive, design.group_share, design.label_share)
        for area in AUCS:
            for n_groups in GROUPS:
                covered = np.nanmean(simulate(single, area, n_groups, n_sets), axis=0)
                show(f"{design.name:<25}{area:>8}{n_groups:>7}  " + "".join(f"{value:>13.3f}" for value in covered))
                figures += [
                    Figure(
                        what=f"{score}, ROC-AUC {area}, {n_groups} groups, {design.name}",
                        value=float(value),
                        unit="of true values covered",
                        at_least=0.93,
                        at_most=0.98 if n_groups >= 30 and area <= 0.9 else None,
                        details={"sets": n_sets},
                    )
                    for score, value in zip(SCORES, covered, strict=True)
                ]
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=1000, help="test sets per setting")
    save({"coverage of decisions": measure(parser.parse_args().sets)}, "cpu")
