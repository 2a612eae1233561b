"""Typer command: `audioheads leaderboard`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.options import Verbose
from pipeline.cli.start import open_console

Patterns = list[str] | None


def _filter(column: str) -> typer.models.OptionInfo:
    return typer.Option(
        f"--{column}", metavar="PATTERN", help=f"Show only rows with this {column}; * and ? are wildcards."
    )


def leaderboard(
    runs_or_folders: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="RUN_OR_FOLDER",
            help="Rank these runs, folders of runs, results.csv files or configs.",
            show_default="all runs",
        ),
    ] = None,
    dataset: Annotated[Patterns, _filter("dataset")] = None,
    model: Annotated[Patterns, _filter("model")] = None,
    head: Annotated[Patterns, _filter("head")] = None,
    family: Annotated[Patterns, _filter("family")] = None,
    protocol: Annotated[Patterns, _filter("protocol")] = None,
    sort: Annotated[
        str, typer.Option(metavar="COLUMN", help="Sort by rank or a column of results.csv; -COLUMN reverses.")
    ] = "rank",
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the rows as CSV.")] = None,
    runs: Annotated[Path, typer.Option(metavar="FOLDER", help="Look for runs in this folder.")] = Path("runs"),
    verbose: Verbose = False,
) -> None:
    """Rank the results of several experiments in one table."""
    console = open_console(verbose)
    from pipeline.results.leaderboard.tables import run_leaderboard

    filters = {"dataset": dataset, "model": model, "head": head, "family": family, "protocol": protocol}
    run_leaderboard(
        runs_or_folders or [],
        runs=runs,
        filters={column: patterns or [] for column, patterns in filters.items()},
        sort=sort,
        csv=csv,
        console=console,
    )
