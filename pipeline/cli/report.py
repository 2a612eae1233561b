"""Typer command: `audioheads report`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import DryRun, Sets, TrustCode, UnusedDevice, UnusedLimit, UnusedStrict, Verbose
from pipeline.cli.start import check_corpus, read_experiment

if TYPE_CHECKING:
    from features.corpus import Corpus
    from pipeline.config.config import Config
    from pipeline.console import Console


def report(
    configs: Annotated[
        list[Path], typer.Argument(metavar="CONFIG", help="Report these YAML files or shipped configs on one page.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="Write the report to this folder.",
            show_default="report in the run folder",
        ),
    ] = None,
    embed_audio: Annotated[
        bool, typer.Option("--embed-audio", help="Embed the clips in index.html as compact MP3, for one file to share.")
    ] = False,
    copy_audio: Annotated[
        bool, typer.Option("--copy-audio", help="Copy the clips to audio/ next to index.html, for a folder to share.")
    ] = False,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    sets: Sets = None,
    device: UnusedDevice = None,
    limit: UnusedLimit = None,
    dry_run: DryRun = False,
    strict: UnusedStrict = False,
    trust: TrustCode = None,
    verbose: Verbose = False,
) -> None:
    """Build the report page and the results table from the stored predictions (stage 3)."""
    from features.errors import UserError

    if embed_audio and copy_audio:
        raise UserError("--embed-audio and --copy-audio exclude each other; give one of them")
    started = [read_experiment(path, sets, verbose) for path in configs]
    experiments = [experiment for _, experiment in started]
    if trust:
        from pipeline.config.trusted import trust_code

        experiments = trust_code(experiments, trust)
    if not dry_run:
        from pipeline.results.expected_fits import check_trained

        for experiment in experiments:
            check_corpus(experiment)
            check_trained(experiment)
    write_report(
        experiments,
        output=output,
        audio="embed" if embed_audio else "copy" if copy_audio else "link",
        dry_run=dry_run,
        console=started[0][0],
        show=show,
    )


def write_report(
    configs: Sequence[Config],
    *,
    dry_run: bool,
    console: Console,
    output: Path | None = None,
    audio: str = "link",
    corpora: Sequence[Corpus] | None = None,
    show: bool = False,
) -> None:
    """Write the report of one or several experiments and print its address; with `dry_run`, print the folder."""
    from pipeline.report.run import check_runs, report_folder, run_report

    if dry_run:
        check_runs(configs)
        console.line(f"report: would write {output or report_folder(configs)}")
    else:
        run_report(*configs, console=console, output=output, audio=audio, corpora=corpora)  # type: ignore[arg-type]
        page = ((output or report_folder(configs)) / "index.html").absolute().as_uri()
        console.line(page)
        if show:
            import webbrowser

            webbrowser.open(page)
