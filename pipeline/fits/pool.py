"""Train fits in Ray actors: each actor gets one fit at a time, and the fit of a lost actor is trained again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from features.distributed.cluster import ray_cluster
from features.distributed.pool import Actor, ActorPool
from features.distributed.resources import actor_device, actor_needs, room_for
from pipeline.config.config import Config
from pipeline.console import Console
from pipeline.fits.actor import FitWorker, OpenTasks
from pipeline.fits.task import FitTask
from pipeline.progress import ProgressTask


def train_on_ray(
    tasks: Sequence[FitTask], open_tasks: OpenTasks, config: Config, device: str, what: str, console: Console
) -> None:
    """Train every fit that is not complete, with a line for each. No cluster is started if all are.

    Args:
        tasks: The fits; results are written by the actors, into the run folder.
        open_tasks: Returns the same fits in an actor.
        config: The experiment.
        device: Device of a run without Ray.
        what: Command and dataset, for messages.
        console: Prints progress.

    Raises:
        AudioheadsError: An error in an actor, no actor can be started, or a fit killed too many.
    """
    waiting = deque[FitTask]()
    for task in tasks:
        if task.is_done():
            console.line(task.reused)
        else:
            waiting.append(task)
    if not waiting:
        return
    with ray_cluster() as ray, console.progress(f"{what} on Ray", len(waiting), "fits") as work:
        FitPool(ray, waiting, open_tasks, config, device, console, work).work()


@dataclass
class _FitActor(Actor):
    """An actor and the fit that it trains."""

    task: FitTask | None = None


class FitPool(ActorPool[_FitActor, FitTask]):
    """Actors that train fits."""

    def __init__(
        self,
        ray: ModuleType,
        waiting: deque[FitTask],
        open_tasks: OpenTasks,
        config: Config,
        device: str,
        console: Console,
        progress: ProgressTask,
    ) -> None:
        """Create an empty pool for the fits in `waiting`.

        Raises:
            RunError: The cluster has no room for an actor.
        """
        needs = actor_needs(ray, config.ray, device, torch.get_num_threads())
        room = room_for(ray, needs, "ray")
        super().__init__(ray, needs, min(len(waiting), config.ray.actors or room), waiting, console.note)
        self.console = console
        self.progress = progress
        threads = max(1, int(needs["CPU"]))
        self._arguments = (str(Path.cwd()), open_tasks, config, actor_device(config.ray, device), threads)

    def start(self, remote: Callable[[type], Any]) -> _FitActor:
        """See `ActorPool.start`."""
        return _FitActor(remote(FitWorker).remote(*self._arguments))

    def assign(self, actor: _FitActor) -> Any:
        """See `ActorPool.assign`."""
        actor.task = self.waiting.popleft()
        return actor.handle.train.remote(actor.task.what, actor.task.job)

    def take(self, actor: _FitActor, call: Any) -> bool:
        """Report the fit that an actor has trained."""
        summary = self.ray.get(call)
        assert actor.task is not None
        self.console.line(actor.task.trained(summary))
        self.progress.advance()
        return False

    def lose(self, actor: _FitActor, error: Exception) -> None:
        """See `ActorPool.lose`."""
        task = actor.task
        assert task is not None
        advice = "lower ray.actors or raise ray.cpus_per_actor; finished fits are kept"
        self.count_loss(task.what, actor, error, f"while training {task.what}", advice)
        self.note(f"an actor on {actor.host} died; another one trains {task.what}")
        self.waiting.appendleft(task)
