"""The report's tables as files: `results.csv`, `.md`, `.tex` and `.json` with the same numbers, and further tables."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from features.store.writer import library_versions
from pipeline.report.analysis.caveats import caveats
from pipeline.report.analysis.class_table import class_table
from pipeline.report.analysis.verdict import verdict
from pipeline.report.render.latex import latex
from pipeline.report.render.pair_table import pair_table
from pipeline.report.sentence import text_of
from pipeline.report.study import Study
from pipeline.results.run_folder import write_json, write_text, write_whole
from pipeline.results.table import COLUMNS, METRIC_COLUMNS, markdown

FILES = {
    "results.csv": "the results table with all columns",
    "results.md": "the results table as Markdown",
    "results.tex": "the results table for LaTeX",
    "results.json": "scores by fold, seed and class, costs and versions",
    "classes.csv": "precision, recall and F1 of each class by every model",
    "comparisons.csv": "the difference of every two models, with interval and p-value",
    "calibration.csv": "calibration of every model",
    "calibration.json": "calibration curves",
    "thresholds.csv": "thresholds and what they give on test clips",
    "thresholds.json": "curves over thresholds",
    "false_alarms.csv": "false alarms on background",
    "false_alarms.json": "false alarms on background, with the most probable ones",
    "open_set.csv": "what models decide about sounds of other classes",
    "open_set.json": "the same, with details",
    "label_efficiency.csv": "scores by number of training clips",
}
"""Files that `write_tables` can write, and their contents."""
INTERVAL = "95 %, accuracy (or metric) of these models on new groups: heads/evaluation/statistics.py, jackknife.py"


def write_tables(folder: Path, studies: Sequence[Study]) -> None:
    """Write the tables of one or several experiments.

    For several experiments, the rows are concatenated and the last column, `run`, contains the experiment's name.
    Models are compared within an experiment only.

    Raises:
        OSError: The folder cannot be written.
        RunError: `results.json` cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    table = joined([study.table for study in studies], studies)
    write_whole(folder / "results.csv", lambda path: table.to_csv(path, index=False))
    curves = [study for study in studies if len(study.curve)]
    if curves:
        curve = joined([study.curve for study in curves], curves if len(studies) > 1 else ())
        write_whole(folder / "label_efficiency.csv", lambda path: curve.to_csv(path, index=False))
    else:
        (folder / "label_efficiency.csv").unlink(missing_ok=True)
    classes = joined([class_table(study) for study in studies], studies)
    if len(classes):
        write_whole(folder / "classes.csv", lambda path: classes.to_csv(path, index=False))
    else:
        (folder / "classes.csv").unlink(missing_ok=True)
    pairs = joined([pair_table(study) for study in studies], studies)
    write_whole(folder / "comparisons.csv", lambda path: pairs.to_csv(path, index=False))
    _write_decisions(folder, studies)
    _write_open_set(folder, studies)
    parts = [markdown(study.table, study.failures, study.warnings, _answer(study)) for study in studies]
    write_text(folder / "results.md", "\n".join(parts))
    write_text(folder / "results.tex", latex([study.table for study in studies]))
    write_json(folder / "results.json", _json(studies))


def written(folder: Path) -> dict[str, str]:
    """Return the files of `FILES` that are in a folder, and the folder of figures, with their contents."""
    return {name: content for name, content in FILES.items() if (folder / name).is_file()} | {
        "figures/": "every chart as SVG and PNG"
    }


def _write_decisions(folder: Path, studies: Sequence[Study]) -> None:
    """Write `.csv` and `.json` of calibration, thresholds and false alarms; where there are none, earlier ones go."""
    tables: dict[str, list[tuple[pd.DataFrame, Sequence[dict[str, Any]], Study]]] = {
        "calibration": [(one.decisions.calibration, one.decisions.calibration_entries, one) for one in studies],
        "thresholds": [(one.decisions.thresholds, one.decisions.threshold_entries, one) for one in studies],
        "false_alarms": [(one.false_alarms.table, one.false_alarms.entries, one) for one in studies],
    }
    for name, parts in tables.items():
        parts = [part for part in parts if len(part[0])]
        if not parts:
            (folder / f"{name}.csv").unlink(missing_ok=True)
            (folder / f"{name}.json").unlink(missing_ok=True)
            continue
        table = joined([part[0] for part in parts], [part[2] for part in parts] if len(studies) > 1 else ())
        write_whole(folder / f"{name}.csv", partial(table.to_csv, index=False))
        write_json(folder / f"{name}.json", {one.config.name: list(entries) for _, entries, one in parts})


def _write_open_set(folder: Path, studies: Sequence[Study]) -> None:
    """Write `open_set.csv` and `.json`; without such models, earlier ones are removed."""
    parts = [study for study in studies if study.open_set.rows]
    if not parts:
        (folder / "open_set.csv").unlink(missing_ok=True)
        (folder / "open_set.json").unlink(missing_ok=True)
        return
    table = joined([study.open_set.table for study in parts], parts if len(studies) > 1 else ())
    write_whole(folder / "open_set.csv", partial(table.to_csv, index=False))
    write_json(folder / "open_set.json", {study.config.name: list(study.open_set.rows) for study in parts})


def joined(tables: Sequence[pd.DataFrame], studies: Sequence[Study]) -> pd.DataFrame:
    """Concatenate tables. With several experiments, the last column, `run`, contains their names."""
    if len(studies) <= 1:
        return tables[0]
    named = [table.assign(run=study.config.name) for table, study in zip(tables, studies, strict=True)]
    whole = pd.concat([table.astype(object) for table in named], ignore_index=True)
    known = [name for name in (*COLUMNS, *METRIC_COLUMNS) if name in whole]
    return whole[[*known, *(name for name in whole if name not in (*known, "run")), "run"]]


def _answer(study: Study) -> list[str]:
    """Return the lines of the answer and what limits it."""
    return [text_of(line) for line in (*verdict(study), *caveats(study))]


def _json(studies: Sequence[Study]) -> dict[str, Any]:
    stamp = {
        "created_utc": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": library_versions(),
        "interval": INTERVAL,
    }
    if len(studies) == 1:
        return stamp | _about(studies[0])
    return stamp | {"runs": {study.config.name: _about(study) for study in studies}}


def _about(study: Study) -> dict[str, Any]:
    return {
        "answer": "\n".join(map(text_of, verdict(study))),
        "caveats": list(map(text_of, caveats(study))),
        "rows": [dict(model.details) for model in study.models],
        "label_efficiency": study.curve.to_dict("records"),
        "warnings": list(study.warnings),
        "failures": study.failures,
    }
