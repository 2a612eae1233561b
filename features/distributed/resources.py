"""The CPUs and GPUs of an actor, and how many actors a cluster has room for."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

from features.distributed.options import ActorOptions
from features.errors import RunError


def actor_device(options: ActorOptions, device: str) -> str:
    """Return the device on which actors compute: `cuda` if they have GPUs, whatever this machine has."""
    if actor_gpus(options, device):
        return "cuda"
    return "cpu" if device.startswith("cuda") else device


def actor_gpus(options: ActorOptions, device: str) -> float:
    """Return the GPUs of an actor; by default one if `device` is a CUDA device."""
    return float(device.startswith("cuda")) if options.gpus_per_actor is None else options.gpus_per_actor


def actor_needs(ray: ModuleType, options: ActorOptions, device: str, threads: int) -> dict[str, float]:
    """Return the CPUs and GPUs of an actor, by Ray's names.

    Args:
        ray: The module, connected to a cluster.
        options: The options of the config.
        device: The device of a run without Ray.
        threads: CPUs of an actor without GPUs if the options name none. With GPUs, the default is the CPUs per GPU.
    """
    gpus, cpus = actor_gpus(options, device), options.cpus_per_actor
    if cpus is None and gpus:
        there = ray.cluster_resources()
        cpus = max(1.0, there.get("CPU", 0.0) * gpus // max(1.0, there.get("GPU", 0.0)))
    return {"CPU": cpus if cpus is not None else float(threads), "GPU": gpus}


def room_for(ray: ModuleType, needs: Mapping[str, float], key: str) -> int:
    """Return how many actors the cluster has room for.

    Args:
        ray: The module, connected to a cluster.
        needs: From `actor_needs`.
        key: Key of the options in a config, for the message.

    Raises:
        RunError: The cluster has no room for an actor.
    """
    there = ray.cluster_resources()
    room = int(min(there.get(kind, 0.0) / amount for kind, amount in needs.items() if amount))
    if room < 1:
        held = {kind: there.get(kind, 0.0) for kind in needs}
        raise RunError(f"the Ray cluster has {amounts(held)}, but an actor needs {amounts(needs)}; see {key}")
    return room


def amounts(resources: Mapping[str, float]) -> str:
    """Format resources, such as `2 CPU, 1 GPU`."""
    return ", ".join(f"{amount:g} {kind}" for kind, amount in resources.items())
