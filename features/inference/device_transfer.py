"""Asynchronous transfer of batches to a device and of results to the host, concurrent with computation."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class ToDevice:
    """Moves batches to a device; to a CUDA device on a separate stream, from pinned memory."""

    def __init__(self, device: torch.device) -> None:
        """Move batches to `device`."""
        self.device = device
        self.pinned = device.type == "cuda"
        self._stream = torch.cuda.Stream(device) if self.pinned else None

    def __call__(self, waveforms: Tensor) -> Tensor:
        """Return the batch on the device. Work queued there afterwards waits for the transfer; the caller does not."""
        if self._stream is None:
            return waveforms.to(self.device)
        with torch.cuda.stream(self._stream):
            moved = waveforms.to(self.device, non_blocking=True)
        consumer = torch.cuda.current_stream(self.device)
        consumer.wait_stream(self._stream)
        moved.record_stream(consumer)  # the memory is not reused before the model has read it
        return moved


class ToHost:
    """An asynchronous transfer of tensors to the host."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        """Start the transfer; from a CUDA device into pinned memory, without waiting for pending computation."""
        self._host = {name: tensor.to("cpu", non_blocking=True) for name, tensor in tensors.items()}
        device = next(tensor.device for tensor in tensors.values())
        self._event = torch.cuda.current_stream(device).record_event() if device.type == "cuda" else None

    def wait(self) -> dict[str, Tensor]:
        """Wait for the transfer and return the tensors on the CPU."""
        if self._event is not None:
            self._event.synchronize()
        return self._host
