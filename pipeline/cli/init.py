"""Typer command: `audioheads init`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from features.errors import UserError
from pipeline.cli.options import Device, Verbose
from pipeline.cli.start import open_console


def init(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="[FOLDER|MANIFEST]",
            help="Inspect this folder or manifest of labelled audio.",
            show_default="this folder",
        ),
    ] = Path(),
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write this config; default: NAME.yaml here.")
    ] = None,
    pattern: Annotated[
        str | None,
        typer.Option(
            "--pattern",
            metavar="PATTERN",
            help="Read label, group, fold and split from file names: '{group}_{label}_{}.wav'.",
        ),
    ] = None,
    device: Device = "auto",
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing config.")] = False,
    verbose: Verbose = False,
) -> None:
    """Inspect a folder or manifest and write a commented config for it."""
    console = open_console(verbose)
    if not path.exists():  # before heavy imports
        raise UserError(f"{path}: no such folder or manifest file")
    console.note(f"init: inspecting {path}")
    from pipeline.init.write import run_init

    run_init(path, output, device=device, force=force, console=console, pattern=pattern)
