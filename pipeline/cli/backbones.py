"""Typer commands: `audioheads backbones ls | show | check`."""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.cli.options import Device, TrustCode, Verbose
from pipeline.cli.start import open_console

backbones_app = typer.Typer(help="List, show and check the models that embed audio.", no_args_is_help=True)

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="Use this backbone or preset; `audioheads backbones ls` lists them.", show_default=False
    ),
]


@backbones_app.command("ls")
def backbones_ls(
    licence: Annotated[
        str | None,
        typer.Option(metavar="PATTERN", help="List only weights with this licence, such as apache-2.0 or 'cc-by*'."),
    ] = None,
    rate: Annotated[int | None, typer.Option(metavar="HZ", help="List only backbones with this sample rate.")] = None,
    cached: Annotated[
        bool, typer.Option("--cached", help="List only backbones that run without a download or an installation.")
    ] = False,
    verbose: Verbose = False,
) -> None:
    """List the backbones and presets that a config can name."""
    console = open_console(verbose)
    from pipeline.backbones.listing import print_backbones

    print_backbones(console, licence=licence, rate=rate, available=cached)


@backbones_app.command("show")
def backbones_show(name: Name, verbose: Verbose = False) -> None:
    """Show what is known about a backbone, and the lines that add it to a config."""
    console = open_console(verbose)
    from pipeline.backbones.page import print_backbone

    print_backbone(name, console)


@backbones_app.command("check")
def backbones_check(
    name: Name,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set an option of the backbone, e.g. weights=my.onnx."),
    ] = None,
    device: Device = "auto",
    trust: TrustCode = None,
    verbose: Verbose = False,
) -> None:
    """Check on this machine that a clip's embedding depends on that clip alone."""
    console = open_console(verbose)
    from pipeline.backbones.checking import check_backbone

    trusting = [f"trust={value}" for value in trust or ()]
    if not check_backbone(name, [*(sets or []), *trusting], device=device, console=console):
        raise typer.Exit(1)
