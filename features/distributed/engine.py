"""Blocks at work in Ray actors: the driver hands them out, listens, and gives those of a lost actor to another."""

from __future__ import annotations

import contextlib
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from features.distributed.actor import Advanced, Event, Loaded, Noted, RayWorker, Written
from features.distributed.cluster import import_ray, ray_address, ray_cluster, reason_of
from features.distributed.options import ActorOptions
from features.errors import RunError
from features.inference.worker import Computed, ExtractionTask
from features.planning.progress import Progress

ATTEMPTS = 3  # actors that one block may cost, or that may die in a row before they have begun
MOST_BLOCKS = 8  # that an actor is given at a time; from one to the next decoding runs ahead of the model
PATIENCE_S = 30.0  # after which a person is told that the cluster has no room yet


class RayEngine:
    """Computes blocks in Ray actors, an `Engine`.

    In a `with` block it stays on one cluster from its first use until the block ends; else each use has its own.
    """

    def __init__(self, options: ActorOptions) -> None:
        """Use actors as `options` say.

        Raises:
            UserError: Ray is not installed, or `RAY_ADDRESS` cannot be used.
        """
        import_ray()
        ray_address()
        self.options = options
        self._held: contextlib.ExitStack | None = None

    def __enter__(self) -> RayEngine:
        """Keep the cluster between uses."""
        self._held = contextlib.ExitStack()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave it; one that was started here ends."""
        if self._held is not None:
            self._held.close()
        self._held = None

    def __call__(self, job: ExtractionTask, numbers: Sequence[int], progress: Progress) -> Computed:
        """Compute blocks; see `features.inference.worker.Engine`.

        Raises:
            AudioheadsError: What went wrong in an actor, or why there are none.
        """
        if self._held is not None:
            self._held.enter_context(ray_cluster())
        with ray_cluster() as ray:
            crew = ActorPool(ray, job, numbers, self.options, progress)
            try:
                return crew.work()
            finally:
                crew.dismiss()


@dataclass
class _Actor:
    """An actor and what it is at.

    Attributes:
        handle: Ray's.
        host: Its machine; empty before it has said hello.
        blocks: What it was given and has not finished, in its order.
        clips: How many clips of these blocks it has told of.
        audio_s: Their seconds of audio.
    """

    handle: Any
    host: str = ""
    blocks: list[int] = field(default_factory=list)
    clips: int = 0
    audio_s: float = 0.0


class ActorPool:
    """All actors of a run: those that Ray has still to answer for, and those that have nothing to do."""

    def __init__(
        self, ray: ModuleType, job: ExtractionTask, numbers: Sequence[int], options: ActorOptions, progress: Progress
    ) -> None:
        """Start without actors; `numbers` are the blocks to compute."""
        self.ray = ray
        self.job = job
        self.progress = progress
        self.waiting = deque(numbers)
        self.asked: dict[Any, _Actor] = {}
        self.idle: list[_Actor] = []
        self.losses: Counter[int] = Counter()
        self.failed_starts = 0
        self.patient = True
        self.computed = Computed()
        self.began: float | None = None
        self.needs = _needs(ray, job, options)
        self.most = min(len(numbers), options.actors or _room(ray, self.needs))

    def work(self) -> Computed:
        """Have every block computed."""
        while self.waiting or any(actor.host for actor in self.asked.values()):
            self._hand_out()
            self._listen()
        self.computed.seconds = time.perf_counter() - (self.began or time.perf_counter())
        return self.computed

    def dismiss(self) -> None:
        """End all actors, whatever they are at."""
        for actor in (*self.idle, *self.asked.values()):
            with contextlib.suppress(Exception):
                self.ray.kill(actor.handle)

    def _hand_out(self) -> None:
        """Give idle actors blocks, and start as many more as there is work for."""
        while self.idle and self.waiting:
            actor = self.idle.pop()
            count = min(MOST_BLOCKS, max(1, len(self.waiting) // (2 * self.most)), len(self.waiting))
            actor.blocks = [self.waiting.popleft() for _ in range(count)]
            actor.clips, actor.audio_s = 0, 0.0
            answers = actor.handle.compute.options(num_returns="streaming").remote(list(actor.blocks))
            self.asked[answers] = actor
        starting = sum(not actor.host for actor in self.asked.values())
        for _ in range(min(self.most - len(self.asked) - len(self.idle), len(self.waiting) - starting)):
            self._start()

    def _start(self) -> None:
        """Ask Ray for another actor; it gets blocks once it has said that it is there."""
        job, settings = self.job, self.job.settings
        if self.needs["GPU"] and settings.workers is None:
            settings = replace(settings, workers=max(2, int(self.needs["CPU"])))
        kind = self.ray.remote(num_cpus=self.needs["CPU"], num_gpus=self.needs["GPU"], max_restarts=0)(RayWorker)
        handle = kind.remote(str(Path.cwd()), str(job.parts.absolute()), job.spec, settings, job.load)
        self.asked[handle.hello.remote()] = _Actor(handle)

    def _listen(self) -> None:
        """Wait until an actor says something, and act on it."""
        ready, _ = self.ray.wait(list(self.asked), num_returns=1, timeout=PATIENCE_S, fetch_local=False)
        if not ready and self.patient and not any(actor.host for actor in self.asked.values()):
            self.patient = False
            self.progress.note(f"waiting for the cluster to have room for an actor ({_amounts(self.needs)})")
        for answer in ready:
            actor = self.asked[answer]
            try:
                if actor.host:
                    self._take(actor, self.ray.get(next(answer)))
                    continue
                actor.host = self.ray.get(answer)
                self.failed_starts = 0
            except StopIteration:  # it has done all it was given
                pass
            except self.ray.exceptions.RayTaskError as error:
                raise (error.cause or error) from error
            except self.ray.exceptions.RayError as error:
                del self.asked[answer]
                self._lose(actor, error)
                continue
            del self.asked[answer]
            self.idle.append(actor)

    def _take(self, actor: _Actor, event: Event) -> None:
        """Something has happened in an actor."""
        match event:
            case Loaded():
                self.began = self.began or time.perf_counter()
            case Advanced():
                actor.clips += event.clips
                actor.audio_s += event.audio_s
                self.progress.advance(event.clips, event.audio_s, event.failed)
            case Noted():
                self.progress.note(event.message)
            case Written():
                self.computed.clips[event.block] = event.clips
                actor.blocks.remove(event.block)
                actor.clips -= self.job.n_clips([event.block])
                actor.audio_s -= self.job.audio_s([event.block])
            case Computed():
                self.computed.add(event)

    def _lose(self, actor: _Actor, error: Exception) -> None:
        """An actor is gone: another one gets its blocks, unless the first of them has cost too many."""
        if actor.host and not actor.blocks:  # it had done all it was given
            return
        if not actor.host:
            self.failed_starts += 1
            if self.failed_starts >= ATTEMPTS:
                raise RunError(f"no actor can start ({reason_of(error)})") from error
            return
        block = actor.blocks[0]
        self.losses[block] += 1
        if self.losses[block] >= ATTEMPTS:
            clip = self.job.plan.clips[self.job.plan.blocks[block][0][0]].id
            raise RunError(
                f"{ATTEMPTS} actors died at block {block} (its first clip is {clip!r}), the last on {actor.host}; "
                "if they ran out of memory, lower features.batch_s; what is finished is kept, run again to go on"
            ) from error
        self.progress.note(f"an actor on {actor.host} died; another one takes its {len(actor.blocks)} block(s)")
        self.progress.advance(-actor.clips, -actor.audio_s, 0)
        self.waiting.extendleft(reversed(actor.blocks))


def _needs(ray: ModuleType, job: ExtractionTask, options: ActorOptions) -> dict[str, float]:
    """CPUs and GPUs that an actor takes: by default as many CPUs as the plan has threads, or as there are per GPU."""
    on_gpu = job.settings.device.startswith("cuda")
    gpus = options.gpus_per_actor if options.gpus_per_actor is not None else float(on_gpu)
    cpus = options.cpus_per_actor
    if cpus is None and gpus:
        there = ray.cluster_resources()
        cpus = max(1.0, there.get("CPU", 0.0) * gpus // max(1.0, there.get("GPU", 0.0)))
    return {"CPU": cpus if cpus is not None else float(job.plan.threads), "GPU": gpus}


def _room(ray: ModuleType, needs: dict[str, float]) -> int:
    """How many actors the cluster has room for.

    Raises:
        RunError: For none.
    """
    there = ray.cluster_resources()
    room = int(min(there.get(kind, 0.0) / amount for kind, amount in needs.items() if amount))
    if room < 1:
        held = {kind: there.get(kind, 0.0) for kind in needs}
        raise RunError(f"the Ray cluster has {_amounts(held)}, an actor takes {_amounts(needs)}; see features.ray")
    return room


def _amounts(resources: dict[str, float]) -> str:
    return ", ".join(f"{amount:g} {kind}" for kind, amount in resources.items())
