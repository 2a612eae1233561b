"""Find and read the `results.csv` of runs, including those of other versions of this program."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from features.errors import UserError
from pipeline.config.config import load_config
from pipeline.config.errors import closest
from pipeline.results.table import COLUMNS, LATER_TEXTS, later_columns

if TYPE_CHECKING:
    import pandas as pd

RESULTS = Path("report") / "results.csv"
NEEDED = ("dataset", "model", "head")
TEXTS = ("dataset", "model", "family", "weights", "layer", "pooling", "head", "protocol", "tied_with_best", "metric")
METRIC_COLUMNS = ("metric", "value", "value_ci_low", "value_ci_high")  # in tables whose score is not accuracy
ADDED = ("run", "run_best", "rank", "mark", "mean_rank")  # added by a leaderboard, whose CSV can be read too
SCORE_COLUMNS = ("score", "score_ci_low", "score_ci_high")
EVERY = tuple(dict.fromkeys((*COLUMNS, *METRIC_COLUMNS)))
NUMBERS = tuple(name for name in EVERY if name not in TEXTS)


def find_results(paths: Sequence[Path], runs: Path) -> tuple[list[Path], list[str]]:
    """Find the results files of some paths, each once.

    Args:
        paths: Run folders, folders of runs, `results.csv` files, configs, or names of runs in `runs`; none: `runs`.
        runs: The folder of runs.

    Returns:
        The files, and a note for each run without a report. There are none if no path is given and `runs` has none.

    Raises:
        UserError: A path does not exist or has no results; the message has the command that creates them.
    """
    if not paths and not runs.exists():
        return [], []
    found: list[Path] = []
    notes: list[str] = []
    for path in paths or [runs]:
        if not path.exists() and (runs / path).exists():
            path = runs / path
        if not path.exists():
            names = [folder.name for folder in runs.iterdir() if folder.is_dir()] if runs.is_dir() else []
            raise UserError(
                f"{path}: no such run or folder, {closest(path, names)}; `audioheads report CONFIG` creates one"
            )
        if path.suffix in (".yaml", ".yml") and path.is_file():
            path = load_config(path).run_dir
        if path.is_file():
            found.append(path)
            continue
        own = [path / RESULTS, path / RESULTS.name]
        below = sorted(path.glob(f"*/{RESULTS.as_posix()}"))
        here = [file for file in own if file.is_file()][:1] or below
        if not here and paths:
            config = path / "config.yaml"
            raise UserError(
                f"{path}: has no {RESULTS}; `audioheads report {config if config.is_file() else 'CONFIG'}` creates it"
            )
        found += here
        if here is below:
            notes += [
                f"{run.parent.name} has no report yet and is skipped; `audioheads report {run}` creates it"
                for run in sorted(path.glob("*/config.yaml"))
                if run.parent / RESULTS not in here
            ]
    return list({file.resolve(): file for file in found}.values()), notes


def read_results(path: Path, run: str) -> pd.DataFrame:
    """Read a results table with all columns of this version, and the run of each row.

    Columns that an older version did not write are empty. Added columns are `score` with `score_ci_low` and
    `score_ci_high` (the `value` of `metric` if the table has one, else the accuracy), `run`, and `run_best`:
    whether a row has the highest score of its run, dataset, protocol and metric.

    Args:
        path: The file.
        run: Name of the run.

    Returns:
        The table.

    Raises:
        UserError: The file is not a results table, or required columns or values are missing.
    """
    import pandas as pd

    again = "run `audioheads report CONFIG` to write it again"
    try:
        texts = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as a results table ({str(error).splitlines()[0]}); {again}") from error
    missing = [name for name in NEEDED if name not in texts]
    if not {"accuracy", "value"} & set(texts):
        missing.append("accuracy")
    if missing or texts.empty:
        what = f"has no column {missing[0]!r}" if missing else "has no rows"
        raise UserError(f"{path}: {what}, so it is not a results table; {again}")
    theirs = [name for name in texts if name not in (*EVERY, *ADDED)]
    table = texts.reindex(columns=[*EVERY, *theirs], fill_value="")
    for name in (*NUMBERS, *(name for name in later_columns() if name in theirs and name not in LATER_TEXTS)):
        table[name] = _numbers(path, name, table[name], again)
    table["tied_with_best"] = table["tied_with_best"].str.casefold().isin(("true", "1"))
    table["protocol"] = table["protocol"].replace("", "unknown")
    other = table["value"].notna()
    table["metric"] = table["metric"].where(other, "accuracy").replace("", "value")
    for end in ("", "_ci_low", "_ci_high"):
        table[f"score{end}"] = table[f"value{end}"].where(other, table[f"accuracy{end}"])
    if table["score"].isna().any():
        row = table[table["score"].isna()].iloc[0]
        raise UserError(f"{path}: {row['model']} {row['head']} has neither accuracy nor value; {again}")
    table["run"] = run
    best = table.groupby(["dataset", "protocol", "metric"])["score"].transform("max")
    return table.assign(run_best=table["score"] == best)


def _numbers(path: Path, name: str, column: pd.Series, again: str) -> pd.Series:
    """Convert a column to floats; empty cells are NaN."""
    import pandas as pd

    values = pd.to_numeric(column.replace("", None), errors="coerce").astype("float64")
    bad = column[values.isna() & (column != "") & (column.str.casefold() != "nan")]
    if len(bad):
        raise UserError(f"{path}: {name} is {bad.iloc[0]!r} in row {bad.index[0] + 1}, not a number; {again}")
    return values


def run_names(files: Sequence[Path]) -> list[str]:
    """Return the names of runs: `esc10` for `runs/esc10/report/results.csv`; the whole path if names repeat."""
    folders = [file.resolve().parent for file in files]
    folders = [folder.parent if folder.name == RESULTS.parent.name else folder for folder in folders]
    names = [folder.name for folder in folders]
    return [str(folder) if names.count(name) > 1 else name for folder, name in zip(folders, names, strict=True)]
