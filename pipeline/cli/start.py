"""Shared start and end of commands: open the console, read and check the experiment, name the next command.

Nothing here imports torch or pandas, so that a wrong config or a missing corpus is reported at once.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.config.config import Config
    from pipeline.console import Console


def start(path: Path, sets: list[str] | None, verbose: bool, trust: list[str] | None = None) -> tuple[Console, Config]:
    """Return the console and the checked experiment, whose corpus exists.

    Args:
        path: The config.
        sets: Values that differ from the config's.
        verbose: Whether debug messages are shown.
        trust: Code that may run, see `pipeline.config.trusted.trust_code`.

    Raises:
        ConfigError: No backbone has weights with this code.
        ManifestError: The folder or file of the corpus is missing.
    """
    console, experiment = read_experiment(path, sets, verbose)
    if trust:
        from pipeline.config.trusted import trust_code

        (experiment,) = trust_code([experiment], trust)
    check_corpus(experiment)
    return console, experiment


def check_corpus(experiment: Config) -> None:
    """Check that the corpus exists.

    Raises:
        ManifestError: Its folder or file is missing.
    """
    from features.datasets import check_root

    check_root(experiment.dataset)  # type: ignore[arg-type]


def read_experiment(path: Path, sets: list[str] | None, verbose: bool) -> tuple[Console, Config]:
    """Return the console and the checked experiment, whose corpus may be missing."""
    console = open_console(verbose)
    from pipeline.config.config import load_config
    from pipeline.config.shipped import find_config

    return console, load_config(find_config(path), sets or ())


def check_finetuning() -> None:
    """Check that the libraries of end-to-end training are installed, without importing them.

    Raises:
        UserError: One is missing.
    """
    from importlib.util import find_spec

    from features.errors import UserError

    for package in ("lightning", "torchvision"):
        if find_spec(package) is None:
            raise UserError(f"finetune: {package} is not installed; pip install 'audioheads[finetune]'")


def print_next(console: Console, experiment: Config, stage: str) -> None:
    """Print the command that continues an experiment after a finished stage."""
    from pipeline.results.expected_fits import next_stage

    console.line(f"next: {experiment.command(next_stage(experiment, stage))}")


def open_console(verbose: bool) -> Console:
    """Create the console of this run and set up logging on it."""
    from features.system.malloc import keep_large_buffers
    from pipeline.console import Console

    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # hides the libraries' messages
    # Spinning threads made small matrix products 30 times slower on a busy machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    keep_large_buffers()
    console = Console()
    if not console.err.is_terminal:
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    console.start_logging(verbose=verbose)
    return console
