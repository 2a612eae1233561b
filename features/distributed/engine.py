"""Compute blocks in Ray actors: the driver distributes them, receives events, and reassigns blocks of lost actors."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from features.distributed.actor import Advanced, Event, Loaded, Noted, RayWorker, Written
from features.distributed.cluster import import_ray, ray_address, ray_cluster
from features.distributed.options import ActorOptions
from features.distributed.pool import Actor, ActorPool
from features.distributed.resources import actor_needs, room_for
from features.inference.worker import Computed, ExtractionTask
from features.planning.progress import Progress

MOST_BLOCKS = 8  # blocks assigned to an actor at a time; decoding runs ahead from one block to the next


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
            pool = BlockPool(ray, job, numbers, self.options, progress)
            started = time.perf_counter()
            pool.work()
            pool.computed.seconds = time.perf_counter() - (pool.began or started)
            return pool.computed


@dataclass
class _BlockActor(Actor):
    """An actor and its assigned work.

    Attributes:
        blocks: Assigned blocks that are not finished, in the actor's order.
        clips: Number of clips of these blocks that the actor has reported.
        audio_s: Seconds of audio of these clips.
    """

    blocks: list[int] = field(default_factory=list)
    clips: int = 0
    audio_s: float = 0.0


class BlockPool(ActorPool[_BlockActor, int]):
    """Actors that compute blocks."""

    def __init__(
        self, ray: ModuleType, job: ExtractionTask, numbers: Sequence[int], options: ActorOptions, progress: Progress
    ) -> None:
        """Create an empty pool; `numbers` are the blocks to compute."""
        needs = actor_needs(ray, options, job.settings.device, job.plan.threads)
        most = min(len(numbers), options.actors or room_for(ray, needs, "features.ray"))
        super().__init__(ray, needs, most, deque(numbers), progress.note)
        self.job = job
        self.progress = progress
        self.computed = Computed()
        self.began: float | None = None

    def start(self, remote: Callable[[type], Any]) -> _BlockActor:
        """See `ActorPool.start`."""
        job, settings = self.job, self.job.settings
        if self.needs["GPU"] and settings.workers is None:
            settings = replace(settings, workers=max(2, int(self.needs["CPU"])))
        kind = remote(RayWorker)
        return _BlockActor(kind.remote(str(Path.cwd()), str(job.parts.absolute()), job.spec, settings, job.load))

    def assign(self, actor: _BlockActor) -> Any:
        """See `ActorPool.assign`."""
        count = min(MOST_BLOCKS, max(1, len(self.waiting) // (2 * self.most)), len(self.waiting))
        actor.blocks = [self.waiting.popleft() for _ in range(count)]
        actor.clips, actor.audio_s = 0, 0.0
        return actor.handle.compute.options(num_returns="streaming").remote(list(actor.blocks))

    def take(self, actor: _BlockActor, call: Any) -> bool:
        """Handle an event of an actor."""
        try:
            event: Event = self.ray.get(next(call))
        except StopIteration:  # all assigned blocks are done
            return False
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
        return True

    def lose(self, actor: _BlockActor, error: Exception) -> None:
        """See `ActorPool.lose`."""
        if not actor.blocks:  # all assigned blocks are done
            return
        block = actor.blocks[0]
        clip = self.job.plan.clips[self.job.plan.blocks[block][0][0]].id
        doing = f"at block {block} (its first clip is {clip!r})"
        self.count_loss(block, actor, error, doing, "lower features.batch_s; finished work is kept")
        self.note(f"an actor on {actor.host} died; another one takes its {len(actor.blocks)} block(s)")
        self.progress.advance(-actor.clips, -actor.audio_s, 0)
        self.waiting.extendleft(reversed(actor.blocks))
