"""Typer commands: `audioheads datasets ls | index | audit | download`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.options import ConfigFile, Sets, TrustCode, Verbose
from pipeline.cli.start import open_console, start

datasets_app = typer.Typer(help="List, download, index and audit labelled audio.", no_args_is_help=True)


@datasets_app.command("ls")
def datasets_ls(verbose: Verbose = False) -> None:
    """List the kinds of dataset, their layout and their source."""
    console = open_console(verbose)
    from pipeline.datasets import listings

    listings.list_datasets(console)


@datasets_app.command("index")
def datasets_index(
    config: ConfigFile,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Write this CSV file; default: manifest.csv in the run folder."
        ),
    ] = None,
    sets: Sets = None,
    verbose: Verbose = False,
) -> None:
    """Write the clips and labels of a dataset as CSV."""
    console, experiment = start(config, sets, verbose)
    from pipeline.datasets import listings

    listings.index_dataset(experiment, output, console)


@datasets_app.command("audit")
def datasets_audit(
    config: ConfigFile,
    sets: Sets = None,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict", help="Treat leaking official splits, failed clips and contradicting labels as errors."
        ),
    ] = False,
    similarity: Annotated[
        float | None,
        typer.Option(
            min=0.5,
            max=1.0,
            metavar="COSINE",
            help="Call clips near-duplicates from this similarity on; default: 0.98.",
        ),
    ] = None,
    trust: TrustCode = None,
    verbose: Verbose = False,
) -> None:
    """Check a dataset for leaks, duplicates and unreadable clips."""
    console, experiment = start(config, sets, verbose, trust)
    from pipeline.audit import run as audit
    from pipeline.audit.near_duplicates import SIMILARITY

    clean = audit.run_audit(
        experiment, strict=strict, similarity=SIMILARITY if similarity is None else similarity, console=console
    )
    if not clean:
        raise typer.Exit(1)


@datasets_app.command("download")
def datasets_download(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="Download this corpus; without a name, list all.", show_default=False),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Unpack it into this folder; default: where the shipped configs expect it."
        ),
    ] = None,
    origin: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="URL|FILE", help="Read it from this mirror, or from an archive you downloaded yourself."
        ),
    ] = None,
    checksum: Annotated[
        str | None,
        typer.Option(metavar="sha256:HEX", help="Expect this checksum of the archive; none skips the check."),
    ] = None,
    keep_archive: Annotated[bool, typer.Option("--keep-archive", help="Keep the archive in .downloads.")] = False,
    audit: Annotated[bool, typer.Option(help="Audit the corpus afterwards.")] = True,
    verbose: Verbose = False,
) -> None:
    """Download a corpus, verify and unpack it, and audit its clips."""
    console = open_console(verbose)
    from pipeline.datasets import download as dataset_download

    if name is None:
        dataset_download.list_sources(console)
        return
    dataset_download.run_download(
        name, to=to, origin=origin, checksum=checksum, keep_archive=keep_archive, audit=audit, console=console
    )
