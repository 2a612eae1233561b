"""ONNX models over waveforms or log-mels, run by onnxruntime on the CPU or a CUDA device."""

from __future__ import annotations

import math
import re
import shutil
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationInfo, field_validator, model_validator

from features.audio.mel import MelOptions
from features.backbones import logmel
from features.backbones.adapters.equal_length import ALIKE, output_error, probe
from features.backbones.adapters.window_normalisation import WindowOptions
from features.backbones.base import Backbone, Bundle
from features.backbones.family import Family
from features.backbones.loading import weights as found
from features.backbones.loading.hub_files import HUB, find_hub_file, parse_hub_file
from features.backbones.loading.import_paths import described
from features.backbones.networks.onnx_axes import Ports
from features.backbones.networks.onnx_backbones import LogmelInput, OnnxBackbone, OnnxSource, OnnxWindows
from features.backbones.networks.onnx_file import external_files, model_files, model_sha256
from features.backbones.networks.onnx_model import OnnxModel
from features.backbones.options import BackboneOptions, TensorNames, listed, unlisted
from features.backbones.presets.onnx import PRESETS
from features.errors import ConfigError
from features.spec import BackboneSpec


def _runs_on(device: str) -> str:
    """Return the device if onnxruntime can use it, else `cpu`."""
    if device.partition(":")[0] != "cuda":
        return "cpu"
    try:
        import onnxruntime
    except ImportError:
        return "cpu"
    return device if "CUDAExecutionProvider" in onnxruntime.get_available_providers() else "cpu"


FAMILY = Family(
    presets=PRESETS, weights_from="file", extra="onnx", libraries=("onnxruntime",), fp32_only=True, runs_on=_runs_on
)
LN_10 = math.log(10)
LOG_BASES = {"db": 1.0, "ln": LN_10 / 10, "log10": 0.1}  # factor from decibels


class MelInput(MelOptions):
    """The log-mel input of a model: its bands, its logarithm and its standardisation."""

    log: str = Field("db", pattern=f"^({'|'.join(LOG_BASES)})$", description="decibels, ln or log10 of the power")
    mean: float = Field(0.0, description="subtracted from each value")
    std: float = Field(1.0, gt=0, description="each value is divided by it")


class Options(BackboneOptions, WindowOptions):
    """An entry of `features.backbones` for an `.onnx` file."""

    weights: str = Field(description="local `.onnx` file, or a file of the hub, `hub:org/name/file.onnx@revision`")
    sample_rate_hz: int = Field(ge=1000, description="sample rate of the model's input")
    input: str | None = Field(None, description="name of the input; null: the only input")
    input_axes: str | None = Field(None, description="its axes, of B clips, T samples, F frames, M mel bands, 1")
    output: TensorNames | None = Field(
        None, description="name of the output or of any tensor inside, or a list of them as layers; null: the first"
    )
    output_axes: str | None = Field(
        None, description="the axes of each, of B clips, L layers, F frames, D dimensions, 1"
    )
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

    @property
    def outputs(self) -> list[str]:
        """Names of the wanted tensors; empty for the first output."""
        return [] if self.output is None else listed(self.output)


def summary(options: Any) -> dict[str, Any]:
    """Return the columns of `audioheads backbones ls`."""
    return {
        "weights": getattr(options, "weights", "local .onnx"),
        "sample_rate_hz": getattr(options, "sample_rate_hz", None),
        "summary": "ONNX model over waveforms or log-mels",
    }


def describe(options: Options) -> BackboneSpec:
    """Return the spec; the file is found and hashed, and the model is run on noise to measure its output shape.

    Raises:
        WeightsError: The file does not exist or is not an ONNX model, or onnxruntime is not installed.
        ConfigError: The model has no such tensors, or they do not fit the options; the message lists its tensors.
    """
    path = _find(options)
    digest = model_sha256(options.title, path)
    source = _source(options, OnnxModel(options.title, path, options.outputs))
    rate, size = options.sample_rate_hz, options.window_samples
    settings: dict[str, Any] = {
        "input": source.ports.input,
        "input_axes": source.ports.input_axes,
        "output": unlisted(source.ports.outputs),
        "output_axes": source.ports.output_axes,
        "mel": None if options.mel is None else options.mel.model_dump(mode="json"),
        **options.window_settings(),
    }
    if size is None:
        shape = probe(options.title, source.embed, rate, options.min_duration_s)
        n_layers, dim, frame_rate, min_samples = shape.n_layers, shape.dim, shape.frame_rate, shape.min_samples
        settings |= shape.settings()
    else:
        hop = options.hop_samples or size
        n_layers, n_frames, dim, batched = _one_window(options, source, size)
        if n_frames > 1 and hop != size:
            raise ConfigError(
                f"{options.title}: a window yields {n_frames} frames, so hop_samples should be window_samples ({size})"
            )
        frame_rate, min_samples = n_frames * rate / hop, 1
        settings |= {"window_samples": size, "hop_samples": hop}
        settings |= {} if batched else {"batched": False}
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
    source = _source(options, OnnxModel(options.title, _find(options), options.outputs, device))
    return OnnxBackbone(source, spec) if options.window_samples is None else OnnxWindows(source, spec)


def _source(options: Options, model: OnnxModel) -> OnnxSource:
    """Select the input and the outputs of a model.

    Raises:
        ConfigError: They do not fit the options; the message lists the model's tensors.
    """
    n_mels = 0 if options.mel is None else options.mel.n_mels
    ports = model.find_ports(options.input, options.input_axes, options.outputs, options.output_axes, n_mels)
    if ("M" in ports.input_axes) != bool(n_mels):
        what = "log-mels, so set their options with `mel`" if not n_mels else "waveforms, so leave out `mel`"
        raise ConfigError(f"{options.title}: input_axes {ports.input_axes} means {what}")
    _check_length(options, model, ports)
    return OnnxSource(model, ports, options, None if options.mel is None else _logmel_input(options.mel))


def _logmel_input(mel: MelInput) -> LogmelInput:
    """Return the computation of a model's log-mel input."""
    import torch

    from features.backbones.networks.logmel import LogmelBackbone

    entry = logmel.Options(name="logmel", **mel.model_dump(include=set(MelOptions.model_fields)))
    factor = LOG_BASES[mel.log] if mel.scale == "log" else 1.0
    return LogmelInput(LogmelBackbone(logmel.describe(entry), torch.device("cpu")), factor, mel.mean, mel.std)


def _check_length(options: Options, model: OnnxModel, ports: Ports) -> None:
    """Raise `ConfigError` if the model has a fixed input length that differs from `window_samples`."""
    axis, unit = ("F", "frames") if options.mel is not None else ("T", "samples")
    fixed, size = model.fixed(ports, axis), options.window_samples
    if fixed is None:
        return
    hop = 1 if options.mel is None else options.mel.hop_length
    if size is None or math.ceil(size / hop) != fixed:
        raise ConfigError(
            f"{options.title}: {model.path.name} takes {fixed} {unit}, so window_samples should be {fixed * hop}, got "
            f"{'none' if size is None else size}; {model.ports_text()}"
        )


def _one_window(options: Options, source: OnnxSource, size: int) -> tuple[int, int, int, bool]:
    """Return the layers, frames and dimensions of one window's embedding, and whether windows can be batched.

    A dynamically quantised model scales the values of all windows of a call together, and a front end in decibels may
    cut off what is far below the loudest of them, so one window is half silent.
    """
    import numpy as np
    import torch

    noise = np.random.default_rng(0).standard_normal((2, size)) * [[0.01], [0.3]]
    noise[0, size // 2 :] = 0
    windows = torch.from_numpy(noise.astype(np.float32))
    try:
        embedded, together = source.embed(windows[:1]), source.embed(windows)[:1]
    except Exception as error:
        raise ConfigError(
            f"{options.title}: the model fails on a window of {size} samples with {described(error)}; "
            f"{source.model.ports_text()}"
        ) from None
    return (*embedded.shape[1:], output_error(together, embedded) <= ALIKE)


def _find(options: Options) -> Path:
    """Return the path of the model file."""
    if options.weights == found.RANDOM:
        raise ConfigError(f"{options.title}: an ONNX model has no untrained control; weights must be an `.onnx` file")
    ways = f"set features.backbones.{options.title}.weights to a local .onnx file"
    path = found.find_file(options.title, options.weights, ways)
    if options.weights.startswith(HUB):
        file = parse_hub_file(options.title, options.weights)
        for external in external_files(options.title, path):
            find_hub_file(options.title, file.beside(external.as_posix()), ways)
    return path
