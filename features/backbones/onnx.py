"""ONNX models over waveforms or log-mels, run by onnxruntime on the CPU or a CUDA device."""

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
from features.backbones.networks.onnx_model import OnnxModel, Ports, count_parameters, model_files, model_sha256
from features.backbones.options import BackboneOptions
from features.errors import ConfigError
from features.spec import BackboneSpec

if TYPE_CHECKING:
    from torch import Tensor

    from features.pooling import Frames


def _runs_on(device: str) -> str:
    """Return the device if onnxruntime can use it, else `cpu`."""
    if device.partition(":")[0] != "cuda":
        return "cpu"
    try:
        import onnxruntime
    except ImportError:
        return "cpu"
    return device if "CUDAExecutionProvider" in onnxruntime.get_available_providers() else "cpu"


FAMILY = Family(weights_from="file", extra="onnx", libraries=("onnxruntime",), fp32_only=True, runs_on=_runs_on)
LN_10 = math.log(10)
LOG_BASES = {"db": 1.0, "ln": LN_10 / 10, "log10": 0.1}  # factor from decibels


class MelInput(MelOptions):
    """The log-mel input of a model: its bands, its logarithm and its standardisation."""

    log: str = Field("db", pattern=f"^({'|'.join(LOG_BASES)})$", description="decibels, ln or log10 of the power")
    mean: float = Field(0.0, description="subtracted from each value")
    std: float = Field(1.0, gt=0, description="each value is divided by it")


class Options(BackboneOptions):
    """An entry of `features.backbones` for an `.onnx` file."""

    weights: str = Field(description="local `.onnx` file")
    sample_rate_hz: int = Field(ge=1000, description="sample rate of the model's input")
    input: str | None = Field(None, description="name of the input; null: the only input")
    input_axes: str | None = Field(None, description="its axes, of B clips, T samples, F frames, M mel bands, 1")
    output: str | None = Field(None, description="name of the output or of any tensor inside; null: the first output")
    output_axes: str | None = Field(None, description="its axes, of B clips, L layers, F frames, D dimensions, 1")
    window_samples: int | None = Field(None, ge=1, description="samples of one input; null: clips of any length")
    hop_samples: int | None = Field(None, ge=1, description="samples from window to window; null: window_samples")
    mel: MelInput | None = Field(None, description="the log-mels that the model takes; null: it takes waveforms")
    min_duration_s: float | None = Field(None, gt=0, le=10, description="shorter clips are padded; null: measured")

    @model_validator(mode="before")
    @classmethod
    def _one_rate(cls, values: Any) -> Any:
        """Use the model's sample rate for the mel bands."""
        if isinstance(values, dict) and isinstance(values.get("mel"), dict):
            return {**values, "mel": {"sample_rate_hz": values.get("sample_rate_hz"), **values["mel"]}}
        return values

    @field_validator("input_axes", "output_axes")
    @classmethod
    def _are_axes(cls, axes: str | None, info: ValidationInfo) -> str | None:
        """Check that each letter occurs at most once, and that the required ones are present."""
        if axes is None:
            return None
        letters, needed = ("BTFM", "T or FM") if info.field_name == "input_axes" else ("BLFD", "D")
        plain = axes.replace("1", "")
        fits = "D" in plain if letters == "BLFD" else ("T" in plain) != ({"F", "M"} <= set(plain))
        if not re.fullmatch(f"[{letters}1]+", axes) or len(set(plain)) != len(plain) or not fits:
            raise ValueError(f"use each of {', '.join(letters)} at most once, with {needed}, and 1; got {axes!r}")
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
    """Return the columns of `audioheads backbones ls`."""
    return {"weights": "local .onnx", "sample_rate_hz": None, "summary": "ONNX model over waveforms or log-mels"}


def describe(options: Options) -> BackboneSpec:
    """Return the spec; the file is found and hashed, and the model is run on noise to measure its output shape.

    Raises:
        WeightsError: The file does not exist or is not an ONNX model, or onnxruntime is not installed.
        ConfigError: The model has no such tensors, or they do not fit the options; the message lists its tensors.
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
                f"{options.title}: a window yields {n_frames} frames, so hop_samples should be window_samples ({size})"
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
    """Copy the model's files."""
    path = _find(options)
    for file in model_files(options.title, path):
        target = folder / file.relative_to(path.parent)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    return Bundle({"weights": path.name})


def load(options: Options, spec: BackboneSpec, *, device: str, precision: str) -> Backbone:
    """Load the model; it runs in its own precision, and `precision` is ignored."""
    source = _Source(options, OnnxModel(options.title, _find(options), options.output, device))
    return OnnxBackbone(source, spec) if options.window_samples is None else OnnxWindows(source, spec)


class _Source:
    """A model and its input: waveforms or their log-mels."""

    def __init__(self, options: Options, model: OnnxModel) -> None:
        self.model, self.mel = model, options.mel
        n_mels = 0 if options.mel is None else options.mel.n_mels
        self.ports: Ports = model.find_ports(
            options.input, options.input_axes, options.output, options.output_axes, n_mels
        )
        if ("M" in self.ports.input_axes) != bool(n_mels):
            what = "log-mels, so set their options with `mel`" if not n_mels else "waveforms, so leave out `mel`"
            raise ConfigError(f"{options.title}: input_axes {self.ports.input_axes} means {what}")
        if options.mel is not None:
            import torch

            from features.backbones.networks.logmel import LogmelBackbone

            plain = options.mel.model_dump(include=set(MelOptions.model_fields))
            entry = logmel.Options(name="logmel", **plain)
            self.logmel = LogmelBackbone(logmel.describe(entry), torch.device("cpu"))
        self._check_length(options)

    def embed(self, waveforms: Tensor) -> Tensor:
        """Embed clips of equal length: (B, T) to (B, L, F, D)."""
        import torch

        values = waveforms.cpu()
        if self.mel is not None:
            bands = self.logmel.forward(values, torch.full((len(values),), values.shape[1])).values[:, 0]
            factor = LOG_BASES[self.mel.log] if self.mel.scale == "log" else 1.0
            values = (bands * factor - self.mel.mean) / self.mel.std
        return torch.from_numpy(self.model.run(values.numpy(), self.ports))

    def _check_length(self, options: Options) -> None:
        """Raise `ConfigError` if the model has a fixed input length that differs from `window_samples`."""
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
    """Base class of the backbones with variable and with fixed input length."""

    def __init__(self, source: _Source, spec: BackboneSpec) -> None:
        """Wrap a model; its inputs and outputs are on the CPU."""
        import torch

        self.spec = spec
        self.device = torch.device("cpu")
        self._source = source

    @property
    def parameters(self) -> int:
        """Number of stored floating-point constants."""
        return count_parameters(self._source.model.path)

    @property
    def device_name(self) -> str:
        """Name of the device, for messages."""
        return "cuda (onnxruntime)" if self._source.model.on_cuda else "cpu"


class OnnxBackbone(_OnnxParts, UnpaddedBackbone):
    """A model that takes clips of any length; each call embeds clips of equal length."""

    def embed_equal(self, waveforms: Tensor) -> Tensor:
        """See `UnpaddedBackbone.embed_equal`."""
        return self._source.embed(waveforms)


class OnnxWindows(_OnnxParts):
    """A model over windows of fixed size.

    An incomplete last window is zero-padded. If a window yields one vector, the vector is weighted by the window's
    fraction of real samples. If it yields several frames, only frames that begin before the end of the clip are kept.
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
    """Return the layers, frames and dimensions of one window's embedding."""
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
    """Return the path of the model file."""
    if options.weights == found.RANDOM:
        raise ConfigError(f"{options.title}: an ONNX model has no untrained control; weights must be an `.onnx` file")
    ways = f"set features.backbones.{options.title}.weights to a local .onnx file"
    return found.find_file(options.title, options.weights, ways)
