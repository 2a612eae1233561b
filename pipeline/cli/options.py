"""Typer options that several commands share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

MANY_PROCESSES = "Several processes and machines"


def _device(value: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|xpu|cuda(:\d+)?", value):
        raise typer.BadParameter(f"{value!r} is not a device; use auto, cpu, cuda, cuda:0 or mps")
    return value


def _engine(value: str) -> str:
    if value not in ("local", "ray"):
        raise typer.BadParameter(f"{value!r} is not an engine; use local or ray")
    return value


def _without_effect(context: typer.Context, parameter: typer.CallbackParam, value: Any) -> Any:
    """Say that an option which another stage has does nothing here."""
    if value:
        typer.echo(f"{context.info_name}: {parameter.opts[0]} has no effect on this stage", err=True)
    return value


ConfigFile = Annotated[
    Path,
    typer.Argument(
        metavar="CONFIG", help="Use this YAML file of an experiment, or a shipped config by name.", show_default=False
    ),
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change one value of the config, e.g. features.backbones.yamnet.weights=F. Repeat it for more values.",
    ),
]
Device = Annotated[
    str,
    typer.Option(
        callback=_device, metavar="DEVICE", help="Compute on this device: auto, cpu, cuda, cuda:N, mps or xpu."
    ),
]
TrustCode = Annotated[
    list[str] | None,
    typer.Option(
        "--trust",
        metavar="ORG/NAME@REVISION",
        help="Run the code that comes with these weights, at this commit of 40 hex digits.",
    ),
]
Limit = Annotated[int | None, typer.Option(min=1, metavar="N", help="Process only the first N clips of the manifest.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done without doing it.")]
Strict = Annotated[bool, typer.Option("--strict", help="Treat failed clips and leaking splits as errors.")]
Engine = Annotated[
    str,
    typer.Option(
        callback=_engine,
        metavar="local|ray",
        help="Compute in this process, or in actors on a Ray cluster.",
        rich_help_panel=MANY_PROCESSES,
    ),
]
Shard = Annotated[
    str | None,
    typer.Option(
        metavar="I/N",
        help="Compute shard I of N in parallel with other processes; the last one finalizes.",
        rich_help_panel=MANY_PROCESSES,
    ),
]
Rehash = Annotated[bool, typer.Option("--rehash", help="Hash every file again to detect changes.")]
# Accepted, so that scripts can pass the same options to every stage, but not listed in the help.
UnusedDevice = Annotated[str | None, typer.Option("--device", callback=_without_effect, hidden=True)]
UnusedLimit = Annotated[int | None, typer.Option("--limit", min=1, callback=_without_effect, hidden=True)]
UnusedStrict = Annotated[bool, typer.Option("--strict", callback=_without_effect, hidden=True)]
Verbose = Annotated[bool, typer.Option("--verbose", help="Show debug messages and tracebacks.")]
Caches = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="PATH",
        help="Look at these cache files and folders, or at the cache of a config.",
        show_default="cache",
    ),
]
