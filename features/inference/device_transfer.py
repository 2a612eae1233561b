"""Batches to a device and results back, beside what it computes and without waiting for it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class ToDevice:
    """Moves batches to a device; to a CUDA device on a stream of its own, from pinned memory."""

    def __init__(self, device: torch.device) -> None:
        """ToDevice `device`."""
        self.device = device
        self.pinned = device.type == "cuda"
        self._stream = torch.cuda.Stream(device) if self.pinned else None

    def __call__(self, waveforms: Tensor) -> Tensor:
        """The same batch on the device; work started there from now on waits for it, the caller does not."""
        if self._stream is None:
            return waveforms.to(self.device)
        with torch.cuda.stream(self._stream):
            moved = waveforms.to(self.device, non_blocking=True)
        consumer = torch.cuda.current_stream(self.device)
        consumer.wait_stream(self._stream)
        moved.record_stream(consumer)  # its memory is not given to another batch before the model has read it
        return moved


class ToHost:
    """Tensors on their way to the host."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        """Send them off; from a CUDA device into pinned memory, without waiting for what computes them."""
        self._host = {name: tensor.to("cpu", non_blocking=True) for name, tensor in tensors.items()}
        device = next(tensor.device for tensor in tensors.values())
        self._event = torch.cuda.current_stream(device).record_event() if device.type == "cuda" else None

    def wait(self) -> dict[str, Tensor]:
        """All of them, there."""
        if self._event is not None:
            self._event.synchronize()
        return self._host
