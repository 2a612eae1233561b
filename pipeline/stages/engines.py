"""The engine that computes the blocks of stage 1: this process, or Ray actors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from features.distributed.engine import RayEngine
from features.distributed.options import ActorOptions
from features.distributed.resources import actor_device, actor_gpus
from features.errors import UserError
from features.inference.worker import Engine, work_here
from features.planning.settings import Settings


@contextmanager
def chosen_engine(name: str, options: ActorOptions, settings: Settings) -> Iterator[tuple[Engine, Settings]]:
    """Open the engine for all backbones of a run.

    Args:
        name: `local` or `ray`.
        options: The actor options of the config.
        settings: Settings of stage 1; with `ray`, device and unset threads follow the resources of an actor.

    Yields:
        The engine, and the settings to use with it.

    Raises:
        UserError: Ray is not installed, or the precision check needs a GPU that this machine does not have.
    """
    if name == "local":
        yield work_here, settings
        return
    gpus = actor_gpus(options, settings.device)
    if gpus and settings.precision != "fp32" and not torch.cuda.is_available():
        raise UserError(
            f"features.precision: {settings.precision} is compared with fp32 where the run is started, and there is "
            "no GPU here; start it on a machine with one, or use fp32"
        )
    threads = settings.threads
    if threads is None and options.cpus_per_actor is not None and not gpus:
        threads = max(1, int(options.cpus_per_actor))
    with RayEngine(options) as engine:
        yield engine, replace(settings, device=actor_device(options, settings.device), threads=threads)
