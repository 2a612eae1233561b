"""Typer commands: `audioheads models ls`, `predict` and `export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.options import Device, Verbose
from pipeline.cli.start import open_console

models_app = typer.Typer(help="List trained models.", no_args_is_help=True)

# headings of groups of options in the help
FITS, WINDOWS = "Fits and weights", "Windows, decisions and events"

Model = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL",
        help="Use the model in this folder: a path shown by `audioheads models ls`, a .safetensors file, or an export.",
        show_default=False,
    ),
]
Fold = Annotated[
    str | None,
    typer.Option(
        metavar="K", help="Use only the fit tested on fold K; default: average all folds.", rich_help_panel=FITS
    ),
]
Seed = Annotated[
    int | None, typer.Option(metavar="N", help="Use the fits of this seed; default: the first.", rich_help_panel=FITS)
]
Trust = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME", help="Allow a type in a sklearn head, or code that the backbone runs.", rich_help_panel=FITS
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        metavar="PATH", help="Load the backbone weights from here, if they moved since training.", rich_help_panel=FITS
    ),
]


def _ensemble(value: str | None) -> str | None:
    if value not in (None, "folds", "all"):
        raise typer.BadParameter(f"{value!r}: use folds (of one seed), or all (folds and seeds)")
    return value


EnsembleOption = Annotated[
    str | None,
    typer.Option(
        callback=_ensemble,
        metavar="folds|all",
        help="Average all folds of one seed (default), or of all seeds.",
        rich_help_panel=FITS,
    ),
]


@models_app.command("ls")
def models_ls(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="RUN", help="List the models of these runs or folders of runs.", show_default="runs"),
    ] = None,
    verbose: Verbose = False,
) -> None:
    """List the models that predict and export can use."""
    console = open_console(verbose)
    from pipeline.predicting.listing import list_models

    default = Path("runs")
    list_models(runs or ([default] if default.exists() else []), console)


def predict(
    model: Model,
    audio: Annotated[
        list[str],
        typer.Argument(
            metavar="AUDIO",
            help="Score these files or folders, a manifest, or - for paths on stdin.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Write this file (.csv, .jsonl or .parquet); default: stdout."
        ),
    ] = None,
    format: Annotated[
        str | None, typer.Option(metavar="csv|jsonl|parquet", help="Write this format; default: by the suffix.")
    ] = None,
    top_k: Annotated[
        int | None,
        typer.Option(
            min=0, metavar="K", help="List this many classes per clip; 0 lists all; default: 5, on a terminal 1."
        ),
    ] = None,
    fold: Fold = None,
    seed: Seed = None,
    ensemble: EnsembleOption = None,
    windows: Annotated[
        bool,
        typer.Option("--windows", help="Score windows of long clips and report their times.", rich_help_panel=WINDOWS),
    ] = False,
    window_s: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            metavar="S",
            help="Make windows this many seconds long; default: the length of most training clips.",
            rich_help_panel=WINDOWS,
        ),
    ] = None,
    hop_s: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            metavar="S",
            help="Start a window every S seconds; default: the window length.",
            rich_help_panel=WINDOWS,
        ),
    ] = None,
    operating_point: Annotated[
        bool,
        typer.Option(
            "--operating-point",
            help="Add a decision by the model's thresholds (columns decision and score).",
            rich_help_panel=WINDOWS,
        ),
    ] = False,
    events: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Merge decided windows into events and write them (.csv, .txt, .tsv).",
            rich_help_panel=WINDOWS,
        ),
    ] = None,
    events_format: Annotated[
        str | None,
        typer.Option(
            metavar="csv|audacity|raven",
            help="Write events in this format; default: by the suffix.",
            rich_help_panel=WINDOWS,
        ),
    ] = None,
    release: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            help="Continue an event down to this share of its threshold.",
            rich_help_panel=WINDOWS,
        ),
    ] = 0.8,
    min_event_s: Annotated[
        float,
        typer.Option(metavar="S", help="Leave out events shorter than this.", rich_help_panel=WINDOWS),
    ] = 0.0,
    weights: Weights = None,
    trust: Trust = None,
    device: Device = "auto",
    strict: Annotated[bool, typer.Option("--strict", help="Treat a failed clip as an error.")] = False,
    verbose: Verbose = False,
) -> None:
    """Apply a trained model to new audio."""
    console = open_console(verbose)
    from pipeline.predicting.command import FitChoice, OutputOptions, run_predict
    from pipeline.predicting.events import EventOptions

    choice = FitChoice(fold, seed, ensemble, tuple(trust or ()), weights)  # type: ignore[arg-type]
    merging = EventOptions(release, min_event_s)
    options = OutputOptions(
        *(output, format, top_k, windows, window_s, hop_s), operating_point, events, events_format, merging
    )
    run_predict(model, audio, choice, options, device=device, strict=strict, console=console)


def _export_format(value: str | None) -> str | None:
    if value not in (None, "audioheads", "onnx", "transformers"):
        raise typer.BadParameter(f"{value!r} is not a format; use audioheads, onnx or transformers")
    return value


def export(
    model: Model,
    target: Annotated[Path, typer.Argument(metavar="FOLDER", help="Create this folder.", show_default=False)],
    format: Annotated[
        str | None,
        typer.Option(
            callback=_export_format,
            metavar="audioheads|onnx|transformers",
            help="Write a folder for predict (default), ONNX graphs, or a transformers model.",
        ),
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="Also write an 8-bit ONNX graph of one fit, and score it on its test clips.")
    ] = False,
    no_backbone: Annotated[bool, typer.Option("--no-backbone", help="Leave out the backbone weights.")] = False,
    fold: Fold = None,
    seed: Seed = None,
    ensemble: EnsembleOption = None,
    clips: Annotated[
        list[Path] | None,
        typer.Option(metavar="PATH", help="Compare export and original on these clips; default: clips of the run."),
    ] = None,
    license: Annotated[str | None, typer.Option(metavar="NAME", help="Name this license in the model card.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier export.")] = False,
    weights: Weights = None,
    trust: Trust = None,
    device: Device = "cpu",
    verbose: Verbose = False,
) -> None:
    """Export a trained model as a folder."""
    console = open_console(verbose)
    from pipeline.exporting.command import run_export
    from pipeline.predicting.command import FitChoice

    run_export(
        model,
        target,
        FitChoice(fold, seed, ensemble, tuple(trust or ()), weights),  # type: ignore[arg-type]
        format=format,  # type: ignore[arg-type]
        int8=int8,
        with_backbone=not no_backbone,
        clips=clips or [],
        licence=license,
        overwrite=overwrite,
        device=device,
        console=console,
    )
