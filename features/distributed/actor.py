"""The Ray actor: loads the backbone once, computes blocks and writes them to the shared folder."""

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

from features.audio.containers import file_of
from features.backbones.base import Backbone
from features.errors import RunError
from features.inference.worker import Computed, ExtractionTask, work_here
from features.planning.plan import Plan
from features.planning.resume import PLAN_FILE
from features.planning.settings import Settings


@dataclass(frozen=True)
class Loaded:
    """The backbone is loaded and computing begins."""


@dataclass(frozen=True)
class Advanced:
    """A batch is finished: its clips, seconds of audio and failures."""

    clips: int
    audio_s: float
    failed: int


@dataclass(frozen=True)
class Noted:
    """A message for the log."""

    message: str


@dataclass(frozen=True)
class Written:
    """A block's shard is on disk, with this number of clips."""

    block: int
    clips: int


Event = Loaded | Advanced | Noted | Written | Computed


class RemoteProgress:
    """Sends the progress of an actor to the driver."""

    def __init__(self, send: Callable[[Event], None]) -> None:
        """Pass each event to `send`."""
        self._send = send

    def start(self, clips: int, audio_s: float, reused: int) -> None:
        """Do nothing: the driver knows these numbers."""

    def advance(self, clips: int, audio_s: float, failed: int) -> None:
        """Send a finished batch."""
        self._send(Advanced(clips, audio_s, failed))

    def note(self, message: str) -> None:
        """Send a message for the log."""
        self._send(Noted(message))


class RayWorker:
    """The class that Ray runs in the actor. Results are written to files; only progress is sent through Ray."""

    def __init__(
        self, folder: str, parts: str, spec: dict[str, Any], settings: Settings, load: Callable[[], Backbone]
    ) -> None:
        """Store the arguments. Checks are made in `hello`, which can report errors to the driver.

        Args:
            folder: The driver's working directory, to which relative paths in a config refer.
            parts: The folder of the plan and its shards.
            spec: The cache spec.
            settings: How to run.
            load: Loads the backbone.
        """
        with contextlib.suppress(OSError):  # missing on this machine; absolute paths do not need it
            os.chdir(folder)
        self._parts = Path(parts)
        self._spec = spec
        self._settings = settings
        self._load = cache(load)
        self._job: ExtractionTask | None = None

    def hello(self) -> str:
        """Check that the actor can work, and return the name of its machine.

        Raises:
            RunError: The plan or the audio cannot be read on this machine.
        """
        plan = Plan.load(self._parts / PLAN_FILE)
        if plan is None:
            raise RunError(
                f"{platform.node()} cannot read {self._parts / PLAN_FILE}; output.cache must be a folder that all "
                "machines of the cluster can access under the same path"
            )
        if plan.clips and not any(_is_there(plan.clips[at].path) for at in {0, len(plan.clips) // 2, -1}):
            raise RunError(
                f"{platform.node()} cannot read {plan.clips[0].path}; dataset.root must be a folder that all "
                "machines of the cluster can access under the same path"
            )
        self._job = ExtractionTask(plan, self._parts, self._spec, self._settings, self._load)
        return platform.node() or "an unnamed machine"

    def compute(self, numbers: list[int]) -> Iterator[Event]:
        """Compute some blocks.

        Args:
            numbers: Blocks of the plan.

        Yields:
            Events as they happen; `Computed` is the last one.

        Raises:
            AudioheadsError: As in `work_here`.
        """
        assert self._job is not None, "call hello first"
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
            except BaseException as error:  # raised again in the actor's main thread
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
        return file_of(path).exists()
    except OSError:
        return False
