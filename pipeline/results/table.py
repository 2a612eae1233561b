"""The results table: columns, order and printed form."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heads.evaluation.scores import SCORES, Score

if TYPE_CHECKING:
    import pandas as pd

    from features.labels import Task

TIED = "tied: not significantly different from the best (paired bootstrap)."
INDEPENDENT = (
    "Every clip counted as independent, because no groups are known: if clips share a speaker or recording, the score "
    "is too high."
)
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
"""Further columns of tables of multi-label and regression data, whose scores have no column above."""
N_GROUPS = "n_groups"
"""Column of the number of groups that the manifest gives to the test clips; 0 if it gives none."""
N_ABSENT = "n_absent"
"""Column of tables with test clips of a class without training clips; they count as errors."""
CONTAMINATION = "contamination"
LATER_COLUMNS = ("extract_load", CONTAMINATION)
"""Columns of later versions, after all others.

`extract_load`: load of the machine per core during stage 1. `contamination`: whether pretrained weights have seen the
corpus, a mark of `features.backbones.presets.exposure`; empty without pretrained weights.
"""
SEEN = "saw: the weights were trained on this corpus or on recordings from its source."
COMMIT_AT_END = re.compile(r"(@[0-9a-f]{7})[0-9a-f]{33}$")  # of a hub id, shown with seven digits as git does
CALIBRATION_COLUMNS = (
    "ece",
    "brier",
    "calibration",
    "ece_calibrated",
    "brier_calibrated",
    "log_loss_calibrated",
)
"""Last columns of tables of classes: calibration of the probabilities as they are, and after a map, see
`pipeline.results.decisions.calibration_rows`."""
UNKNOWN_COLUMNS = ("unknown_auroc", "unknown_auroc_energy")
"""Columns of experiments with `open_set`, after all others: how well the highest probability and the energy separate
known classes from one that was left out of training, mean over these classes."""
DEVICE_COLUMNS = ("latency_ms", "realtime_factor", "size_mb")
"""Very last columns: time of one clip and size on disk, see `pipeline.results.device_costs`; empty if not measured."""
LATER_TEXTS = (CONTAMINATION, "calibration")
"""Later columns that hold text."""
BUSY = "*: measured while the load of the machine exceeded its cores; compare such clips/s with caution."
REFIT = "+refit"  # end of the protocol of models that were trained again on training and validation clips
# Columns shown in the terminal and in results.md; scores are between them. results.csv has all columns.
SHOWN_FIRST = {"model": "model", "weights": "weights", "layer": "layer", "pooling": "pooling", "head": "head"}
THROUGHPUT = "clips/s"
SHOWN_LAST = {"feature_dim": "dim", "extract_clips_per_s": THROUGHPUT, "train_seconds": "train s", "tied": "best"}
SHOWN_DEVICE = {"latency_ms": "ms/clip", "size_mb": "MB"}  # if a model was measured
INTERVAL = "95 % interval"
UNKNOWN = "unknown AUROC"
MORE_SCORES = tuple(
    dict.fromkeys(score.heading for scores in SCORES.values() for score in scores[1:] if score.heading is not None)
)
# Columns hidden in a narrow terminal, in this order.
SPARE = ("MB", "ms/clip", "dim", "train s", "clips/s", UNKNOWN, *MORE_SCORES, "pooling", "layer")
NUMBERS = ("accuracy", "value", INTERVAL, *MORE_SCORES, UNKNOWN, "dim", "clips/s", "train s", *SHOWN_DEVICE.values())


def score_columns() -> tuple[str, ...]:
    """Return the columns of all tasks' scores, each once, without their intervals."""
    return tuple(dict.fromkeys(score.column for scores in SCORES.values() for score in scores if score.column))


def columns_of(task: Task) -> tuple[str, ...]:
    """Return the columns of a task's `results.csv`, in order; scores added in later versions are at the end."""
    known = COLUMNS if task == "single-label" else COLUMNS + METRIC_COLUMNS
    return tuple(dict.fromkeys((*known, *_columns_of_scores(SCORES[task]), N_GROUPS, N_ABSENT, *LATER_COLUMNS)))


def later_columns() -> tuple[str, ...]:
    """Return the columns of all tasks that are neither in `COLUMNS` nor in `METRIC_COLUMNS`."""
    every = [name for scores in SCORES.values() for name in _columns_of_scores(scores)]
    names = dict.fromkeys(
        (*every, N_GROUPS, N_ABSENT, *LATER_COLUMNS, *CALIBRATION_COLUMNS, *UNKNOWN_COLUMNS, *DEVICE_COLUMNS)
    )
    return tuple(name for name in names if name not in COLUMNS + METRIC_COLUMNS)


def _columns_of_scores(scores: Sequence[Score]) -> list[str]:
    found = []
    for score in scores:
        found += [score.column, *interval_columns(score)] if score.column else []
    return found


def interval_columns(score: Score) -> tuple[str, ...]:
    """Return the columns of the interval of a score other than the first.

    Scores of the first version have none, because `COLUMNS` is fixed; their intervals are only in `results.json`.
    """
    if score.interval is None or score.column is None or score.column in COLUMNS:
        return ()
    return f"{score.column}_ci_low", f"{score.column}_ci_high"


def layer_text(layers: Sequence[int | str]) -> str:
    """Format the layers chosen by the folds: `7`, `3..9` if they differ, `all` for a head that reads all layers."""
    if "all" in layers:
        return "all"
    low, high = min(map(int, layers)), max(map(int, layers))
    return str(low) if low == high else f"{low}..{high}"


def weights_text(source: str) -> str:
    """Return the `weights` column of a backbone's weights: `pretrained:…`, `untrained` or `none`."""
    from features.backbones.presets.record import BUNDLED

    if source in ("none", ""):
        return "none"
    if source == "random":
        return "untrained"
    source = source.removeprefix(BUNDLED)
    is_local = Path(source).exists() or source.startswith(("http://", "https://"))
    return f"pretrained:{Path(source).name if is_local else source}"


def table_of(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Convert rows to a table with a fixed order of columns, best row first.

    `METRIC_COLUMNS` are included if a row has a `metric`; columns of later scores if a row has them.
    """
    import pandas as pd

    scored_otherwise = any(row.get("metric") for row in rows)
    known = COLUMNS + METRIC_COLUMNS if scored_otherwise else COLUMNS
    there = {name for row in rows for name, value in row.items() if name != N_ABSENT or value}
    added = [name for name in later_columns() if name in there]
    table = pd.DataFrame(list(rows), columns=[*known, *added])
    best_first = table.assign(score=_scores(table)).sort_values(
        ["dataset", "score"], ascending=[True, False], kind="stable"
    )
    return best_first.drop(columns="score").reset_index(drop=True)


def headings(table: pd.DataFrame) -> dict[str, str]:
    """Return key and heading of each shown column."""
    scores = shown_scores(table)
    first = {"accuracy": "accuracy", "interval": INTERVAL}
    if "metric" in table:
        first = {"metric": "metric", "value": "value", "value_interval": INTERVAL}
        scores = {key: score for key, score in scores.items() if table[key].notna().any()}
    more = {key: str(score.heading) for key, score in scores.items() if key not in first}
    refit = {"refit": "refit"} if table["protocol"].astype(str).str.endswith(REFIT).any() else {}
    device = {key: name for key, name in SHOWN_DEVICE.items() if key in table and table[key].notna().any()}
    seen = {CONTAMINATION: CONTAMINATION} if _some_seen(table) else {}
    unknown = {UNKNOWN_COLUMNS[0]: UNKNOWN} if UNKNOWN_COLUMNS[0] in table else {}
    return {**SHOWN_FIRST, **refit, **first, **more, **unknown, **SHOWN_LAST, **device, **seen}


def _some_seen(table: pd.DataFrame) -> bool:
    """Return whether the weights of a row have seen the corpus or its source."""
    return CONTAMINATION in table and any(str(mark).startswith("saw ") for mark in table[CONTAMINATION])


def shown_scores(table: pd.DataFrame) -> dict[str, Score]:
    """Return the printed scores of a table's task by their columns."""
    metric = table["metric"].iloc[0] if "metric" in table and len(table) else "accuracy"
    own = next((scores for scores in SCORES.values() if scores[0].name == metric), ())
    return {score.column: score for score in own if score.column and score.column in table and score.heading}


def shown_rows(table: pd.DataFrame) -> list[tuple[str, ...]]:
    """Format the shown rows: one text per heading of `headings`."""
    rows, forms = table.to_dict("records"), {key: score.form for key, score in shown_scores(table).items()}
    best = _scores(table).groupby(table["dataset"]).idxmax().tolist()
    return [
        tuple("best" if key == "tied" and at in best else _cell(row, key, forms) for key in headings(table))
        for at, row in enumerate(rows)
    ]


def _scores(table: pd.DataFrame) -> pd.Series:
    """Return the scores that rank the models: the metric if there is one, else accuracy."""
    import pandas as pd

    accuracy = pd.to_numeric(table["accuracy"])
    return pd.to_numeric(table["value"]).fillna(accuracy) if "value" in table else accuracy


def is_busy(row: Mapping[Any, Any]) -> bool:
    """Return whether the load of the machine exceeded its cores while the embeddings of a row were computed."""
    load = row.get("extract_load")
    return load is not None and load > 1


def some_busy(table: pd.DataFrame) -> bool:
    """Return whether a row of the shown table has the mark of `BUSY` at its clips/s."""
    return any(is_busy(row) and row["extract_clips_per_s"] for row in table.to_dict("records"))


def legend(table: pd.DataFrame, hidden: Sequence[str] = ()) -> str:
    """Return the text below the shown table: what `tied`, the intervals and marks mean.

    Args:
        table: The table of an experiment.
        hidden: Headings of the columns that are not shown; their marks are not explained.
    """
    groups = sorted({int(count) for count in table[N_GROUPS]})
    if any(groups):
        clusters = f"Intervals are clustered by group ({'/'.join(map(str, groups))} groups)."
    else:
        clusters = "No groups are known: intervals count every clip as independent."
    busy = THROUGHPUT not in hidden and some_busy(table)
    absent = sorted({int(count) for count in table.get(N_ABSENT, ()) if count == count and count})
    errors = [
        f"{'/'.join(map(str, absent))} test clips of classes without a training clip in their fold count as errors."
    ]
    seen = [SEEN] if _some_seen(table) else []
    return " ".join([TIED, clusters, *(errors if absent else []), *([BUSY] if busy else []), *seen])


def title(table: pd.DataFrame) -> str:
    """Return the title of the table: dataset, protocol and counts."""
    first = table.iloc[0]
    counts = (counted(first["n_folds"], "fold"), counted(first["n_seeds"], "seed"), counted(first["n_test"], "clip"))
    return f"{first['dataset']}: protocol {first['protocol']}, {counts[0]} × {counts[1]}, {counts[2]} tested"


def counted(number: int, noun: str) -> str:
    """Format a count with its noun: `1 fold`, `5 folds`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def markdown(
    table: pd.DataFrame, failures: Mapping[str, str], warnings: Sequence[str], answer: Sequence[str] = ()
) -> str:
    """Format the shown table as Markdown, with legend, warnings, failed clips and the lines of the answer."""
    head = list(headings(table).values())
    lines = [head, ["---:" if name in NUMBERS else "---" for name in head], *shown_rows(table)]
    blocks = [
        f"# {_escape(title(table))}",
        *(["  \n".join(map(_escape, answer))] if answer else []),  # two blanks break the line
        "\n".join("| " + " | ".join(_escape(cell) for cell in line) + " |" for line in lines),
        legend(table),
        *(f"**Warning:** {_escape(warning)}" for warning in warnings),
    ]
    if failures:
        listed = [f"- {_escape(clip)}: {_escape(reason)}" for clip, reason in failures.items()]
        blocks += [f"## {counted(len(failures), 'clip')} failed, excluded from all scores", "\n".join(listed)]
    return "\n\n".join(blocks) + "\n"


def _cell(row: Mapping[Any, Any], key: str, forms: Mapping[str, str]) -> str:
    """Format one cell; `forms` has the format of each score."""
    if key in ("interval", "value_interval"):
        name = "accuracy" if key == "interval" else "value"
        return "–".join(format(row[f"{name}_ci_{end}"], forms.get(name, ".3f")) for end in ("low", "high"))
    if key == "tied":
        return "tied" if row["tied_with_best"] else ""
    if key == "refit":
        return "yes" if str(row["protocol"]).endswith(REFIT) else "no"
    value = row[key]
    if key == "weights":
        return COMMIT_AT_END.sub(r"\1", str(value))
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if key == UNKNOWN_COLUMNS[0]:
        return f"{value:.3f}"
    if key in forms:
        return format(value, forms[key])
    if key in SHOWN_DEVICE:
        return f"{value:.2g}" if value < 1 else f"{value:.1f}" if value < 100 else f"{value:.0f}"
    if key in ("extract_clips_per_s", "train_seconds"):
        return f"{value:.1f}{'*' if key == 'extract_clips_per_s' and is_busy(row) else ''}"
    return str(value)


def _escape(cell: str) -> str:
    """Escape text for one line of a Markdown table."""
    cell = "".join(mark if mark.isprintable() or mark == " " else " " for mark in cell)
    for mark in ("\\", "|", "<", ">", "*", "_", "`", "[", "]", "&", "$"):
        cell = cell.replace(mark, f"\\{mark}")
    return cell
