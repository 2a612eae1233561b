"""Write predictions as CSV, JSON lines or Parquet."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from features.errors import UserError
from pipeline.console import escape_controls

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from features.labels import Task
    from pipeline.predicting.fitted import AveragedPoint

Format = Literal["csv", "jsonl", "parquet"]
SUFFIXES: dict[str, Format] = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}


@dataclass(frozen=True)
class Scored:
    """One row of the output.

    Attributes:
        id: Id of the clip.
        outputs: (C,) float32; None if the clip failed.
        start_s: Start of a window in its clip, in seconds; None for whole clips, NaN if unknown.
        end_s: End of the window in seconds, likewise.
        error: Why there are no outputs; empty if there are.
    """

    id: str
    outputs: np.ndarray | None
    start_s: float | None = None
    end_s: float | None = None
    error: str = ""


@dataclass(frozen=True)
class Answers:
    """The meaning of the outputs in a row.

    Attributes:
        labels: Class names in the order of the outputs; empty for regression.
        task: Kind of output.
        top_k: Number of classes per row, the most probable first.
        thresholds: Threshold of each class, shape (C,), see `Predictor.thresholds`.
        point: Thresholds by which rows also have a `decision` and its `score`; None: they have neither.
    """

    labels: Sequence[str]
    task: Task
    top_k: int
    thresholds: np.ndarray
    point: AveragedPoint | None = None

    def row(self, scored: Scored) -> dict[str, Any]:
        """Return one output row: id (start and end), decision, prediction, listed classes, error."""
        row: dict[str, Any] = {"id": scored.id}
        if scored.start_s is not None and scored.end_s is not None:
            times = {"start_s": scored.start_s, "end_s": scored.end_s}
            row |= {name: None if math.isnan(time) else round(time, 6) for name, time in times.items()}
        if scored.outputs is None:
            row |= {"decision": None, "score": None} if self.point is not None else {}
            empty: dict[str, Any] = {"value": None} if self.task == "regression" else {"label": None, "top": []}
            return row | empty | {"error": scored.error}
        numbers = [number(value) for value in scored.outputs]
        if self.task == "regression":
            return row | {"value": numbers[0], "error": None}
        import numpy as np

        order = np.argsort(-scored.outputs, kind="stable")  # stable, so that ties are broken as by argmax
        label: str | list[str] = self.labels[order[0]]
        if self.task == "multi-label":
            label = [self.labels[at] for at in np.flatnonzero(scored.outputs >= self.thresholds).tolist()]
        if self.point is not None:
            row |= self._decision(scored.outputs, self.point)
        top = [(self.labels[at], numbers[at]) for at in order[: self.top_k]]
        return row | {"label": label, "top": top, "error": None}

    def _decision(self, outputs: np.ndarray, point: AveragedPoint) -> dict[str, Any]:
        """Return the decided class or classes, and the highest probability among them or, if there is none, at all."""
        import numpy as np

        from heads.evaluation.decisions.operating_points import decide

        below = point.rule.below
        chosen = np.flatnonzero(decide(outputs[None], point.thresholds, self.task, abstain=below is not None)[0])
        score = number(outputs[chosen].max() if len(chosen) else outputs.max())
        names = [self.labels[at] for at in chosen.tolist()]
        return {"decision": names if self.task == "multi-label" else names[0] if names else below, "score": score}


def format_of(output: Path | None, requested: str | None) -> Format:
    """Return the requested format, or else the one of the suffix; CSV for stdout.

    Raises:
        UserError: The suffix or the name is unknown.
    """
    if requested is not None:
        if requested not in SUFFIXES.values():
            raise UserError(f"--format {requested}: use csv, jsonl or parquet")
        return requested  # type: ignore[return-value]
    if output is None:
        return "csv"
    if output.suffix.lower() not in SUFFIXES:
        raise UserError(f"-o {output}: unknown suffix; use .csv, .jsonl or .parquet, or --format")
    return SUFFIXES[output.suffix.lower()]


def write(rows: Sequence[Scored], answers: Answers, kind: Format, output: Path | None) -> None:
    """Write the rows to a file, atomically, or to stdout.

    Raises:
        RunError: The file cannot be written.
    """
    table = [answers.row(row) for row in rows]
    if kind == "parquet":
        import pyarrow.parquet as pq

        sink = io.BytesIO()
        pq.write_table(_arrow(table, answers), sink)
        data = sink.getvalue()
    else:
        lines = _csv(table, answers) if kind == "csv" else _json_lines(table)
        data = "".join(lines).encode("utf-8", "backslashreplace")
    if output is None:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    from pipeline.results.run_folder import write_whole

    write_whole(output, lambda temporary: temporary.write_bytes(data))


def _csv(table: Sequence[dict[str, Any]], answers: Answers) -> Iterator[str]:
    """Yield CSV with `label, probability, label_2, probability_2, …`; several labels of a clip are joined by `;`."""
    names = ("id", "start_s", "end_s", "decision", "score", "value", "label")
    shown = [name for name in names if any(name in row for row in table[:1])]
    several = answers.task == "multi-label"
    pairs = [f"{name}_{place}" for place in range(1, answers.top_k + 1) for name in ("label", "probability")]
    if not several:
        pairs = ["probability", *pairs[2:]]
    head = [*shown, *([] if answers.task == "regression" else pairs), "error"]
    for cells in [head, *(map(plain, _cells(row, shown, len(pairs), several)) for row in table)]:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(cells)
        yield text.getvalue()


def _cells(row: dict[str, Any], shown: Sequence[str], n_pairs: int, several: bool) -> list[Any]:
    cells = [";".join(row[name]) if isinstance(row[name], list) else row[name] for name in shown]
    if "label" in shown:
        flat = [cell for pair in row["top"] for cell in pair]
        flat = flat if several else flat[1:]
        cells += flat + [None] * (n_pairs - len(flat))
    return [*cells, row["error"]]


def plain(cell: Any) -> Any:
    """Return a CSV cell that neither steers a terminal nor is a formula in a spreadsheet; numbers are unchanged."""
    if not isinstance(cell, str):
        return cell
    text = escape_controls(cell.replace("\n", "\\n"))
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t")) else text


def _json_lines(table: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield one JSON object per line; `probabilities` are in falling order, `error` appears only for failed clips."""
    for row in table:
        out = {key: value for key, value in row.items() if key not in ("top", "error")}
        if row.get("top"):
            out["probabilities"] = dict(row["top"])
        if row["error"]:
            out = {key: value for key, value in out.items() if value is not None} | {"error": row["error"]}
        text = json.dumps(out, ensure_ascii=False)
        yield re.sub(r"[\x7f-\x9f]", lambda found: f"\\u{ord(found[0]):04x}", text) + "\n"


def _arrow(table: Sequence[dict[str, Any]], answers: Answers) -> pa.Table:
    """Return a table whose columns `labels` and `probabilities` are lists, the most probable first."""
    import pyarrow as pa

    columns: dict[str, pa.Array] = {"id": pa.array([row["id"] for row in table], pa.string())}
    if table and "start_s" in table[0]:
        columns |= {name: pa.array([row[name] for row in table], pa.float64()) for name in ("start_s", "end_s")}
    if answers.point is not None:
        kind = pa.list_(pa.string()) if answers.task == "multi-label" else pa.string()
        columns["decision"] = pa.array([row["decision"] for row in table], kind)
        columns["score"] = pa.array([row["score"] for row in table], pa.float32())
    if answers.task == "regression":
        columns["value"] = pa.array([row["value"] for row in table], pa.float32())
    else:
        kind = pa.list_(pa.string()) if answers.task == "multi-label" else pa.string()
        columns["label"] = pa.array([row["label"] for row in table], kind)
        names = [[name for name, _ in row["top"]] for row in table]
        values = [[value for _, value in row["top"]] for row in table]
        columns["labels"] = pa.array(names, pa.list_(pa.string()))
        columns["probabilities"] = pa.array(values, pa.list_(pa.float32()))
    columns["error"] = pa.array([row["error"] for row in table], pa.string())
    return pa.table(columns)


def number(value: np.floating) -> float:
    """Return a float32 as a float with its shortest exact digits."""
    import numpy as np

    return float(str(np.float32(value)))
