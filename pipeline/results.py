"""The results table: its columns, and one row per model from what training left."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

LEGEND = "tied: a paired bootstrap over groups cannot tell it from the best. Intervals are clustered by group."
COLUMNS = (
    "dataset",
    "model",
    "family",
    "weights",
    "layer",
    "pooling",
    "head",
    "protocol",
    "n_folds",
    "n_seeds",
    "n_test",
    "n_failed",
    "accuracy",
    "accuracy_ci_low",
    "accuracy_ci_high",
    "macro_f1",
    "log_loss",
    "feature_dim",
    "params_total",
    "params_trained",
    "extract_clips_per_s",
    "extract_realtime_factor",
    "train_seconds",
    "cache_bytes_per_clip",
    "tied_with_best",
)
FRACTION_DIGITS = 4
# What a person reads in the terminal and in results.md; results.csv has every column.
SHOWN = {
    "model": "model",
    "weights": "weights",
    "layer": "layer",
    "pooling": "pooling",
    "head": "head",
    "accuracy": "accuracy",
    "interval": "95 % interval",
    "macro_f1": "macro F1",
    "log_loss": "log loss",
    "feature_dim": "dim",
    "extract_clips_per_s": "clips/s",
    "train_seconds": "train s",
    "tied": "best",
}
# What a narrow terminal can do without, the first to go first.
SPARE = ("dim", "train s", "clips/s", "macro F1", "log loss", "pooling", "layer")
NUMBERS = ("accuracy", "95 % interval", "macro F1", "log loss", "dim", "clips/s", "train s")


def layer_text(layers: Sequence[int | str]) -> str:
    """The chosen layers over folds: `7`, `3..9` where folds differ, `all` for a head that reads them all."""
    if "all" in layers:
        return "all"
    low, high = min(map(int, layers)), max(map(int, layers))
    return str(low) if low == high else f"{low}..{high}"


def weights_text(source: str) -> str:
    """The `weights` column of a backbone's source of weights: `pretrained:…`, `untrained` or `none`."""
    if source in ("none", ""):
        return "none"
    if source == "random":
        return "untrained"
    is_local = Path(source).exists() or source.startswith(("http://", "https://"))
    return f"pretrained:{Path(source).name if is_local else source}"


def table_of(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows as a table in the fixed order of columns, best accuracy first."""
    table = pd.DataFrame(list(rows), columns=list(COLUMNS))
    return table.sort_values(["dataset", "accuracy"], ascending=[True, False], kind="stable").reset_index(drop=True)


def shown_rows(table: pd.DataFrame) -> list[tuple[str, ...]]:
    """The table as people read it: one text per heading of `SHOWN`."""
    rows = table.to_dict("records")
    best = table.groupby("dataset")["accuracy"].idxmax().tolist()
    return [
        tuple("best" if key == "tied" and at in best else _cell(row, key) for key in SHOWN)
        for at, row in enumerate(rows)
    ]


def title(table: pd.DataFrame) -> str:
    """The line above the table: what was done on what."""
    first = table.iloc[0]
    counts = (counted(first["n_folds"], "fold"), counted(first["n_seeds"], "seed"), counted(first["n_test"], "clip"))
    return f"{first['dataset']}: protocol {first['protocol']}, {counts[0]} × {counts[1]}, {counts[2]} tested"


def counted(number: int, noun: str) -> str:
    """`1 fold`, `5 folds`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def markdown(table: pd.DataFrame, failures: Mapping[str, str], warnings: Sequence[str]) -> str:
    """The shown table as Markdown, with what its readers must know."""
    head = list(SHOWN.values())
    lines = [head, ["---:" if name in NUMBERS else "---" for name in head], *shown_rows(table)]
    blocks = [
        f"# {_escape(title(table))}",
        "\n".join("| " + " | ".join(_escape(cell) for cell in line) + " |" for line in lines),
        LEGEND,
        *(f"**Warning:** {_escape(warning)}" for warning in warnings),
    ]
    if failures:
        listed = [f"- {_escape(clip)}: {_escape(reason)}" for clip, reason in failures.items()]
        blocks += [f"## {counted(len(failures), 'clip')} failed, in no score", "\n".join(listed)]
    return "\n\n".join(blocks) + "\n"


def _cell(row: Mapping[Any, Any], key: str) -> str:
    """One shown cell."""
    if key == "interval":
        return f"{row['accuracy_ci_low']:.3f}–{row['accuracy_ci_high']:.3f}"
    if key == "tied":
        return "tied" if row["tied_with_best"] else ""
    value = row[key]
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if key in ("accuracy", "macro_f1", "log_loss"):
        return f"{value:.3f}"
    if key in ("extract_clips_per_s", "train_seconds"):
        return f"{value:.1f}"
    return str(value)


def _escape(cell: str) -> str:
    """Text that stays text in a Markdown table."""
    for mark in ("\\", "|", "<", ">", "*", "_", "`", "[", "]"):
        cell = cell.replace(mark, f"\\{mark}")
    return cell
