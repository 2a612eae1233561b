"""`audioheads leaderboard`: the rows of several experiments side by side, ranked where they may be compared.

Rows are ranked on a board: one dataset, protocol and metric. The rank is that of the score, 1 for the
highest; equal scores share the mean of their ranks (as in Demšar, 2006). `tied_with_best` compares the
rows of one run clip by clip, so it is shown for the rows of the run that the board's best comes from, and
changes no rank. The mean rank is over datasets and among the models that stand on every board, ranked
anew among themselves, so that a board of many models weighs no more than one of few.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from features.errors import RunError, UserError
from heads.evaluation import scores
from pipeline.config.errors import closest
from pipeline.console import Console
from pipeline.results.leaderboard_text import print_leaderboard
from pipeline.results.result_files import METRIC_COLUMNS, SCORE_COLUMNS, find_results, read_results, run_names
from pipeline.results.table import counted

if TYPE_CHECKING:
    import pandas as pd

BOARD = ["dataset", "protocol", "metric"]
MODEL = ["model", "weights", "pooling", "head"]  # what makes two rows of different boards one model
COUNTS = ("n_folds", "n_seeds", "n_test", "n_failed", "feature_dim", "params_total", "params_trained")
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
    """Print the boards and the mean ranks, and write them as CSV where asked.

    Args:
        paths: Run folders, folders of runs, `results.csv` files, configs or names of runs; none: all of `runs`.
        runs: The folder of runs.
        filters: Per column, the patterns (`*` and `?`) of which one has to match; ranks are among what is left.
        sort: A column, best or lowest first, the other way round with `-` before it; boards stay together.
        csv: Where to write the rows.
        console: Where to print.

    Raises:
        UserError: Nothing to read, a table that is none, a filter that leaves nothing, an unknown column.
        RunError: The CSV cannot be written.
    """
    files, notes = find_results(paths, runs)
    table, more = joined([read_results(file, name) for file, name in zip(files, run_names(files), strict=True)])
    rows = ordered(ranked(filtered(table, filters)), sort)
    if csv is not None:
        try:
            csv.parent.mkdir(parents=True, exist_ok=True)
            _as_csv(rows).to_csv(csv, index=False)
        except OSError as error:
            raise RunError(f"cannot write {csv} ({error.strerror or error})") from error
    print_leaderboard(rows, [*notes, *more, *doubts(rows)], console)
    count = f"{counted(len(rows), 'row')} of {counted(rows['run'].nunique(), 'run')}"
    console.line(f"leaderboard: {count}{f' → {csv}' if csv else ''}")


def joined(tables: Sequence[pd.DataFrame]) -> tuple[pd.DataFrame, list[str]]:
    """One table of all runs' rows; rows that say the very same stand once.

    Returns:
        The table, and what its reader must know.
    """
    import pandas as pd

    table = pd.concat(tables, ignore_index=True)
    notes = []
    same = table.drop(columns=["run", "run_best"]).duplicated()
    if same.any():
        again = ", ".join(sorted(set(table.loc[same, "run"])))
        notes.append(f"{int(same.sum())} row(s) of {again} say the very same as another run's and stand once")
        table = table[~same].reset_index(drop=True)
    return table, notes


def filtered(table: pd.DataFrame, filters: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """The rows that every filter lets through.

    Raises:
        UserError: A filter leaves nothing.
    """
    for column, patterns in filters.items():
        if not patterns:
            continue
        wanted = [pattern.casefold() for pattern in patterns]
        values = table[column].str.casefold()
        match = [any(fnmatchcase(value, pattern) for pattern in wanted) for value in values]
        if not any(match):
            there = ", ".join(sorted(set(table[column]))) or "nothing"
            raise UserError(f"--{column} {' '.join(patterns)}: no such row is left; there is {there}")
        table = table[match]
    return table.reset_index(drop=True)


def ranked(table: pd.DataFrame) -> pd.DataFrame:
    """The rows with `rank` on their board, `mark` and `mean_rank`.

    `mark` is `best` for a board's first row, `tied` and empty for rows of the same run that its paired
    comparison does and does not tell from it, and `–` where there was no such comparison.
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
    """Mean rank of the models that stand on every board, the best first; empty with fewer than two datasets.

    A model with several rows on a board (runs that differ in seeds, say) counts with their mean score. A
    dataset with several boards counts once, with the mean of its ranks.

    Returns:
        Indexed by the columns `MODEL`.
    """
    if table["dataset"].nunique() < 2:
        import pandas as pd

        return pd.Series(dtype=float)
    scores = table.pivot_table(index=MODEL, columns=BOARD, values="score", aggfunc="mean").dropna()
    ranks = scores.rank(ascending=False, method="average")
    return ranks.T.groupby(level="dataset").mean().mean().sort_values(kind="stable")


def ordered(table: pd.DataFrame, sort: str) -> pd.DataFrame:
    """The rows sorted within their boards; boards by dataset and protocol.

    Raises:
        UserError: No such column.
    """
    column = sort.removeprefix("-")
    known = [str(name) for name in table if name not in ("run_best", "mark")]
    if column not in known:
        raise UserError(f"--sort {sort}: no such column, {closest(column, known)}")
    ascending = (column not in HIGH_FIRST) != sort.startswith("-")
    table = table.sort_values([column, "rank"], ascending=[ascending, True], kind="stable", na_position="last")
    return table.sort_values(BOARD, kind="stable").reset_index(drop=True)


def doubts(table: pd.DataFrame) -> list[str]:
    """What keeps rows from being comparable, one sentence each."""
    found = []
    for dataset in sorted(set(table["dataset"])):
        rows = table[table["dataset"] == dataset]
        for column in ("protocol", "metric"):
            values = sorted(set(rows[column]))
            if len(values) > 1:
                found.append(f"{dataset}: {column}s {', '.join(values)} are not comparable and are ranked apart")
    for _, rows in table.groupby(BOARD):
        board = f"{rows['dataset'].iloc[0]}, protocol {rows['protocol'].iloc[0]}"
        tested = sorted({int(count) for count in rows["n_test"].dropna()})
        if len(tested) > 1:
            found.append(f"{board}: rows tested {', '.join(map(str, tested))} clips, so not the same ones")
        for _, again in rows[rows.duplicated(MODEL, keep=False)].groupby(MODEL):
            name = f"{again['model'].iloc[0]} {again['head'].iloc[0]}"
            found.append(f"{board}: {name} stands {len(again)} times, of {', '.join(again['run'])}")
    return found


def _as_csv(table: pd.DataFrame) -> pd.DataFrame:
    """The rows as they are written: the report's columns, then where they come from and how they rank."""
    import pandas as pd

    last = ["run", "rank", "mean_rank"]
    kept = table.drop(columns=[*SCORE_COLUMNS, "run_best", "mark", *last])
    if kept["value"].isna().all():
        kept = kept.drop(columns=list(METRIC_COLUMNS))
    whole = [name for name in kept if str(name) in COUNTS and (kept[name].dropna() % 1 == 0).all()]
    return pd.concat([kept.astype(dict.fromkeys(whole, "Int64")), table[last]], axis=1)
