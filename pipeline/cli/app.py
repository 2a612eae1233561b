"""The command line: each command parses its options and calls one function of another module.

Only what `--help` needs is imported at the top; torch, pandas and the stages are imported by the command that runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.backbones import backbones_app
from pipeline.cli.bench import bench
from pipeline.cli.cache import cache_app
from pipeline.cli.configs import config_app, configs_app
from pipeline.cli.datasets import datasets_app
from pipeline.cli.init import init
from pipeline.cli.leaderboard import leaderboard
from pipeline.cli.mistakes import check_arguments
from pipeline.cli.models import export, models_app, predict
from pipeline.cli.options import (
    ConfigFile,
    Device,
    DryRun,
    Engine,
    Limit,
    Rehash,
    Sets,
    Shard,
    Strict,
    TrustCode,
    UnusedLimit,
    Verbose,
)
from pipeline.cli.report import report, write_report
from pipeline.cli.start import check_corpus, check_finetuning, open_console, print_next, read_experiment, start

if TYPE_CHECKING:
    from features.planning.run_shard import RunShard
    from pipeline.config.config import Config
    from pipeline.console import Console

# headings of the groups of commands in the help, in the order of their first commands
EXPERIMENTS, MODELS, DATA, SETUP = "Experiments", "Trained models", "Sounds, backbones and cache", "Setup"

app = typer.Typer(
    name="audioheads",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command(rich_help_panel=EXPERIMENTS)(init)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"audioheads {metadata.version('audioheads')}")
        raise typer.Exit


@app.callback()
def _audioheads(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Compare frozen audio backbones: cache exact embeddings, train small heads, report one results table."""


@app.command(rich_help_panel=EXPERIMENTS)
def run(
    config: ConfigFile,
    sets: Sets = None,
    device: Device = "auto",
    limit: Limit = None,
    dry_run: DryRun = False,
    strict: Strict = False,
    rehash: Rehash = False,
    trust: TrustCode = None,
    verbose: Verbose = False,
) -> None:
    """Run all stages and skip what is already done."""
    console, experiment = start(config, sets, verbose, trust)
    if experiment.finetune:
        check_finetuning()
    from pipeline.stages.features import load_corpus, run_features
    from pipeline.stages.train_heads import run_heads

    corpus = load_corpus(experiment, strict=strict, rehash=rehash, save=not dry_run)
    how = {"device": device, "dry_run": dry_run, "strict": strict, "console": console, "corpus": corpus}
    stages = 4 if experiment.finetune else 3
    with console.stage(1, stages, "features"):
        run_features(experiment, limit=limit, **how)  # type: ignore[arg-type]
        if limit is not None:
            console.line(f"run: stopped after stage 1, because --limit {limit} may leave clips without embeddings")
            return
        if experiment.finetune and not dry_run:
            _finetune_module().cache_model_inputs(experiment, device=device, console=console, corpus=corpus)
    from pipeline.results.run_lock import locked

    with locked([] if dry_run else [experiment.run_dir], console.note):  # the report is of the models trained here
        with console.stage(2, stages, "train-heads"):
            run_heads(experiment, **how)  # type: ignore[arg-type]
        if experiment.finetune:
            with console.stage(3, stages, "finetune"):
                _finetune_module().run_finetune(experiment, **how)
        _measure(experiment, console, dry_run=dry_run)
        with console.stage(stages, stages, "report"):
            write_report([experiment], dry_run=dry_run, console=console, corpora=[corpus])


@app.command(rich_help_panel=EXPERIMENTS)
def demo(sets: Sets = None, device: Device = "auto", verbose: Verbose = False) -> None:
    """Run all stages on synthetic sounds, without any download; takes a few minutes."""
    run(Path("demo"), sets, device, verbose=verbose)


@app.command(rich_help_panel=EXPERIMENTS)
def features(
    config: ConfigFile,
    sets: Sets = None,
    device: Device = "auto",
    limit: Limit = None,
    dry_run: DryRun = False,
    strict: Strict = False,
    rehash: Rehash = False,
    engine: Engine = "local",
    shard: Shard = None,
    trust: TrustCode = None,
    verbose: Verbose = False,
) -> None:
    """Extract embeddings for every clip with every backbone (stage 1)."""
    run_shard = _run_shard(shard, engine)
    console, experiment = start(config, sets, verbose, trust)
    from pipeline.stages.features import run_features

    how = {"device": device, "limit": limit, "dry_run": dry_run, "strict": strict, "rehash": rehash}
    run_features(experiment, **how, console=console, engine=engine, run_shard=run_shard)  # type: ignore[arg-type]
    if not dry_run and limit is None and shard is None:
        print_next(console, experiment, "features")


@app.command("train-heads", rich_help_panel=EXPERIMENTS)
def train_heads(
    config: ConfigFile,
    sets: Sets = None,
    device: Device = "auto",
    limit: UnusedLimit = None,
    dry_run: DryRun = False,
    strict: Strict = False,
    engine: Engine = "local",
    shard: Shard = None,
    trust: TrustCode = None,
    verbose: Verbose = False,
) -> None:
    """Train the heads on the cached embeddings (stage 2)."""
    run_shard = _run_shard(shard, engine)
    console, experiment = start(config, sets, verbose, trust)
    if not dry_run:
        from pipeline.results.expected_fits import check_embedded

        check_embedded(experiment)
    from pipeline.stages.train_heads import run_heads

    how = {"device": device, "dry_run": dry_run, "strict": strict, "engine": engine, "run_shard": run_shard}
    run_heads(experiment, console=console, **how)  # type: ignore[arg-type]
    _measure(experiment, console, dry_run=dry_run or shard is not None)
    if not dry_run and shard is None:
        print_next(console, experiment, "train-heads")


@app.command(rich_help_panel=EXPERIMENTS)
def finetune(
    config: ConfigFile,
    sets: Sets = None,
    device: Device = "auto",
    limit: UnusedLimit = None,
    dry_run: DryRun = False,
    strict: Strict = False,
    engine: Engine = "local",
    shard: Shard = None,
    verbose: Verbose = False,
) -> None:
    """Train spectrogram and waveform models, and backbones, end to end."""
    run_shard = _run_shard(shard, engine)
    console, experiment = read_experiment(config, sets, verbose)
    if not experiment.finetune:
        console.note("finetune: the config lists no models in its section `finetune`")
        return
    check_corpus(experiment)
    how = {"device": device, "dry_run": dry_run, "strict": strict, "engine": engine, "run_shard": run_shard}
    _finetune_module().run_finetune(experiment, console=console, **how)
    _measure(experiment, console, dry_run=dry_run or shard is not None)
    if not dry_run and shard is None:
        print_next(console, experiment, "finetune")


app.command(rich_help_panel=EXPERIMENTS)(report)
app.command(rich_help_panel=EXPERIMENTS)(leaderboard)
app.add_typer(models_app, name="models", rich_help_panel=MODELS)
app.command(rich_help_panel=MODELS)(predict)
app.command(rich_help_panel=MODELS)(export)
app.command(rich_help_panel=MODELS)(bench)


app.add_typer(datasets_app, name="datasets", rich_help_panel=DATA)
app.add_typer(backbones_app, name="backbones", rich_help_panel=DATA)
app.add_typer(cache_app, name="cache", rich_help_panel=DATA)
app.add_typer(configs_app, name="configs", rich_help_panel=SETUP)
app.add_typer(config_app, name="config", rich_help_panel=SETUP)


@app.command(rich_help_panel=SETUP)
def doctor(verbose: Verbose = False) -> None:
    """Show package versions, devices, output folders and whether the model hub is reachable."""
    console = open_console(verbose)
    from pipeline import doctor as checks

    checks.examine(console)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit. An error is one line on stderr; `--verbose` adds the traceback."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        check_arguments(arguments)
        code = app(args=arguments, prog_name="audioheads", standalone_mode=False) or 0
        sys.stdout.flush()
        if code == 130:  # newer typer versions report Ctrl-C this way
            raise KeyboardInterrupt
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # keeps the last flush from failing again
        code = 1
    except (Exception, KeyboardInterrupt) as error:
        code = _fail(error, verbose="--verbose" in arguments)
    sys.exit(code)


def _fail(error: BaseException, *, verbose: bool) -> int:
    """Print why the run ended and return the exit code."""
    import traceback

    from pipeline.cli.exit_codes import explain, is_usage_error
    from pipeline.console import Console

    console = Console()
    if is_usage_error(error):
        if type(error).__name__ != "NoArgsIsHelpError":  # a group without a command has printed its help
            console.error(f"{error.format_message()} (see audioheads --help)")  # type: ignore[attr-defined]
        return 2
    if isinstance(error, typer.Abort):
        error = KeyboardInterrupt()
    if verbose:
        console.note("".join(traceback.format_exception(error)).rstrip())
    message, code = explain(error)
    console.error(message)
    return code


def _run_shard(shard: str | None, engine: str) -> RunShard | None:
    """Parse the option `--shard`.

    Raises:
        UserError: It is malformed, or the engine distributes the work already.
    """
    from features.planning.run_shard import RunShard

    return None if shard is None else RunShard.parse(shard, engine)


def _measure(experiment: Config, console: Console, *, dry_run: bool) -> None:
    """Measure time and size of the trained models, unless this is a dry run or one of several shards."""
    if not dry_run and experiment.bench is not None:
        from pipeline.benching.after_training import measure_run

        measure_run(experiment, console)


def _finetune_module() -> ModuleType:
    """Import end-to-end training, whose libraries are an optional extra."""
    check_finetuning()
    from pipeline.finetune import run as finetuning

    return finetuning


if __name__ == "__main__":
    main()
