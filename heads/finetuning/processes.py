"""The processes that train one model together: what one of them must not decide by itself."""

from __future__ import annotations

import os
from typing import TypeVar

import torch
from torch import distributed

Value = TypeVar("Value")


def is_main_process() -> bool:
    """Whether this is the process that writes results, among those that Lightning's strategy started."""
    return int(os.environ.get("RANK") or os.environ.get("LOCAL_RANK") or 0) == 0


def agreed(value: Value, device: str) -> Value:
    """Return the value of the first process in all of them, after each has arrived here.

    What processes read from a folder can differ, because the first one changes it meanwhile. A process that trains
    while another believes that nothing is left to train would wait for it for ever.

    Args:
        value: What this process would decide.
        device: Device of the training.
    """
    _join(torch.device(device))
    if not (distributed.is_available() and distributed.is_initialized()):
        return value
    values = [value]
    distributed.broadcast_object_list(values, src=0)
    distributed.barrier()
    return values[0]


def _join(device: torch.device) -> None:
    """Connect with the other processes if a launcher such as torchrun started them all; Lightning keeps the connection.

    Processes that Lightning itself starts have no `RANK` and are connected by its trainer.
    """
    started_together = "RANK" in os.environ and int(os.environ.get("WORLD_SIZE", 1)) > 1
    if not started_together or not distributed.is_available() or distributed.is_initialized():
        return
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
