"""Model folders with code of their own, as their repositories on the hub: their models, made by that code."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

WEIGHTS = ("model.safetensors", "pytorch_model.bin")


def with_weights(source: Path, target: Path, auto_class: str) -> tuple[Path, bool]:
    """Return a folder with weights, and whether they are random: a folder without any is copied and gets seeded ones.

    Args:
        source: A clone of the repository, or only its code and configurations.
        target: An empty folder.
        auto_class: The key of its model in `auto_map`.
    """
    import torch

    if any((source / name).is_file() for name in WEIGHTS):
        return source, False
    copy = target / source.resolve().parent.name / source.resolve().name
    shutil.copytree(source, copy)
    torch.manual_seed(0)
    model = _built(copy, auto_class)
    with torch.no_grad():
        for parameter in model.parameters():  # biases and norms, too, differ from their initial values
            parameter.add_(0.02 * torch.randn_like(parameter))
    torch.save(model.state_dict(), copy / WEIGHTS[1])
    return copy, True


def published_model(folder: str, auto_class: str = "AutoModel") -> Any:
    """Return the model in a folder, in evaluation mode."""
    from features.backbones.loading.weights import read_state

    file = next(Path(folder) / name for name in WEIGHTS if (Path(folder) / name).is_file())
    model = _built(Path(folder), auto_class)
    model.load_state_dict(read_state(file))
    return model.eval()


def published_extractor(folder: str) -> Any:
    """Return the feature extractor in a folder."""
    from transformers import AutoFeatureExtractor

    return AutoFeatureExtractor.from_pretrained(folder, trust_remote_code=True)


def _built(folder: Path, auto_class: str) -> Any:
    """Return a model with its initial weights; `from_pretrained` would fail for code that never calls `post_init`."""
    import transformers

    config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=True)
    return getattr(transformers, auto_class).from_config(config, trust_remote_code=True)
