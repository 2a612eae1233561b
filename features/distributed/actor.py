"""One Ray actor: loads the backbone once and computes the blocks it is given into the shared folder."""

from __future__ import annotations

import contextlib
import os
import platform
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from features.backbones.base import Backbone
from features.errors import RunError
from features.inference.worker import Computed, ExtractionTask, work_here
from features.planning.plan import Plan
from features.planning.resume import PLAN_FILE
from features.planning.settings import Settings


@dataclass(frozen=True)
class Loaded:
    """The backbone is there: computing begins."""


@dataclass(frozen=True)
class Advanced:
    """A batch is done: clips, seconds of audio, failures."""

    clips: int
    audio_s: float
    failed: int


@dataclass(frozen=True)
class Noted:
    """Something worth a line in the log."""

    message: str


@dataclass(frozen=True)
class Written:
    """A block's shard is on disk; it holds so many clips."""

    block: int
    clips: int


Event = Loaded | Advanced | Noted | Written | Computed


class RemoteProgress:
    """Progress of an actor, on its way to the driver."""

    def __init__(self, tell: Callable[[Event], None]) -> None:
        """Hand everything to `tell`."""
        self._tell = tell

    def start(self, clips: int, audio_s: float, reused: int) -> None:
        """The driver knows."""

    def advance(self, clips: int, audio_s: float, failed: int) -> None:
        """A batch is done."""
        self._tell(Advanced(clips, audio_s, failed))

    def note(self, message: str) -> None:
        """Something worth a line in the log."""
        self._tell(Noted(message))


class RayWorker:
    """What runs in the actor. Whatever it makes is a file; only progress goes through Ray."""

    def __init__(
        self, folder: str, parts: str, spec: dict[str, Any], settings: Settings, load: Callable[[], Backbone]
    ) -> None:
        """Keep what is needed; cheap, so that an actor that cannot work says so when it is asked to.

        Args:
            folder: The driver's working directory: what relative paths in a config are relative to.
            parts: The folder of the plan and its shards.
            spec: The cache spec.
            settings: How to run.
            load: Loads the backbone.
        """
        with contextlib.suppress(OSError):  # not there on this machine: absolute paths need none
            os.chdir(folder)
        self._parts = Path(parts)
        self._spec = spec
        self._settings = settings
        self._load = cache(load)
        self._job: ExtractionTask | None = None

    def hello(self) -> str:
        """The machine it runs on.

        Raises:
            RunError: The plan or the audio cannot be seen from here.
        """
        plan = Plan.load(self._parts / PLAN_FILE)
        if plan is None:
            raise RunError(
                f"{platform.node()} cannot read {self._parts / PLAN_FILE}; output.cache must be a folder that all "
                "machines of the cluster see under the same path"
            )
        if plan.clips and not any(_is_there(plan.clips[at].path) for at in {0, len(plan.clips) // 2, -1}):
            raise RunError(
                f"{platform.node()} cannot read {plan.clips[0].path}; dataset.root must be a folder that all "
                "machines of the cluster see under the same path"
            )
        self._job = ExtractionTask(plan, self._parts, self._spec, self._settings, self._load)
        return platform.node() or "a nameless machine"

    def compute(self, numbers: list[int]) -> Iterator[Event]:
        """Compute some blocks.

        Args:
            numbers: Of the plan's.

        Yields:
            What happens, as it happens; `Computed` comes last.

        Raises:
            AudioheadsError: As from `work_here`.
        """
        assert self._job is not None, "hello comes first"
        job = self._job
        events: queue.SimpleQueue[Event | BaseException] = queue.SimpleQueue()

        def load() -> Backbone:
            backbone = self._load()
            events.put(Loaded())
            return backbone

        def work() -> None:
            try:
                watched = replace(job, load=load)
                events.put(
                    work_here(
                        watched,
                        numbers,
                        RemoteProgress(events.put),
                        lambda block, clips: events.put(Written(block, clips)),
                    )
                )
            except BaseException as error:  # raised where Ray sees it
                events.put(error)

        threading.Thread(target=work, name="work", daemon=True).start()
        while True:
            event = events.get()
            if isinstance(event, BaseException):
                raise event
            yield event
            if isinstance(event, Computed):
                return


def _is_there(path: str) -> bool:
    try:
        return Path(path).exists()
    except OSError:
        return False
