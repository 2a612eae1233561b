"""The backbones of this package with the API of HEAR 2021 (Turian et al. 2022), for the tools of that challenge.

    hear-validator features.hear --model wav2vec2-base

`load_model` takes the name of a backbone or preset, a folder from `save_pretrained`, or a YAML or JSON file (or its
text) with an entry as in `features.backbones` and, optionally, `layer` and `pooling`:

    {name: wav2vec2, weights: my-folder, layer: 6, pooling: [mean, std]}

Timestamp embeddings are the frames of that layer. Scene embeddings are the concatenated poolings of these frames.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from features import backbones
from features.backbones.base import Backbone
from features.errors import ConfigError
from features.numerics import full_float32
from features.pooling import POOLINGS, Frames, Moments

DEFAULT = "mfcc"  # needs no weights


class HearModel(nn.Module):
    """A backbone with a layer and the poolings of its frames.

    Attributes:
        sample_rate: Sample rate of the input, in Hz.
        scene_embedding_size: Dimensions of a clip's vector.
        timestamp_embedding_size: Dimensions of a frame.
    """

    sample_rate: int
    scene_embedding_size: int
    timestamp_embedding_size: int

    def __init__(self, entry: dict[str, Any], layer: int, pooling: list[str]) -> None:
        """Load the backbone of a config entry on the CPU; it moves to the device of the audio.

        Raises:
            ConfigError: The entry, layer or pooling does not exist.
            WeightsError: The weights cannot be found or downloaded.
        """
        super().__init__()
        self._entry = entry
        self._spec = backbones.describe(entry)
        n_layers = len(self._spec.layers)
        if not -n_layers <= layer < n_layers:
            raise ConfigError(f"layer {layer}: {self._spec.title} has layers 0 to {n_layers - 1}")
        unknown = [method for method in pooling if method not in POOLINGS]
        if unknown or not pooling:
            raise ConfigError(f"pooling {pooling}: should be a list of {', '.join(POOLINGS)}")
        self.layer, self.pooling = layer % n_layers, pooling
        self._backbone = self._load(torch.device("cpu"))
        self.module = self._backbone.module  # registers its parameters; None if there is no network
        self.sample_rate = self._spec.sample_rate
        self.timestamp_embedding_size = self._spec.dim
        self.scene_embedding_size = self._spec.dim * len(pooling)

    def windows(self, audio: Tensor) -> list[Frames]:
        """Return the frames (B, 1, F, D) of clips of equal length (B, T), one `Frames` per window of long clips.

        Raises:
            ValueError: `audio` is not two-dimensional, or has no samples.
        """
        if audio.ndim != 2 or not audio.shape[1]:
            raise ValueError(f"audio should have shape (clips, samples), got {tuple(audio.shape)}")
        backbone, spec = self._on(audio.device), self._spec
        parts = []
        for start in range(0, audio.shape[1], spec.max_samples):
            part = audio[:, start : start + spec.max_samples].float()
            part = nn.functional.pad(part, (0, max(0, spec.min_samples - part.shape[1])))
            frames = backbone.embed_batch(part, torch.full((len(part),), part.shape[1]))
            lengths = frames.lengths.to(frames.values.device)
            parts.append(Frames(frames.values[:, self.layer : self.layer + 1], lengths, frames.weights))
        return parts

    def stamps_ms(self, audio: Tensor, parts: list[Frames]) -> Tensor:
        """Return the centres of a clip's frames in milliseconds, (F,): equally spaced in each window."""
        spec, stamps = self._spec, []
        hop = spec.sample_rate / spec.frame_rate
        for number, part in enumerate(parts):
            start, count = number * spec.max_samples, part.values.shape[2]
            length = min(spec.max_samples, audio.shape[1] - start)
            first = int(spec.settings.get("window_samples", spec.min_samples)) / 2
            if count == 1 or first + (count - 1) * hop > length:
                first = max(0.0, (length - (count - 1) * hop) / 2)  # around the window's middle
            stamps.append(start + first + hop * torch.arange(count, dtype=torch.float64))
        return (1000 * torch.cat(stamps) / spec.sample_rate).float()

    def _on(self, device: torch.device) -> Backbone:
        """Return the backbone on a device; one that only runs on the CPU stays there."""
        if device != self._backbone.device and device.type != "cpu" and self._wanted != device:
            self._backbone = self._load(device)
            self.module = self._backbone.module
        return self._backbone

    def _load(self, device: torch.device) -> Backbone:
        self._wanted = device
        return backbones.load(self._entry, str(device), spec=self._spec)


def load_model(model_file_path: str = "", **options: Any) -> HearModel:
    """Load a model for `get_timestamp_embeddings` and `get_scene_embeddings`.

    Args:
        model_file_path: Name of a backbone or preset, a folder from `save_pretrained`, a YAML or JSON file with an
            entry as in `features.backbones`, or the text of such a file. Empty: the MFCC control.
        **options: Values of the entry, such as `weights`; also `layer` (default -1, the last) and `pooling` (default
            ["mean"]).

    Raises:
        ConfigError: `model_file_path` is none of these, or a value is invalid.
        WeightsError: The weights cannot be found or downloaded.
    """
    entry = {**_entry(str(model_file_path)), **options}
    layer, pooling = entry.pop("layer", -1), entry.pop("pooling", ["mean"])
    if isinstance(layer, bool) or not isinstance(layer, int) or not isinstance(pooling, list):
        raise ConfigError(f"layer should be a number and pooling a list, got {layer!r} and {pooling!r}")
    return HearModel(entry, layer, pooling)


def get_timestamp_embeddings(audio: Tensor, model: HearModel) -> tuple[Tensor, Tensor]:
    """Return the frames of clips of equal length.

    Args:
        audio: (B, T) in [-1, 1] at `model.sample_rate` Hz.
        model: From `load_model`.

    Returns:
        Embeddings (B, F, D) and the centres of their frames in milliseconds (B, F), both float32 on the device of the
        audio.
    """
    parts = model.windows(audio)
    values = torch.cat([part.values[:, 0] for part in parts], dim=1).float().to(audio.device)
    return values, model.stamps_ms(audio, parts).to(audio.device).expand(len(audio), -1)


def get_scene_embeddings(audio: Tensor, model: HearModel) -> Tensor:
    """Return one vector per clip, (B, D · poolings), for clips (B, T) of equal length, pooled as in stage 1."""
    moments: Moments | None = None
    with full_float32():
        for part in model.windows(audio):
            found = Moments.of(part, model.pooling)
            moments = found if moments is None else moments.join(found)
    assert moments is not None, "there is at least one window"
    return torch.cat([moments.pooled(method)[:, 0] for method in model.pooling], dim=1).to(audio.device)


def _entry(text: str) -> dict[str, Any]:
    """Return the entry that a path, a name or a text describes."""
    if text in ("", *backbones.names()):
        return {"name": text or DEFAULT}
    try:
        if Path(text).is_dir():
            return {"name": "wav2vec2", "weights": text}
        read = Path(text).read_text(encoding="utf-8") if Path(text).is_file() else text
        entry = yaml.safe_load(read)
    except (OSError, ValueError, yaml.YAMLError):
        entry = None
    if not isinstance(entry, dict):
        names = ", ".join(backbones.names())
        raise ConfigError(
            f"{text!r} is not a backbone, a folder, or a file or text with an entry such as {{name: mfcc}}; "
            f"backbones: {names}"
        )
    return entry
