"""The actors of a run on a Ray cluster: they are given work until none is left, and lost ones are replaced."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Generic, TypeVar

from features.distributed.cluster import reason_of
from features.distributed.resources import amounts
from features.errors import RunError

ATTEMPTS = 3  # actors that may die at one piece of work, or consecutively before they have started
NOTE_AFTER_S = 30.0  # after this time, a note reports that the cluster has no room yet


@dataclass
class Actor:
    """An actor.

    Attributes:
        handle: Ray's handle.
        host: Its machine; empty before `hello` has returned.
    """

    handle: Any
    host: str = ""


A = TypeVar("A", bound=Actor)
W = TypeVar("W")


class ActorPool(ABC, Generic[A, W]):
    """The actors of a run: those with a pending call, and idle ones. A subclass says what the work is."""

    def __init__(
        self, ray: ModuleType, needs: Mapping[str, float], most: int, waiting: deque[W], note: Callable[[str], None]
    ) -> None:
        """Create an empty pool.

        Args:
            ray: The module, connected to a cluster.
            needs: CPUs and GPUs of an actor, from `actor_needs`.
            most: Largest number of actors.
            waiting: The work to do; what a lost actor had not done is returned to it.
            note: Called with messages for the log.
        """
        self.ray = ray
        self.needs = needs
        self.most = most
        self.waiting = waiting
        self.note = note
        self.pending: dict[Any, A] = {}
        self.idle: list[A] = []
        self.losses: Counter[Hashable] = Counter()
        self.failed_starts = 0
        self.noted_wait = False

    def work(self) -> None:
        """Do all work, then kill all actors, including busy ones if it cannot be done.

        Raises:
            AudioheadsError: An error in an actor, no actor can be started, or some work killed too many.
        """
        try:
            while self.waiting or any(actor.host for actor in self.pending.values()):
                self._hand_out()
                self._listen()
        finally:
            for actor in (*self.idle, *self.pending.values()):
                with contextlib.suppress(Exception):
                    self.ray.kill(actor.handle)

    @abstractmethod
    def start(self, remote: Callable[[type], Any]) -> A:
        """Start an actor; `remote` makes a class one that Ray runs. Work is assigned after its `hello` has returned."""

    @abstractmethod
    def assign(self, actor: A) -> Any:
        """Give an idle actor some of the waiting work; return the call, which is then pending."""

    @abstractmethod
    def take(self, actor: A, call: Any) -> bool:
        """Handle what a call has returned; return whether it will return more."""

    @abstractmethod
    def lose(self, actor: A, error: Exception) -> None:
        """Return the work of a dead actor to the queue. `count_loss` raises if too many actors died at it."""

    def count_loss(self, work: Hashable, actor: Actor, error: Exception, doing: str, advice: str) -> None:
        """Count that an actor died at some work.

        Raises:
            RunError: It is one too many.
        """
        self.losses[work] += 1
        if self.losses[work] >= ATTEMPTS:
            raise RunError(
                f"{ATTEMPTS} actors died {doing}, the last on {actor.host}; if they ran out of memory, {advice}, "
                "run again to continue"
            ) from error

    def _hand_out(self) -> None:
        """Give work to idle actors, and start as many actors as there is work for."""
        while self.idle and self.waiting:
            actor = self.idle.pop()
            self.pending[self.assign(actor)] = actor
        starting = sum(not actor.host for actor in self.pending.values())
        for _ in range(min(self.most - len(self.pending) - len(self.idle), len(self.waiting) - starting)):
            actor = self.start(self.ray.remote(num_cpus=self.needs["CPU"], num_gpus=self.needs["GPU"], max_restarts=0))
            self.pending[actor.handle.hello.remote()] = actor

    def _listen(self) -> None:
        """Wait until a call returns something, and handle it."""
        ready, _ = self.ray.wait(list(self.pending), num_returns=1, timeout=NOTE_AFTER_S, fetch_local=False)
        if not ready and not self.noted_wait and not any(actor.host for actor in self.pending.values()):
            self.noted_wait = True
            self.note(f"waiting for the cluster to have room for an actor ({amounts(self.needs)})")
        for call in ready:
            actor = self.pending[call]
            try:
                if not actor.host:
                    actor.host = self.ray.get(call)
                    self.failed_starts = 0
                elif self.take(actor, call):
                    continue
            except self.ray.exceptions.RayTaskError as error:
                raise (error.cause or error) from error
            except self.ray.exceptions.RayError as error:
                del self.pending[call]
                self._lose(actor, error)
                continue
            del self.pending[call]
            self.idle.append(actor)

    def _lose(self, actor: A, error: Exception) -> None:
        if actor.host:
            self.lose(actor, error)
            return
        self.failed_starts += 1
        if self.failed_starts >= ATTEMPTS:
            raise RunError(f"no actor can start ({reason_of(error)})") from error
