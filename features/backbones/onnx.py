"""Any ONNX model over waveforms or log-mels, by onnxruntime on the CPU or a CUDA device."""

from __future__ import annotations

import math
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationInfo, field_validator, model_validator

from features.audio.mel import MelOptions
from features.backbones import logmel
from features.backbones.adapters.equal_length import UnpaddedBackbone, probe
from features.backbones.adapters.fixed_windows import cut_windows
from features.backbones.base import Backbone, Bundle
from features.backbones.family import Family
from features.backbones.loading import weights as found
from features.backbones.loading.import_paths import described
from features.backbones.onnx_model import OnnxModel, Ports, count_parameters, model_files, model_sha256
from features.backbones.options import BackboneOptions
from features.errors import ConfigError
from features.spec import BackboneSpec

if TYPE_CHECKING:
    from torch import Tensor

    from features.pooling import Frames

FAMILY = Family(weights_from="file", extra="onnx", libraries=("onnxruntime",), fp32_only=True)
LN_10 = math.log(10)
LOG_BASES = {"db": 1.0, "ln": LN_10 / 10, "log10": 0.1}  # what decibels are multiplied with


class MelInput(MelOptions):
    """The log-mel input of a model: its bands, its logarithm and how it is standardised."""

    log: str = Field("db", pattern=f"^({'|'.join(LOG_BASES)})$", description="decibels, ln or log10 of the power")
    mean: float = Field(0.0, description="taken off each value")
    std: float = Field(1.0, gt=0, description="each value is divided by it")


class Options(BackboneOptions):
    """An entry of `features.backbones` for an `.onnx` file."""

    weights: str = Field(description="local `.onnx` file")
    sample_rate_hz: int = Field(ge=1000, description="rate the model takes")
    input: str | None = Field(None, description="name of the input; null: the only one")
    input_axes: str | None = Field(None, description="its axes, of B clips, T samples, F frames, M mel bands, 1")
    output: str | None = Field(None, description="name of the output or of any tensor inside; null: the first output")
    output_axes: str | None = Field(None, description="its axes, of B clips, L layers, F frames, D dimensions, 1")
    window_samples: int | None = Field(None, ge=1, description="samples of one input; null: clips as long as they are")
    hop_samples: int | None = Field(None, ge=1, description="samples from window to window; null: window_samples")
    mel: MelInput | None = Field(None, description="the log-mels that the model takes; null: it takes waveforms")
    min_duration_s: float | None = Field(None, gt=0, le=10, description="shorter clips are padded; null: find out")

    @model_validator(mode="before")
    @classmethod
    def _one_rate(cls, values: Any) -> Any:
        """Mel bands are at the model's own rate."""
        if isinstance(values, dict) and isinstance(values.get("mel"), dict):
            return {**values, "mel": {"sample_rate_hz": values.get("sample_rate_hz"), **values["mel"]}}
        return values

    @field_validator("input_axes", "output_axes")
    @classmethod
    def _are_axes(cls, axes: str | None, info: ValidationInfo) -> str | None:
        """Each letter once, and those there that have to be."""
        if axes is None:
            return None
        letters, needed = ("BTFM", "T or FM") if info.field_name == "input_axes" else ("BLFD", "D")
        plain = axes.replace("1", "")
        fits = "D" in plain if letters == "BLFD" else ("T" in plain) != ({"F", "M"} <= set(plain))
        if not re.fullmatch(f"[{letters}1]+", axes) or len(set(plain)) != len(plain) or not fits:
            raise ValueError(f"should be each at most once of {', '.join(letters)}, with {needed}, and 1; got {axes!r}")
        return axes

    @model_validator(mode="after")
    def _windows_fit(self) -> Options:
        hop, size = self.hop_samples, self.window_samples
        if hop is not None and (size is None or hop > size):
            raise ValueError(f"hop_samples should be at most window_samples ({size}), got {hop}")
        if self.mel is not None and self.mel.sample_rate_hz != self.sample_rate_hz:
            raise ValueError(f"mel.sample_rate_hz should be sample_rate_hz ({self.sample_rate_hz}); leave it out")
        return self


def summary(options: Any) -> dict[str, Any]:
    """What `audioheads backbones ls` shows."""
    return {"weights": "local .onnx", "sample_rate_hz": None, "summary": "ONNX model over waveforms or log-mels"}


def describe(options: Options) -> BackboneSpec:
    """The spec, with the file found and hashed, and tried on noise for the shapes that it gives.

    Raises:
        WeightsError: No such file, not an ONNX model, or onnxruntime is not installed.
        ConfigError: The model has no such tensors, or others than the options say; names those it has.
    """
    path = _find(options)
    digest = model_sha256(options.title, path)
    source = _Source(options, OnnxModel(options.title, path, options.output))
    rate, size = options.sample_rate_hz, options.window_samples
    settings: dict[str, Any] = {
        "input": source.ports.input,
        "input_axes": source.ports.input_axes,
        "output": source.ports.output,
        "output_axes": source.ports.output_axes,
        "mel": None if options.mel is None else options.mel.model_dump(mode="json"),
    }
    if size is None:
        shape = probe(options.title, source.embed, rate, options.min_duration_s)
        n_layers, dim, frame_rate, min_samples = shape.n_layers, shape.dim, shape.frame_rate, shape.min_samples
        settings |= shape.settings()
    else:
        hop = options.hop_samples or size
        n_layers, n_frames, dim = _one_window(options, source, size)
        if n_frames > 1 and hop != size:
            raise ConfigError(
                f"{options.title}: a window gives {n_frames} frames, so hop_samples should be window_samples ({size})"
            )
        frame_rate, min_samples = n_frames * rate / hop, 1
        settings |= {"window_samples": size, "hop_samples": hop}
    return BackboneSpec(
        name=options.name,
        family="onnx",
        weights=options.weights,
        weights_sha256=digest,
        sample_rate=rate,
        layers=tuple(range(n_layers)),
        dim=dim,
        frame_rate=frame_rate,
        min_duration_s=min_samples / rate,
        max_duration_s=options.max_duration_s,
        settings=settings,
    )


def bundle(options: Options, spec: BackboneSpec, folder: Path) -> Bundle:
    """The model's files as they are."""
    path = _find(options)
    for file in model_files(options.title, path):
        place = folder / file.relative_to(path.parent)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place)
    return Bundle({"weights": path.name})


def load(options: Options, spec: BackboneSpec, *, device: str, precision: str) -> Backbone:
    """The model; it runs in the precision it was written in, whatever `precision` says."""
    source = _Source(options, OnnxModel(options.title, _find(options), options.output, device))
    return OnnxBackbone(source, spec) if options.window_samples is None else OnnxWindows(source, spec)


class _Source:
    """A model and its input: waveforms or the log-mels of them."""

    def __init__(self, options: Options, model: OnnxModel) -> None:
        self.model, self.mel = model, options.mel
        n_mels = 0 if options.mel is None else options.mel.n_mels
        self.ports: Ports = model.find_ports(
            options.input, options.input_axes, options.output, options.output_axes, n_mels
        )
        if ("M" in self.ports.input_axes) != bool(n_mels):
            what = "log-mels, so say how they are made with `mel`" if not n_mels else "waveforms, so leave out `mel`"
            raise ConfigError(f"{options.title}: input_axes {self.ports.input_axes} means {what}")
        if options.mel is not None:
            import torch

            from features.backbones.logmel_network import LogmelBackbone

            plain = options.mel.model_dump(include=set(MelOptions.model_fields))
            entry = logmel.Options(name="logmel", **plain)
            self.logmel = LogmelBackbone(logmel.describe(entry), torch.device("cpu"))
        self._check_length(options)

    def embed(self, waveforms: Tensor) -> Tensor:
        """Clips of equal length (B, T) to (B, L, F, D)."""
        import torch

        values = waveforms.cpu()
        if self.mel is not None:
            bands = self.logmel.forward(values, torch.full((len(values),), values.shape[1])).values[:, 0]
            factor = LOG_BASES[self.mel.log] if self.mel.scale == "log" else 1.0
            values = (bands * factor - self.mel.mean) / self.mel.std
        return torch.from_numpy(self.model.run(values.numpy(), self.ports))

    def _check_length(self, options: Options) -> None:
        """Refuse a window that the model does not take, and clips of any length where it takes but one."""
        axis, unit = ("F", "frames") if self.mel is not None else ("T", "samples")
        fixed, size = self.model.fixed(self.ports, axis), options.window_samples
        if fixed is None:
            return
        hop = 1 if self.mel is None else self.mel.hop_length
        if size is None or math.ceil(size / hop) != fixed:
            raise ConfigError(
                f"{options.title}: {Path(options.weights).name} takes {fixed} {unit}, so window_samples should be "
                f"{fixed * hop}, got {'none' if size is None else size}; {self.model.ports_text()}"
            )


class _OnnxParts(Backbone):
    """What both ways of feeding a model have in common."""

    def __init__(self, source: _Source, spec: BackboneSpec) -> None:
        """Take over a model; arrays go to it and come from it on the CPU."""
        import torch

        self.spec = spec
        self.device = torch.device("cpu")
        self._source = source

    @property
    def parameters(self) -> int:
        """Stored floating-point constants."""
        return count_parameters(self._source.model.path)

    @property
    def device_name(self) -> str:
        """What it runs on, for people."""
        return "cuda (onnxruntime)" if self._source.model.on_cuda else "cpu"


class OnnxBackbone(_OnnxParts, UnpaddedBackbone):
    """A model that takes clips of any length, in clips of equal length."""

    def embed_equal(self, waveforms: Tensor) -> Tensor:
        """See `UnpaddedBackbone.embed_equal`."""
        return self._source.embed(waveforms)


class OnnxWindows(_OnnxParts):
    """A model over windows of fixed size, as many as it takes at once.

    The last window of a clip that no full window covers is zero-padded; a vector of it weighs as much as its share of
    real samples, and of a sequence only the frames that begin before the clip's end are kept.
    """

    def forward(self, waveforms: Tensor, lengths: Tensor) -> Frames:
        """See `Backbone.forward`. Not differentiable."""
        import torch

        from features.pooling import Frames

        size, hop = self.spec.settings["window_samples"], self.spec.settings["hop_samples"]
        windows, shares = cut_windows(waveforms.numpy(), lengths.tolist(), size, hop)
        embedded = self._source.embed(torch.from_numpy(windows))  # [W, L, F, D]
        clips, weights, at = [], [], 0
        for clip_shares in shares:
            parts = embedded[at : at + len(clip_shares)]
            at += len(clip_shares)
            if parts.shape[2] == 1:
                weights.append(torch.tensor(clip_shares))
                clips.append(parts[:, :, 0])  # [F, L, D]
                continue
            counts = [math.ceil(share * parts.shape[2]) for share in clip_shares]
            clips.append(torch.cat([part[:, :n].transpose(0, 1) for part, n in zip(parts, counts, strict=True)]))
            weights.append(torch.ones(sum(counts)))
        values = torch.nn.utils.rnn.pad_sequence(clips, batch_first=True).transpose(1, 2)
        weighted = torch.nn.utils.rnn.pad_sequence(weights, batch_first=True)
        return Frames(values, torch.tensor([len(clip) for clip in clips]), weighted)


def _one_window(options: Options, source: _Source, size: int) -> tuple[int, int, int]:
    """Layers, frames and dimensions that a window gives."""
    import numpy as np
    import torch

    noise = 0.1 * np.random.default_rng(0).standard_normal((1, size)).astype(np.float32)
    try:
        embedded = source.embed(torch.from_numpy(noise))
    except Exception as error:
        raise ConfigError(
            f"{options.title}: the model fails on a window of {size} samples with {described(error)}; "
            f"{source.model.ports_text()}"
        ) from None
    return embedded.shape[1], embedded.shape[2], embedded.shape[3]


def _find(options: Options) -> Path:
    """The model's file."""
    if options.weights == found.RANDOM:
        raise ConfigError(f"{options.title}: an ONNX model has no untrained control; weights must be an `.onnx` file")
    ways = f"set features.backbones.{options.title}.weights to a local .onnx file"
    return found.find_file(options.title, options.weights, ways)
