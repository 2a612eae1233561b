"""The results table: its columns, and one row per model from what training left."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
METRIC_COLUMNS = ("metric", "value", "value_ci_low", "value_ci_high")
"""At the end of tables of multi-label and regression data, where no column above can hold the score."""
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
SHOWN_METRIC = {"metric": "metric", "value": "value", "value_interval": "95 % interval"}
# What a narrow terminal can do without, the first to go first.
SPARE = ("dim", "train s", "clips/s", "macro F1", "log loss", "pooling", "layer")
NUMBERS = ("accuracy", "value", "95 % interval", "macro F1", "log loss", "dim", "clips/s", "train s")


def layer_text(layers: Sequence[int | str]) -> str:
    """The chosen layers over folds: `7`, `3..9` where folds differ, `all` for a head that reads them all."""
    if "all" in layers:
        return "all"
    low, high = min(map(int, layers)), max(map(int, layers))
    return str(low) if low == high else f"{low}..{high}"


def weights_text(source: str) -> str:
    """The `weights` column of a backbone's source of weights: `pretrained:…`, `untrained` or `none`."""
    from features.backbones.loading.weights import BUNDLED

    if source in ("none", ""):
        return "none"
    if source == "random":
        return "untrained"
    source = source.removeprefix(BUNDLED)
    is_local = Path(source).exists() or source.startswith(("http://", "https://"))
    return f"pretrained:{Path(source).name if is_local else source}"


def table_of(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows as a table in the fixed order of columns, best first.

    `METRIC_COLUMNS` are there where a row has a `metric`.
    """
    import pandas as pd

    scored_otherwise = any(row.get("metric") for row in rows)
    table = pd.DataFrame(list(rows), columns=list(COLUMNS + METRIC_COLUMNS if scored_otherwise else COLUMNS))
    best_first = table.assign(score=_scores(table)).sort_values(
        ["dataset", "score"], ascending=[True, False], kind="stable"
    )
    return best_first.drop(columns="score").reset_index(drop=True)


def headings(table: pd.DataFrame) -> dict[str, str]:
    """What people read of a table: key and heading of each shown column."""
    if "metric" not in table:
        return SHOWN
    empty = [key for key in ("macro_f1",) if table[key].isna().all()]
    shown = list(SHOWN.items())
    at = list(SHOWN).index("accuracy")
    kept = [item for item in shown[at:] if item[0] not in ("accuracy", "interval", "log_loss", *empty)]
    return dict([*shown[:at], *SHOWN_METRIC.items(), *kept])


def shown_rows(table: pd.DataFrame) -> list[tuple[str, ...]]:
    """The table as people read it: one text per heading of `headings`."""
    rows = table.to_dict("records")
    best = _scores(table).groupby(table["dataset"]).idxmax().tolist()
    return [
        tuple("best" if key == "tied" and at in best else _cell(row, key) for key in headings(table))
        for at, row in enumerate(rows)
    ]


def _scores(table: pd.DataFrame) -> pd.Series:
    """What models are ranked by: the metric where there is one, else accuracy."""
    import pandas as pd

    accuracy = pd.to_numeric(table["accuracy"])
    return pd.to_numeric(table["value"]).fillna(accuracy) if "value" in table else accuracy


def title(table: pd.DataFrame) -> str:
    """The line above the table: what was done on what."""
    first = table.iloc[0]
    counts = (counted(first["n_folds"], "fold"), counted(first["n_seeds"], "seed"), counted(first["n_test"], "clip"))
    return f"{first['dataset']}: protocol {first['protocol']}, {counts[0]} × {counts[1]}, {counts[2]} tested"


def counted(number: int, noun: str) -> str:
    """`1 fold`, `5 folds`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def markdown(table: pd.DataFrame, failures: Mapping[str, str], warnings: Sequence[str], answer: str = "") -> str:
    """The shown table as Markdown, with what its readers must know and the answer in a sentence."""
    head = list(headings(table).values())
    lines = [head, ["---:" if name in NUMBERS else "---" for name in head], *shown_rows(table)]
    blocks = [
        f"# {_escape(title(table))}",
        *([_escape(answer)] if answer else []),
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
    if key in ("interval", "value_interval"):
        name = "accuracy" if key == "interval" else "value"
        return f"{row[f'{name}_ci_low']:.3f}–{row[f'{name}_ci_high']:.3f}"
    if key == "tied":
        return "tied" if row["tied_with_best"] else ""
    value = row[key]
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if key in ("accuracy", "value", "macro_f1", "log_loss"):
        return f"{value:.3f}"
    if key in ("extract_clips_per_s", "train_seconds"):
        return f"{value:.1f}"
    return str(value)


def _escape(cell: str) -> str:
    """Text that stays text in a Markdown table, on one line."""
    cell = "".join(mark if mark.isprintable() or mark == " " else " " for mark in cell)
    for mark in ("\\", "|", "<", ">", "*", "_", "`", "[", "]", "&", "$"):
        cell = cell.replace(mark, f"\\{mark}")
    return cell
