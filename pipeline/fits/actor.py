"""The Ray actor of stage 2: opens the experiment once and trains fits, whose results are files in the run folder."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Callable, Sequence

import torch

from features.errors import AudioheadsError, RunError
from pipeline.config.config import Config
from pipeline.console import Console
from pipeline.fits.task import FitTask

OpenTasks = Callable[[Config, str, Console], Sequence[FitTask]]
"""Returns the fits of an experiment on a device; a function that can be imported, for other processes to call."""


class FitWorker:
    """The class that Ray runs in the actor."""

    def __init__(self, folder: str, open_tasks: OpenTasks, config: Config, device: str, threads: int) -> None:
        """Store the arguments. The experiment is opened in `hello`, which can report errors.

        Args:
            folder: The working directory of the process that started the run, to which relative paths refer.
            open_tasks: Returns the fits.
            config: The experiment.
            device: Device of the training.
            threads: Threads of torch.
        """
        with contextlib.suppress(OSError):  # missing on this machine; absolute paths do not need it
            os.chdir(folder)
        torch.set_num_threads(threads)
        self._open = lambda console: open_tasks(config, device, console)
        self._tasks: dict[str, FitTask] = {}

    def hello(self) -> str:
        """Open the experiment, and return the name of this machine.

        Raises:
            RunError: The clips or the cache cannot be used on this machine.
        """
        console = Console()  # whoever started the run prints the notes and warnings
        console.out.quiet = console.err.quiet = True
        host = platform.node() or "an unnamed machine"
        try:
            self._tasks = {task.what: task for task in self._open(console)}
        except AudioheadsError as error:
            raise RunError(
                f"{host}: {error} (dataset.root, output.cache and output.runs must be folders that all machines of "
                "the cluster can access under the same path)"
            ) from error
        return host

    def train(self, what: str, job: str) -> str:
        """Train a fit, unless it is complete already, and return its summary.

        Args:
            what: The fit's `what`.
            job: Its digest, where the run was started.

        Raises:
            RunError: This machine would train another fit, because it sees other clips.
            AudioheadsError: The fit cannot be trained.
        """
        task = self._tasks.get(what)
        if task is None or task.job != job:
            raise RunError(
                f"{what}: {platform.node()} sees other clips or cache files than the machine that started the run; "
                "all machines need the same files and the same version of audioheads"
            )
        return task.train()
