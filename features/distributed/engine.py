"""Compute blocks in Ray actors: the driver distributes them, receives events, and reassigns blocks of lost actors."""

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
from features.distributed.resources import actor_needs, amounts, room_for
from features.errors import RunError
from features.inference.worker import Computed, ExtractionTask
from features.planning.progress import Progress

ATTEMPTS = 3  # actors that may die at one block, or consecutively before they have started
MOST_BLOCKS = 8  # blocks assigned to an actor at a time; decoding runs ahead from one block to the next
NOTE_AFTER_S = 30.0  # after this time, a note reports that the cluster has no room yet


class RayEngine:
    """An `Engine` that computes blocks in Ray actors.

    In a `with` block, all uses share one cluster until the block ends. Otherwise each use has its own cluster.
    """

    def __init__(self, options: ActorOptions) -> None:
        """Create an engine with the given actor options.

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
        """Disconnect from the cluster; a local one is stopped."""
        if self._held is not None:
            self._held.close()
        self._held = None

    def __call__(self, job: ExtractionTask, numbers: Sequence[int], progress: Progress) -> Computed:
        """Compute blocks; see `features.inference.worker.Engine`.

        Raises:
            AudioheadsError: An error in an actor, or no actor can be started.
        """
        if self._held is not None:
            self._held.enter_context(ray_cluster())
        with ray_cluster() as ray:
            pool = ActorPool(ray, job, numbers, self.options, progress)
            try:
                return pool.work()
            finally:
                pool.dismiss()


@dataclass
class _Actor:
    """An actor and its assigned work.

    Attributes:
        handle: Ray's handle.
        host: Its machine; empty before `hello` has returned.
        blocks: Assigned blocks that are not finished, in the actor's order.
        clips: Number of clips of these blocks that the actor has reported.
        audio_s: Seconds of audio of these clips.
    """

    handle: Any
    host: str = ""
    blocks: list[int] = field(default_factory=list)
    clips: int = 0
    audio_s: float = 0.0


class ActorPool:
    """All actors of a run: those with a pending call, and idle ones."""

    def __init__(
        self, ray: ModuleType, job: ExtractionTask, numbers: Sequence[int], options: ActorOptions, progress: Progress
    ) -> None:
        """Create an empty pool; `numbers` are the blocks to compute."""
        self.ray = ray
        self.job = job
        self.progress = progress
        self.waiting = deque(numbers)
        self.pending: dict[Any, _Actor] = {}
        self.idle: list[_Actor] = []
        self.losses: Counter[int] = Counter()
        self.failed_starts = 0
        self.noted_wait = False
        self.computed = Computed()
        self.began: float | None = None
        self.needs = actor_needs(ray, options, job.settings.device, job.plan.threads)
        self.most = min(len(numbers), options.actors or room_for(ray, self.needs, "features.ray"))

    def work(self) -> Computed:
        """Compute every block."""
        while self.waiting or any(actor.host for actor in self.pending.values()):
            self._hand_out()
            self._listen()
        self.computed.seconds = time.perf_counter() - (self.began or time.perf_counter())
        return self.computed

    def dismiss(self) -> None:
        """Kill all actors, including busy ones."""
        for actor in (*self.idle, *self.pending.values()):
            with contextlib.suppress(Exception):
                self.ray.kill(actor.handle)

    def _hand_out(self) -> None:
        """Assign blocks to idle actors, and start as many actors as there is work for."""
        while self.idle and self.waiting:
            actor = self.idle.pop()
            count = min(MOST_BLOCKS, max(1, len(self.waiting) // (2 * self.most)), len(self.waiting))
            actor.blocks = [self.waiting.popleft() for _ in range(count)]
            actor.clips, actor.audio_s = 0, 0.0
            answers = actor.handle.compute.options(num_returns="streaming").remote(list(actor.blocks))
            self.pending[answers] = actor
        starting = sum(not actor.host for actor in self.pending.values())
        for _ in range(min(self.most - len(self.pending) - len(self.idle), len(self.waiting) - starting)):
            self._start()

    def _start(self) -> None:
        """Start another actor; it is assigned blocks after its `hello` has returned."""
        job, settings = self.job, self.job.settings
        if self.needs["GPU"] and settings.workers is None:
            settings = replace(settings, workers=max(2, int(self.needs["CPU"])))
        kind = self.ray.remote(num_cpus=self.needs["CPU"], num_gpus=self.needs["GPU"], max_restarts=0)(RayWorker)
        handle = kind.remote(str(Path.cwd()), str(job.parts.absolute()), job.spec, settings, job.load)
        self.pending[handle.hello.remote()] = _Actor(handle)

    def _listen(self) -> None:
        """Wait for an event of an actor and handle it."""
        ready, _ = self.ray.wait(list(self.pending), num_returns=1, timeout=NOTE_AFTER_S, fetch_local=False)
        if not ready and not self.noted_wait and not any(actor.host for actor in self.pending.values()):
            self.noted_wait = True
            self.progress.note(f"waiting for the cluster to have room for an actor ({amounts(self.needs)})")
        for answer in ready:
            actor = self.pending[answer]
            try:
                if actor.host:
                    self._take(actor, self.ray.get(next(answer)))
                    continue
                actor.host = self.ray.get(answer)
                self.failed_starts = 0
            except StopIteration:  # all assigned blocks are done
                pass
            except self.ray.exceptions.RayTaskError as error:
                raise (error.cause or error) from error
            except self.ray.exceptions.RayError as error:
                del self.pending[answer]
                self._lose(actor, error)
                continue
            del self.pending[answer]
            self.idle.append(actor)

    def _take(self, actor: _Actor, event: Event) -> None:
        """Handle an event of an actor."""
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
        """Handle a dead actor: return its blocks to the queue, or raise if too many actors died at the first one."""
        if actor.host and not actor.blocks:  # all assigned blocks are done
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
                "if they ran out of memory, lower features.batch_s; finished work is kept, run again to continue"
            ) from error
        self.progress.note(f"an actor on {actor.host} died; another one takes its {len(actor.blocks)} block(s)")
        self.progress.advance(-actor.clips, -actor.audio_s, 0)
        self.waiting.extendleft(reversed(actor.blocks))
