"""Typer commands: `audioheads configs` for the shipped configs, `audioheads config` for what a config can hold."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from features.errors import UserError
from pipeline.cli.options import Verbose
from pipeline.cli.start import open_console

configs_app = typer.Typer(help="List and copy the configs that come with the program.", no_args_is_help=True)
config_app = typer.Typer(help="Show what a config can hold.", no_args_is_help=True)


@configs_app.command("ls")
def configs_ls(verbose: Verbose = False) -> None:
    """List the shipped configs, which `run` and the stages accept by name."""
    console = open_console(verbose)
    from pipeline.config.shipped import purpose, shipped_configs

    rows = [(name, purpose(path)) for name, path in shipped_configs().items()]
    console.table(("name", "content"), rows, foldable=["content"])


@configs_app.command("copy")
def configs_copy(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="Copy this config; `audioheads configs ls` lists them.", show_default=False
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="Copy it to this file or folder.", show_default="NAME.yaml in this folder"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
    verbose: Verbose = False,
) -> None:
    """Copy a shipped config, to change it, and write the JSON schema for editors to the same folder."""
    console = open_console(verbose)
    from pipeline.config.shipped import shipped_config
    from pipeline.init.config_file import write_config

    source = shipped_config(name)
    target = output or Path(source.name)
    if target.is_dir():
        target /= source.name
    if target.exists() and not force:
        raise UserError(f"{target}: already exists; choose another file, or overwrite it with --force")
    write_config(target, source.read_text(encoding="utf-8"))
    console.line(f"wrote {target}")


@config_app.command("schema")
def config_schema(verbose: Verbose = False) -> None:
    """Print the JSON schema of a config, for editors."""
    console = open_console(verbose)
    from pipeline.config.json_schema import schema_text

    console.line(schema_text().rstrip())


@config_app.command("reference")
def config_reference(verbose: Verbose = False) -> None:
    """Print a page with all keys of a config, in Markdown."""
    console = open_console(verbose)
    from pipeline.config.reference import reference_text

    console.line(reference_text().rstrip())
