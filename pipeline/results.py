"""The results table: its columns, and one row per model from what training left."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

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
NUMBERS = ("accuracy", "95 % interval", "macro F1", "log loss", "dim", "clips/s", "train s")


def layer_text(layers: Sequence[int]) -> str:
    """The chosen layers over folds: `7`, or `3..9` where folds differ."""
    low, high = min(layers), max(layers)
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
    return [tuple(_cell(row, key) for key in SHOWN) for row in table.to_dict("records")]


def markdown(table: pd.DataFrame) -> str:
    """The shown table as Markdown."""
    head = list(SHOWN.values())
    lines = [head, ["---:" if name in NUMBERS else "---" for name in head], *shown_rows(table)]
    return "\n".join("| " + " | ".join(_escape(cell) for cell in line) + " |" for line in lines) + "\n"


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
    for mark in ("\\", "|", "<", ">", "*", "_", "`"):
        cell = cell.replace(mark, f"\\{mark}")
    return cell
