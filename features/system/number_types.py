"""The number types that a device computes itself, without emulation."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

WITHOUT_FLOAT64 = ("mps", "xpu")
"""Kinds of devices of which all or some have no double precision."""


def has_bf16(device: str | torch.device) -> bool:
    """Return whether a device has instructions for bf16. Emulated bf16 is slower than fp32."""
    import torch

    device = torch.device(device)
    if device.type == "cuda":
        with torch.cuda.device(device) if torch.cuda.device_count() > 1 else nullcontext():
            return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        checks = (getattr(torch.cpu, f"_is_{feature}_supported", None) for feature in ("avx512_bf16", "amx_tile"))
        return any(check is not None and check() for check in checks)
    return False


def has_float64(device: str | torch.device) -> bool:
    """Return whether all devices of this kind have double precision."""
    import torch

    return torch.device(device).type not in WITHOUT_FLOAT64
