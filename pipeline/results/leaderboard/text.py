"""Print leaderboards to the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.console import Console
from pipeline.results.table import INDEPENDENT, N_GROUPS, counted

if TYPE_CHECKING:
    import pandas as pd

SHOWN = (
    "rank",
    "model",
    "weights",
    "layer",
    "pooling",
    "head",
    "score",
    "95 % interval",
    "log loss",
    "dim",
    "clips/s",
    "train s",
    "best",
    "mean rank",
    "run",
)
NUMBERS = ("rank", "score", "95 % interval", "log loss", "dim", "clips/s", "train s", "mean rank")
SPARE = ("dim", "train s", "clips/s", "log loss", "layer", "pooling")
LEGEND = (
    "rank: by score; equal scores share the mean of their ranks. Intervals are 95 %, clustered by group if known.",
    "best: tied rows do not differ significantly from the best (paired comparison); –: not compared, as between runs.",
)


def print_leaderboard(table: pd.DataFrame, notes: Sequence[str], console: Console) -> None:
    """Print a table for each dataset, protocol and metric, and notes on rows that are not comparable.

    Args:
        table: From `pipeline.results.leaderboard.tables.ordered`.
        notes: Notes, one sentence each.
        console: Console to print to.
    """
    left_out: dict[str, None] = {}
    has_means = table["mean_rank"].notna().any()
    for (dataset, protocol, metric), rows in table.groupby(["dataset", "protocol", "metric"], sort=False):
        tested = "/".join(sorted({f"{count:.0f}" for count in rows["n_test"].dropna()})) or "?"
        columns = [str(metric) if name == "score" else name for name in SHOWN if has_means or name != "mean rank"]
        lines = [
            [_cell(row, name) for name in SHOWN if has_means or name != "mean rank"] for row in rows.to_dict("records")
        ]
        hidden = console.table(
            columns,
            lines,
            title=f"{dataset}: protocol {protocol}, {metric}, {tested} clips tested",
            right=[str(metric) if name == "score" else name for name in NUMBERS],
            foldable=("weights", "run"),
            spare=SPARE,
        )
        left_out.update(dict.fromkeys(hidden))
        if caution := _caution(rows):
            console.line(caution)
        console.line("")
    if left_out:
        console.line(f"terminal too narrow for {', '.join(left_out)}; --csv FILE writes all columns")
    for line in LEGEND:
        console.line(line)
    if has_means:
        models = len(table.loc[table["mean_rank"].notna(), ["model", "weights", "pooling", "head"]].drop_duplicates())
        console.line(
            f"mean rank: over {table['dataset'].nunique()} datasets, "
            f"among the {counted(models, 'model')} that {'is' if models == 1 else 'are'} on every board"
        )
    elif table["dataset"].nunique() > 1:
        console.line("mean rank: no model is on every board")
    for note in notes:
        console.line(f"note: {note}")


def _caution(rows: pd.DataFrame) -> str:
    """Return a sentence about the runs of a board for which no groups are known; empty if there are none."""
    if N_GROUPS not in rows or not (unknown := rows[N_GROUPS] == 0).any():
        return ""
    runs = sorted(set(rows.loc[unknown, "run"]))
    return INDEPENDENT if unknown.all() else f"{', '.join(runs)}: {INDEPENDENT}"


def _cell(row: Mapping[Any, Any], name: str) -> str:
    """Format one cell."""
    if name == "95 % interval":
        low, high = row["score_ci_low"], row["score_ci_high"]
        return "–" if math.isnan(low) or math.isnan(high) else f"{low:.3f}–{high:.3f}"
    key, form = {
        "rank": ("rank", "g"),
        "score": ("score", ".3f"),
        "log loss": ("log_loss", ".3f"),
        "dim": ("feature_dim", ".0f"),
        "clips/s": ("extract_clips_per_s", ".1f"),
        "train s": ("train_seconds", ".1f"),
        "mean rank": ("mean_rank", ".2f"),
        "best": ("mark", ""),
    }.get(name, (name, ""))
    value = row[key]
    if isinstance(value, float):
        return "–" if math.isnan(value) else format(value, form)
    return str(value)
