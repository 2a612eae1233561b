"""Typer command: `audioheads bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.models import EnsembleOption, Fold, Model, Seed, Trust, Weights
from pipeline.cli.options import Device, Verbose
from pipeline.cli.start import open_console


def bench(
    model: Model,
    clips: Annotated[
        list[Path] | None,
        typer.Option(metavar="PATH", help="Files or folders to measure on; default: clips of the run, or synthetic."),
    ] = None,
    runs: Annotated[int, typer.Option("--n-clips", min=3, metavar="N", help="Number of clips to measure.")] = 50,
    threads: Annotated[int, typer.Option(min=1, metavar="N", help="CPU threads.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print all figures as JSON.")] = False,
    fold: Fold = None,
    seed: Seed = None,
    ensemble: EnsembleOption = None,
    weights: Weights = None,
    trust: Trust = None,
    device: Device = "cpu",
    verbose: Verbose = False,
) -> None:
    """Measure time of one clip, memory and size of a trained model."""
    console = open_console(verbose)
    from pipeline.benching.command import run_bench
    from pipeline.benching.options import BenchOptions
    from pipeline.predicting.command import FitChoice

    choice = FitChoice(fold, seed, ensemble, tuple(trust or ()), weights)  # type: ignore[arg-type]
    options = BenchOptions(tuple(clips or ()), runs, threads, device)
    run_bench(model, choice, options, as_json=as_json, console=console)
