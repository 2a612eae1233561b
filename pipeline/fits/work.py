"""Distribute the fits of a command: over this process, a shard of several processes, or actors on a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from features.distributed.cluster import import_ray, ray_address
from features.manifest import Manifest
from features.planning.run_shard import RunShard
from features.system.locks import CacheLock
from heads.finetuning.processes import is_main_process
from pipeline.config.config import Config
from pipeline.console import Console
from pipeline.fits.actor import OpenTasks
from pipeline.fits.local import announce, train_here
from pipeline.fits.pool import train_on_ray
from pipeline.fits.shard import CLAIMS, own_tasks, train_shard
from pipeline.fits.task import FitTask
from pipeline.results.run_inputs import joined_run, write_run_inputs
from pipeline.results.run_lock import locked


def check_engine(engine: str) -> None:
    """Check that an engine can be used, before any other work.

    Raises:
        UserError: Ray is not installed, or `RAY_ADDRESS` cannot be used.
    """
    if engine == "ray":
        import_ray()
        ray_address()


@dataclass(frozen=True)
class FitWork:
    """Who trains the fits of a command.

    Attributes:
        config: The experiment.
        manifest: Its clips.
        command: Name of the command, for messages.
        console: Prints progress.
        engine: `local`, or `ray`.
        run_shard: The shard to train; None: all fits.
    """

    config: Config
    manifest: Manifest
    command: str
    console: Console
    engine: str = "local"
    run_shard: RunShard | None = None

    @property
    def what(self) -> str:
        """Command and dataset, for messages."""
        return f"{self.command} {self.manifest.name}"

    @property
    def is_alone(self) -> bool:
        """Whether this process trains all fits itself."""
        return self.engine == "local" and self.run_shard is None

    def announce(self, tasks: Sequence[FitTask]) -> None:
        """Print which fits `train` would train."""
        announce(own_tasks(tasks, self.run_shard) if self.run_shard else tasks, self.console)

    @contextmanager
    def run_folder(self) -> Iterator[None]:
        """Hold the run folder, alone or with the other shards, and write `config.yaml` and `manifest.csv` to it.

        Among processes that train together, the main one does so for all.

        Raises:
            UserError: Other shards train there with another config, or on other clips.
            RunError: The folder cannot be written.
        """
        if not is_main_process():
            yield
            return
        if self.run_shard is not None:
            with joined_run(self.config, self.manifest, self.console.note):
                yield
            return
        with locked([self.config.run_dir], self.console.note):
            write_run_inputs(self.config, self.manifest)
            yield

    def train(self, tasks: Sequence[FitTask], device: str, open_tasks: OpenTasks) -> bool:
        """Train the fits that are not complete, with a line for each.

        Args:
            tasks: All fits of the command.
            device: Device of the training.
            open_tasks: Returns the same fits in another process.

        Returns:
            Whether all fits are complete. Shards that are not finished may have others.

        Raises:
            AudioheadsError: A fit cannot be trained, or the cluster cannot be used.
        """
        if self.run_shard is not None:
            return train_shard(tasks, self.run_shard, self.config.run_dir, device, self.what, self.console)
        if self.engine == "ray":
            train_on_ray(tasks, open_tasks, self.config, device, self.what, self.console)
        else:
            train_here(tasks, self.console)
        return True

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Hold the lock for writing what is made from all fits, while other shards may be at work."""
        if self.run_shard is None:  # the run folder is held alone
            yield
            return
        with CacheLock(self.config.run_dir / CLAIMS / "collecting", lambda message: None):
            yield
