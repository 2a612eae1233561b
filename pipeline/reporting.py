"""Stage 3 of an experiment: kept predictions to one results table, with intervals, ties and costs."""

from __future__ import annotations

import datetime
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from features.errors import RunError
from features.write import library_versions
from pipeline.config import Config
from pipeline.console import Console
from pipeline.label_efficiency import CURVE_NUMBERS, curve_cells
from pipeline.report.clips import tested_rows
from pipeline.report.page import page_of
from pipeline.report.study import gather
from pipeline.results import LEGEND, NUMBERS, SPARE, counted, headings, markdown, shown_rows, title
from pipeline.run_folder import write_json


def run_report(config: Config, *, console: Console) -> None:
    """Score every trained model and write `results.csv`, `results.md` and `results.json`; print the table.

    Args:
        config: The experiment.
        console: Where the table is printed.

    Raises:
        UserError: A model of this config is not trained yet.
        RunError: The report cannot be written.
    """
    study = gather(config)
    table, curve, failures, warnings = study.table, study.curve, study.failures, list(study.warnings)
    folder = config.run_dir / "report"
    details = [dict(model.details) for model in study.models]
    _write(folder, table, details, curve, failures, warnings)
    sources = [linked(folder, study.manifest.path_of(row)) for row in tested_rows(study)]
    (folder / "index.html").write_text(page_of([(study, sources)]), encoding="utf-8")
    left_out = console.table(
        list(headings(table).values()),
        shown_rows(table),
        title=title(table),
        right=NUMBERS,
        foldable=["weights"],
        spare=SPARE,
    )
    if left_out:
        console.line(f"too narrow here for {', '.join(left_out)}; results.md has all of it")
    console.line(LEGEND)
    if len(curve):
        shown = curve_cells(curve)
        console.table(
            list(shown), list(zip(*shown.values(), strict=True)), title="label efficiency", right=CURVE_NUMBERS
        )
    for warning in warnings:
        console.line(f"warning: {warning}")
    if failures:
        clip, reason = next(iter(failures.items()))
        console.line(
            f"{counted(len(failures), 'clip')} failed, in no score, first {clip}: {reason} (all in results.md)"
        )
    console.line(
        f"report {study.manifest.name}: {counted(len(table), 'row')} → {folder}/index.html, results.csv, .md, .json"
    )


def linked(folder: Path, path: Path) -> str | None:
    """A URL that leads from a folder to a file; None where there is no file."""
    if not path.is_file():
        return None
    return quote(os.path.relpath(path.absolute(), folder.absolute()).replace(os.sep, "/"))


def _write(
    folder: Path,
    table: pd.DataFrame,
    details: list[dict[str, Any]],
    curve: pd.DataFrame,
    failures: dict[str, str],
    warnings: list[str],
) -> None:
    """The report's files; all show the same numbers."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        table.to_csv(folder / "results.csv", index=False)
        if len(curve):
            curve.to_csv(folder / "label_efficiency.csv", index=False)
        else:
            (folder / "label_efficiency.csv").unlink(missing_ok=True)
        (folder / "results.md").write_text(markdown(table, failures, warnings), encoding="utf-8")
    except OSError as error:
        raise RunError(f"cannot write {folder} ({error.strerror or error})") from error
    write_json(
        folder / "results.json",
        {
            "created_utc": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "versions": library_versions(),
            "interval": "95 %, accuracy (or metric) of these models on new groups: heads/statistics.py, resampled.py",
            "rows": details,
            "label_efficiency": curve.to_dict("records"),
            "warnings": warnings,
            "failures": failures,
        },
    )
