"""The options that commands share, as typer reads them."""

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


ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="The experiment's YAML file.", show_default=False)]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change one config value, e.g. features.backbones.yamnet.weights=F."
    ),
]
Device = Annotated[str, typer.Option(callback=_device, help="auto, cpu, cuda, cuda:N or mps.")]
Limit = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Compute only what the first N clips of the manifest lack.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done and do nothing.")]
Strict = Annotated[bool, typer.Option("--strict", help="Failed clips and leaking splits are errors.")]
Engine = Annotated[
    str, typer.Option(callback=_engine, metavar="local|ray", help="Compute here, or in actors on a Ray cluster.")
]
Shard = Annotated[
    str | None,
    typer.Option(metavar="I/N", help="Compute the I-th of N shares, beside other processes; the last one seals."),
]
Rehash = Annotated[bool, typer.Option("--rehash", help="Read every file again to see whether it changed.")]
NoEffect = "No effect on this stage; taken so that all stages have the same options."
UnusedDevice = Annotated[str, typer.Option("--device", callback=_device, help=NoEffect)]
UnusedLimit = Annotated[int | None, typer.Option("--limit", min=1, metavar="N", help=NoEffect)]
UnusedStrict = Annotated[bool, typer.Option("--strict", help=NoEffect)]
Verbose = Annotated[bool, typer.Option("--verbose", help="Show debug lines, and the traceback of an error.")]
Caches = Annotated[
    list[Path] | None,
    typer.Argument(metavar="PATH", help="Cache files, folders, or a config (its output.cache).", show_default="cache"),
]
