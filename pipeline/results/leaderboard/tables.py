"""`audioheads leaderboard`: results of several experiments, ranked if they are comparable.

Rows are ranked on a board, which is one dataset, protocol and metric. Rank 1 is the highest score; equal scores share
the mean of their ranks (as in Demšar, 2006). `tied_with_best` compares the rows of one run clip by clip, so it is
shown for the rows of the run with the board's best row, and does not change ranks. The mean rank is the mean over
datasets. It includes only models that are on every board, ranked among themselves, so that boards with many models
do not have more weight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from features.errors import UserError
from heads.evaluation import scores
from heads.evaluation.majority import BASELINE
from pipeline.config.errors import closest
from pipeline.console import Console
from pipeline.results.leaderboard.text import print_leaderboard
from pipeline.results.result_files import METRIC_COLUMNS, SCORE_COLUMNS, find_results, read_results, run_names
from pipeline.results.run_folder import write_whole
from pipeline.results.table import counted

if TYPE_CHECKING:
    import pandas as pd

BOARD = ["dataset", "protocol", "metric"]
MODEL = ["model", "weights", "pooling", "head"]  # columns that identify a model across boards
COUNTS = ("n_folds", "n_seeds", "n_test", "n_failed", "n_groups", "feature_dim", "params_total", "params_trained")
HIGH_FIRST = (
    "score",
    "extract_clips_per_s",
    "extract_realtime_factor",
    *(score.column for task in scores.SCORES.values() for score in task if score.higher_is_better and score.column),
)


def run_leaderboard(
    paths: Sequence[Path],
    *,
    runs: Path,
    filters: Mapping[str, Sequence[str]],
    sort: str,
    csv: Path | None,
    console: Console,
) -> None:
    """Print the boards and the mean ranks, and optionally write them as CSV.

    Args:
        paths: Run folders, folders of runs, `results.csv` files, configs or names of runs; none: all of `runs`.
        runs: The folder of runs.
        filters: Patterns (`*` and `?`) per column, one of which has to match; ranks are among the remaining rows.
        sort: Column to sort by within boards, best or lowest first; reversed with a leading `-`.
        csv: Path of the CSV file; None: none is written.
        console: Console to print to.

    Raises:
        UserError: A path has no results, a file is not a results table, a filter matches no row, or the column is
            unknown.
        RunError: The CSV cannot be written.
    """
    files, notes = find_results(paths, runs)
    if not files:
        for note in (f"no reports in {runs}; `audioheads report CONFIG` writes one", *notes):
            console.note(note)
        return
    table, more = joined([read_results(file, name) for file, name in zip(files, run_names(files), strict=True)])
    rows = ordered(ranked(filtered(table, filters)), sort)
    if csv is not None:
        write_whole(csv, lambda path: _as_csv(rows).to_csv(path, index=False))
    print_leaderboard(rows, [*notes, *more, *doubts(rows)], console)
    count = f"{counted(len(rows), 'row')} of {counted(rows['run'].nunique(), 'run')}"
    console.line(f"leaderboard: {count}{f' → {csv}' if csv else ''}")


def joined(tables: Sequence[pd.DataFrame]) -> tuple[pd.DataFrame, list[str]]:
    """Combine the rows of all runs in one table, without duplicates, and with one majority row for the same clips.

    Returns:
        The table, and notes about removed duplicates.
    """
    import pandas as pd

    table = pd.concat(tables, ignore_index=True)
    notes = []
    same = table.drop(columns=["run", "run_best"]).duplicated()
    if same.any():
        again = ", ".join(sorted(set(table.loc[same, "run"])))
        notes.append(f"{int(same.sum())} row(s) of {again} duplicate rows of another run and are shown once")
        table = table[~same].reset_index(drop=True)
    repeated = (table["family"] == BASELINE) & table.duplicated([*BOARD, "family", "score", "n_test"])
    return table[~repeated].reset_index(drop=True), notes


def filtered(table: pd.DataFrame, filters: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Return the rows that match every filter.

    Raises:
        UserError: A filter matches no row.
    """
    for column, patterns in filters.items():
        if not patterns:
            continue
        wanted = [pattern.casefold() for pattern in patterns]
        values = table[column].str.casefold()
        match = [any(fnmatchcase(value, pattern) for pattern in wanted) for value in values]
        if not any(match):
            there = ", ".join(sorted(set(table[column]))) or "nothing"
            raise UserError(f"--{column} {' '.join(patterns)}: no row matches; available: {there}")
        table = table[match]
    return table.reset_index(drop=True)


def ranked(table: pd.DataFrame) -> pd.DataFrame:
    """Add the columns `rank` (on the board), `mark` and `mean_rank`.

    `mark` is `best` for a board's best row. For the other rows of the same run it is `tied` if the paired
    comparison finds no significant difference, else empty. It is `–` for rows without such a comparison.
    """
    table = table.copy()
    boards = table.groupby(BOARD, sort=False)
    table["rank"] = boards["score"].rank(ascending=False, method="average")
    table["mark"] = "–"
    for _, rows in boards:
        best = rows["score"].idxmax()
        if rows.at[best, "run_best"]:
            compared = rows.index[rows["run"] == rows.at[best, "run"]]
            table.loc[compared, "mark"] = ["tied" if tied else "" for tied in table.loc[compared, "tied_with_best"]]
        table.at[best, "mark"] = "best"
    means = mean_ranks(table)
    if means.empty:
        return table.assign(mean_rank=float("nan"))
    return table.merge(means.rename("mean_rank").reset_index(), on=MODEL, how="left", validate="many_to_one")


def mean_ranks(table: pd.DataFrame) -> pd.Series:
    """Compute the mean rank of the models that are on every board, best first; empty with fewer than two datasets.

    A model with several rows on a board (such as runs with different seeds) counts with their mean score. A
    dataset with several boards counts once, with the mean of its ranks.

    Returns:
        Mean ranks, indexed by the columns `MODEL`.
    """
    if table["dataset"].nunique() < 2:
        import pandas as pd

        return pd.Series(dtype=float)
    scores = table.pivot_table(index=MODEL, columns=BOARD, values="score", aggfunc="mean").dropna()
    ranks = scores.rank(ascending=False, method="average")
    return ranks.T.groupby(level="dataset").mean().mean().sort_values(kind="stable")


def ordered(table: pd.DataFrame, sort: str) -> pd.DataFrame:
    """Sort the rows within their boards; boards are sorted by dataset and protocol.

    Raises:
        UserError: There is no such column.
    """
    column = sort.removeprefix("-")
    known = [str(name) for name in table if name not in ("run_best", "mark")]
    if column not in known:
        raise UserError(f"--sort {sort}: no such column, {closest(column, known)}")
    ascending = (column not in HIGH_FIRST) != sort.startswith("-")
    table = table.sort_values([column, "rank"], ascending=[ascending, True], kind="stable", na_position="last")
    return table.sort_values(BOARD, kind="stable").reset_index(drop=True)


def doubts(table: pd.DataFrame) -> list[str]:
    """Return reasons why rows are not comparable, one sentence each."""
    found = []
    for dataset in sorted(set(table["dataset"])):
        rows = table[table["dataset"] == dataset]
        for column in ("protocol", "metric"):
            values = sorted(set(rows[column]))
            if len(values) > 1:
                found.append(f"{dataset}: {column}s {', '.join(values)} are not comparable and are ranked separately")
    for _, rows in table.groupby(BOARD):
        board = f"{rows['dataset'].iloc[0]}, protocol {rows['protocol'].iloc[0]}"
        tested = sorted({int(count) for count in rows["n_test"].dropna()})
        if len(tested) > 1:
            found.append(f"{board}: rows tested {', '.join(map(str, tested))} clips, so the test clips differ")
        for _, again in rows[rows.duplicated(MODEL, keep=False)].groupby(MODEL):
            name = f"{again['model'].iloc[0]} {again['head'].iloc[0]}"
            found.append(f"{board}: {name} has {len(again)} rows, from {', '.join(again['run'])}")
    return found


def _as_csv(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows to write: the report's columns, followed by run and ranks."""
    import pandas as pd

    last = ["run", "rank", "mean_rank"]
    kept = table.drop(columns=[*SCORE_COLUMNS, "run_best", "mark", *last])
    if kept["value"].isna().all():
        kept = kept.drop(columns=list(METRIC_COLUMNS))
    whole = [name for name in kept if str(name) in COUNTS and (kept[name].dropna() % 1 == 0).all()]
    return pd.concat([kept.astype(dict.fromkeys(whole, "Int64")), table[last]], axis=1)
