"""Train fits in Ray actors: each actor gets one fit at a time, and the fit of a lost actor is trained again."""

from __future__ import annotations

import contextlib
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from features.distributed.cluster import ray_cluster, reason_of
from features.distributed.engine import ATTEMPTS, NOTE_AFTER_S
from features.distributed.resources import actor_device, actor_needs, amounts, room_for
from features.errors import RunError
from pipeline.config.config import Config
from pipeline.console import Console, ProgressTask
from pipeline.fits.actor import FitWorker, OpenTasks
from pipeline.fits.task import FitTask


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
        pool = FitPool(ray, waiting, open_tasks, config, device, console, work)
        try:
            pool.work()
        finally:
            pool.dismiss()


@dataclass
class _Actor:
    """An actor, its machine (empty before `hello` has returned), and the fit that it trains."""

    handle: Any
    host: str = ""
    task: FitTask | None = None


class FitPool:
    """The actors of a run: those with a pending call, and idle ones."""

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
        self.ray = ray
        self.waiting = waiting
        self.console = console
        self.progress = progress
        self.pending: dict[Any, _Actor] = {}
        self.idle: list[_Actor] = []
        self.losses: Counter[str] = Counter()
        self.failed_starts = 0
        self.noted_wait = False
        self.needs = actor_needs(ray, config.ray, device, torch.get_num_threads())
        room = room_for(ray, self.needs, "ray")
        self.most = min(len(waiting), config.ray.actors or room)
        threads = max(1, int(self.needs["CPU"]))
        self._arguments = (str(Path.cwd()), open_tasks, config, actor_device(config.ray, device), threads)

    def work(self) -> None:
        """Train every fit."""
        while self.waiting or any(actor.task for actor in self.pending.values()):
            self._hand_out()
            self._listen()

    def dismiss(self) -> None:
        """Kill all actors, including busy ones."""
        for actor in (*self.idle, *self.pending.values()):
            with contextlib.suppress(Exception):
                self.ray.kill(actor.handle)

    def _hand_out(self) -> None:
        """Give fits to idle actors, and start as many actors as there is work for."""
        while self.idle and self.waiting:
            actor = self.idle.pop()
            actor.task = self.waiting.popleft()
            self.pending[actor.handle.train.remote(actor.task.what, actor.task.job)] = actor
        starting = sum(not actor.host for actor in self.pending.values())
        for _ in range(min(self.most - len(self.pending) - len(self.idle), len(self.waiting) - starting)):
            kind = self.ray.remote(num_cpus=self.needs["CPU"], num_gpus=self.needs["GPU"], max_restarts=0)(FitWorker)
            handle = kind.remote(*self._arguments)
            self.pending[handle.hello.remote()] = _Actor(handle)

    def _listen(self) -> None:
        """Wait for an actor to answer, and take note of the fit that it has trained."""
        ready, _ = self.ray.wait(list(self.pending), num_returns=1, timeout=NOTE_AFTER_S)
        if not ready and not self.noted_wait and not any(actor.host for actor in self.pending.values()):
            self.noted_wait = True
            self.console.note(f"waiting for the cluster to have room for an actor ({amounts(self.needs)})")
        for answer in ready:
            actor = self.pending.pop(answer)
            try:
                text = self.ray.get(answer)
            except self.ray.exceptions.RayTaskError as error:
                raise (error.cause or error) from error
            except self.ray.exceptions.RayError as error:
                self._lose(actor, error)
                continue
            if actor.task is None:
                actor.host = text
                self.failed_starts = 0
            else:
                self.console.line(actor.task.trained(text))
                self.progress.advance()
                actor.task = None
            self.idle.append(actor)

    def _lose(self, actor: _Actor, error: Exception) -> None:
        """Put the fit of a dead actor first in the queue again, or raise if too many actors died."""
        task = actor.task
        if task is None:
            self.failed_starts += 1
            if self.failed_starts >= ATTEMPTS:
                raise RunError(f"no actor can start ({reason_of(error)})") from error
            return
        self.losses[task.what] += 1
        if self.losses[task.what] >= ATTEMPTS:
            raise RunError(
                f"{ATTEMPTS} actors died while training {task.what}, the last on {actor.host}; if they ran out of "
                "memory, lower ray.actors or raise ray.cpus_per_actor; finished fits are kept, run again to continue"
            ) from error
        self.console.note(f"an actor on {actor.host} died; another one trains {task.what}")
        self.waiting.appendleft(task)
