"""Coverage and width of the intervals of mAP, macro F1 and CCC at known true values."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.coverage.designs import DESIGNS, Design, Make, for_concordance, for_f1, for_precision
from benchmarks.figures import Figure
from benchmarks.results import save
from heads.evaluation.bootstrap import Resampled, resampled_concordance, resampled_macro_f1, resampled_precision

VALUES = (0.3, 0.5, 0.7, 0.9, 0.99)
GROUPS = (6, 10, 30, 100)
COMPARED = 40  # test sets for which the plain bootstrap is computed
DRAWS = 200

SCORES: dict[str, tuple[Callable[[Design, float], Make], Callable[..., Resampled]]] = {
    "mAP": (for_precision, resampled_precision),
    "macro F1": (for_f1, resampled_macro_f1),
    "CCC": (for_concordance, resampled_concordance),
}


def coverage(score: str, design: Design, true: float, n_groups: int, n_sets: int) -> Figure:
    """Measure how often the interval contains the true value.

    The goal is 0.93 to 0.98; the upper limit holds from 30 groups on for true values up to 0.9. The details also
    have the coverage of the mean score of such test sets, the mean width, and the median distance of the lower end
    from the score, alone and relative to that of a percentile bootstrap over groups.
    """
    simulation, resampled = SCORES[score]
    make = simulation(design, true)
    rng = np.random.default_rng([int(1000 * true), n_groups])
    groups = np.repeat(np.arange(n_groups), design.clips)
    found, plain = [], []
    for at in range(n_sets):
        one = resampled([make(rng, design, n_groups)], groups, DRAWS if at < COMPARED else 0)
        found.append((one.value, one.low, one.high))
        if at < COMPARED:
            plain.append(one.value - np.quantile(one.draws, 0.025))
    values, lows, highs = np.array(found).T
    below = float(np.median((values - lows)[:COMPARED]))
    percentile = float(np.median(plain))
    return Figure(
        what=f"{score} {true}, {n_groups} groups, {design.name}",
        value=float(np.mean((lows <= true) & (true <= highs))),
        unit="of true values covered",
        at_least=0.93,
        at_most=0.98 if n_groups >= 30 and true <= 0.9 else None,
        details={
            "mean score covered": float(np.mean((lows <= values.mean()) & (values.mean() <= highs))),
            "mean score": float(values.mean()),
            "width": float(np.mean(highs - lows)),
            "below the score": below,
            "relative to percentile bootstrap": below / percentile if percentile > 0 else None,
            "zero width": int(np.sum(highs <= lows)),
            "sets": n_sets,
        },
    )


def measure(scores: Sequence[str], designs: Sequence[str], n_sets: int, n_sets_large: int) -> None:
    """Print one line per setting, and save the figures of each design and score.

    Args:
        scores: Names of `SCORES`.
        designs: Names of designs.
        n_sets: Test sets for each setting of up to 30 groups.
        n_sets_large: Test sets for each setting of more groups.
    """
    print(f"{'design':<25}{'score':>9}{'true':>6}{'groups':>7}{'covered':>9}{'mean c.':>9}{'width':>7}{'× plain':>9}")
    for design in (one for one in DESIGNS if one.name in designs):
        for score in scores:
            figures = []
            for true in VALUES:
                for n_groups in GROUPS:
                    one = coverage(score, design, true, n_groups, n_sets if n_groups <= 30 else n_sets_large)
                    figures.append(one)
                    ratio = one.details["relative to percentile bootstrap"]
                    print(
                        f"{design.name:<25}{score:>9}{true:>6}{n_groups:>7}{one.value:>9.3f}"
                        f"{one.details['mean score covered']:>9.3f}{one.details['width']:>7.3f}"
                        f"{'–' if ratio is None else f'{ratio:.2f}':>9}{'' if one.met else '  not met'}",
                        flush=True,
                    )
            save({f"coverage {score}, {design.name}": figures}, "cpu")
