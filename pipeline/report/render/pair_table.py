"""Differences of every two models: `comparisons.csv`."""

from __future__ import annotations

import pandas as pd

from pipeline.report.study import Study

KEYS = ("model", "head", "pooling")
COLUMNS = (
    "dataset",
    *KEYS,
    *(f"other_{name}" for name in KEYS),
    "metric",
    "difference",
    "difference_ci_low",
    "difference_ci_high",
    "p_value",
)


def pair_table(study: Study) -> pd.DataFrame:
    """Return two rows per pair of models, one from the view of each, models in the order of the results table.

    `difference` is the score of the model minus that of the other. The p-value is corrected for the number of pairs
    (Holm), the interval is not.
    """
    rows = [
        (
            study.manifest.name,
            *(model.row[name] for name in KEYS),
            *(pair[name] for name in KEYS),
            study.metric,
            pair["difference"],
            pair["ci_low"],
            pair["ci_high"],
            pair["p_value"],
        )
        for model in study.models
        for pair in model.details["pairs"]
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))
