"""Networks trained end to end, read from their files, and the probabilities that they give."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from features.errors import WeightsError, first_line
from heads.batched.frame_blocks import StoredFrames
from heads.finetuning.inference import mixed_precision, resolve_precision, score
from heads.finetuning.network import StandardisedNetwork
from heads.finetuning.options import Recipe
from pipeline.finetune.models import InitialWeights, builder
from pipeline.finetune.windows import fit_windows


def load_network(
    path: Path, options: Recipe, source: InitialWeights, n_classes: int, device: str
) -> StandardisedNetwork:
    """Load a trained network onto a device, in evaluation mode.

    Args:
        path: Weights of a fit.
        options: Options in training.
        source: With the spec of the backbone, if the model has one.
        n_classes: Number of classes.
        device: Torch device.

    Raises:
        WeightsError: The weights are damaged, or do not fit the architecture.
    """
    try:
        state = load_file(path)
    except SafetensorError as error:
        raise WeightsError(f"{path}: cannot be read: {first_line(error)}") from None
    dim = len(state["mean"])
    with torch.random.fork_rng(devices=[]):
        model = builder(options, source, dim, n_classes, device)()
    network = StandardisedNetwork(model, torch.zeros(dim), torch.ones(dim))
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise WeightsError(f"{path}: does not fit the architecture: {first_line(error)}") from None
    return network.to(device).eval()


def window_length(about: Mapping[str, Any], path: Path) -> int:
    """Return the length of the windows in training, in frames, from the metadata of a fit.

    Raises:
        WeightsError: An older version wrote the file, which did not record it.
    """
    if "window_frames" not in about:
        raise WeightsError(
            f"{path}: does not record its window length; delete {path.parent} and run `audioheads finetune` with its "
            "config again"
        )
    return int(about["window_frames"])


def probabilities_of(
    network: StandardisedNetwork,
    options: Recipe,
    source: InitialWeights,
    clips: StoredFrames,
    window_frames: int,
    device: str,
) -> np.ndarray:
    """Return class probabilities of clips without calibration, (n, C) float32.

    Args:
        network: From `load_network`.
        options: Its options.
        source: With the spec of its backbone, if it has one.
        clips: Inputs of the clips.
        window_frames: Length of the windows in training.
        device: Where the network is.
    """
    place = torch.device(device)
    statistics = network.mean.cpu(), network.deviation.cpu()
    windows = fit_windows(options, source.spec, clips, window_frames, statistics)
    with mixed_precision(resolve_precision(options.precision, device), place):
        return score(network, windows, np.arange(len(clips.lengths)), options.batch_size, place).astype(np.float32)
