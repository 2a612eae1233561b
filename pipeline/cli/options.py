"""Typer options that several commands share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer


def _device(value: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|xpu|cuda(:\d+)?", value):
        raise typer.BadParameter(f"{value!r} is not a device; use auto, cpu, cuda, cuda:0 or mps")
    return value


def _engine(value: str) -> str:
    if value not in ("local", "ray"):
        raise typer.BadParameter(f"{value!r} is not an engine; use local or ray")
    return value


ConfigFile = Annotated[
    Path,
    typer.Argument(
        metavar="CONFIG", help="YAML file of the experiment, or the name of a shipped one.", show_default=False
    ),
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change one config value, e.g. features.backbones.yamnet.weights=F."
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
Device = Annotated[str, typer.Option(callback=_device, help="Device to compute on: auto, cpu, cuda, cuda:N or mps.")]
Limit = Annotated[int | None, typer.Option(min=1, metavar="N", help="Process only the first N clips of the manifest.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done without doing it.")]
Strict = Annotated[bool, typer.Option("--strict", help="Treat failed clips and leaking splits as errors.")]
Engine = Annotated[
    str,
    typer.Option(callback=_engine, metavar="local|ray", help="Compute in this process, or in actors on a Ray cluster."),
]
Shard = Annotated[
    str | None,
    typer.Option(metavar="I/N", help="Compute shard I of N in parallel with other processes; the last one finalizes."),
]
Rehash = Annotated[bool, typer.Option("--rehash", help="Hash every file again to detect changes.")]
NoEffect = "No effect on this stage; accepted so that all stages have the same options."
UnusedDevice = Annotated[str, typer.Option("--device", callback=_device, help=NoEffect)]
UnusedLimit = Annotated[int | None, typer.Option("--limit", min=1, metavar="N", help=NoEffect)]
UnusedStrict = Annotated[bool, typer.Option("--strict", help=NoEffect)]
Verbose = Annotated[bool, typer.Option("--verbose", help="Show debug messages and tracebacks.")]
Caches = Annotated[
    list[Path] | None,
    typer.Argument(metavar="PATH", help="Cache files, folders, or a config (its output.cache).", show_default="cache"),
]
