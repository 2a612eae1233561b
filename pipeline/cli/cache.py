"""Typer commands: `audioheads cache ls | verify | explain | prune | export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.options import Caches, ConfigFile, DryRun, Sets, TrustCode, Verbose
from pipeline.cli.start import check_corpus, open_console, start

CONFIG_SUFFIXES = (".yaml", ".yml")
DEFAULT_CACHE = Path("cache")
CREATE_ONE = "`audioheads features CONFIG` creates one"

cache_app = typer.Typer(help="Inspect, check, prune and export cached embeddings.", no_args_is_help=True)


@cache_app.command("ls")
def cache_ls(paths: Caches = None, sets: Sets = None, verbose: Verbose = False) -> None:
    """List cache files and their contents."""
    console = open_console(verbose)
    if not paths and not DEFAULT_CACHE.exists():
        console.note(f"no cache files in {DEFAULT_CACHE}; {CREATE_ONE}")
        return
    found = _cache_paths(paths, sets)
    from pipeline.cache import inspect as cache_commands

    for folder in found:
        cache_commands.list_caches(folder, console)


@cache_app.command("verify")
def cache_verify(paths: Caches = None, sets: Sets = None, verbose: Verbose = False) -> None:
    """Check cache files against their digests."""
    console = open_console(verbose)
    found = _cache_paths(paths, sets)
    from pipeline.cache import inspect as cache_commands

    if not cache_commands.verify(found, console):
        raise typer.Exit(1)


@cache_app.command("explain")
def cache_explain(config: ConfigFile, sets: Sets = None, trust: TrustCode = None, verbose: Verbose = False) -> None:
    """Show what a run would reuse or compute, and why."""
    console, experiment = start(config, sets, verbose, trust)
    from pipeline.cache.explain import explain

    explain(experiment, console)


@cache_app.command("prune")
def cache_prune(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="PATH",
            help="Keep the clips of these configs; with --older-than or --name, prune these files and folders.",
        ),
    ] = None,
    older_than: Annotated[
        str | None,
        typer.Option(metavar="AGE", help="Remove whole files last changed at least this long ago: 12h, 30d, 2w."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(metavar="PATTERN", help="Remove whole files with this name; * and ? match any characters."),
    ] = None,
    dry_run: DryRun = False,
    sets: Sets = None,
    verbose: Verbose = False,
) -> None:
    """Remove clips that no given config uses, or whole files by age or name."""
    console = open_console(verbose)
    from features.errors import UserError
    from pipeline.config.config import load_config

    if older_than is not None or name is not None:
        found = _cache_paths(paths, sets)
        from pipeline.cache.prune import prune_files

        prune_files(found, older_than=older_than, name=name, dry_run=dry_run, console=console)
        return
    for path in paths or ():
        if path.suffix not in CONFIG_SUFFIXES:
            raise UserError(f"{path}: not a config; give configs whose clips to keep, or use --older-than or --name")
    if not paths:
        raise UserError(
            "cache prune: nothing selected; give CONFIG… to remove clips that none of them uses, "
            "or --older-than AGE or --name PATTERN to remove whole files"
        )
    experiments = [load_config(path, sets or ()) for path in paths]
    for experiment in experiments:
        check_corpus(experiment)
    from pipeline.cache.prune import prune_clips

    prune_clips(experiments, dry_run=dry_run, console=console)


@cache_app.command("export")
def cache_export(
    config: ConfigFile,
    file_format: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="Write this format: parquet, npz or webdataset.")
    ] = "parquet",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FOLDER", help="Write to this folder; default: embeddings in the run folder."
        ),
    ] = None,
    backbone: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Export only this backbone; repeatable.", show_default="all"),
    ] = None,
    pooling: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Export only this pooling (mean, frames, …); repeatable.", show_default="vectors"
        ),
    ] = None,
    layers: Annotated[
        str, typer.Option(metavar="LAYERS", help="Export these layers: all, last, or numbers such as 0,6,12.")
    ] = "all",
    sets: Sets = None,
    trust: TrustCode = None,
    verbose: Verbose = False,
) -> None:
    """Write embeddings with ids and labels as Parquet, NPZ or WebDataset tar."""
    console, experiment = start(config, sets, verbose, trust)
    from pipeline.results.features_index import cached_files

    cached_files(experiment)
    from pipeline.cache.export import run_export

    run_export(
        experiment,
        file_format=file_format,
        output=output,
        backbones=backbone or [],
        poolings=pooling or [],
        layers=layers,
        console=console,
    )


def _cache_paths(paths: list[Path] | None, sets: list[str] | None) -> list[Path]:
    """Return the paths to search: those given (a config means its cache folder), or `cache` by default."""
    from features.errors import UserError
    from pipeline.config.config import load_config

    found = []
    for path in paths or [DEFAULT_CACHE]:
        if path.suffix in CONFIG_SUFFIXES:
            path = load_config(path, sets or ()).output.cache
        if not path.exists():
            raise UserError(f"{path}: no such cache; {CREATE_ONE}")
        found.append(path)
    return found
