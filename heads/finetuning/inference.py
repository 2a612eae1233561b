"""Class probabilities of whole clips from a network trained end to end, for validation, test and prediction."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from features.system.number_types import has_bf16, has_float64
from heads.finetuning.crops import ScoringWindows
from heads.finetuning.network import StandardisedNetwork


def score(
    network: StandardisedNetwork,
    windows: ScoringWindows,
    clips: Sequence[int] | np.ndarray,
    batch_size: int,
    device: torch.device,
) -> np.ndarray:
    """Return class probabilities of whole clips, averaged over their windows: (N, C) float64."""
    before = network.training
    network.eval()
    total: np.ndarray | None = None
    counts = np.zeros(len(clips))
    with torch.inference_mode():
        for inputs, lengths, owners in windows.covering(clips, batch_size):
            logits = network(inputs.to(device), lengths)
            if not has_float64(device):
                logits = logits.cpu()
            probabilities = logits.double().softmax(dim=1).cpu().numpy()
            if total is None:
                total = np.zeros((len(clips), probabilities.shape[1]))
            np.add.at(total, owners.numpy(), probabilities)
            np.add.at(counts, owners.numpy(), 1)
    network.train(before)
    assert total is not None
    return total / counts[:, None]


def resolve_precision(precision: str, device: str) -> str:
    """Replace `auto` by bf16 on CUDA devices with instructions for it, and by fp32 elsewhere.

    On a CPU it is fp32 although some have bf16: gradients of convolutions are hundreds of times slower in bf16 there.
    """
    if precision != "auto":
        return precision
    return "bf16" if torch.device(device).type == "cuda" and has_bf16(device) else "fp32"


def mixed_precision(precision: str, device: torch.device) -> torch.autocast:
    """Return the autocast context for scoring; `precision` must not be `auto`."""
    kind = torch.float16 if precision == "fp16" else torch.bfloat16
    return torch.autocast(device.type, kind, enabled=precision != "fp32")
