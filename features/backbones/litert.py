"""LiteRT (TFLite) models over fixed-size waveform windows, such as YAMNet."""

from __future__ import annotations

import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from features.backbones import weights as found
from features.backbones.base import Backbone, BackboneOptions
from features.errors import ConfigError, WeightsError
from features.pooling import Frames
from features.spec import BackboneSpec


class Options(BackboneOptions):
    """An entry of `features.backbones` for a `.tflite` file."""

    weights: str = Field(description="local `.tflite` file")
    tensor: str = Field(description="name, or its end, of the tensor that holds the embedding")
    sample_rate_hz: int = Field(ge=1000, description="rate the model takes")
    window_samples: int = Field(ge=1, description="samples of one input window")
    hop_samples: int = Field(ge=1, description="samples from one window to the next")


def summary(options: Any) -> dict[str, Any]:
    """What `audioheads backbones ls` shows."""
    return {
        "weights": getattr(options, "weights", "local .tflite"),
        "sample_rate_hz": getattr(options, "sample_rate_hz", None),
        "summary": "LiteRT/TFLite model over fixed waveform windows",
    }


def describe(options: Options) -> BackboneSpec:
    """The spec, with the file found and hashed.

    Raises:
        WeightsError: No such file, not a LiteRT model, or LiteRT is not installed.
        ConfigError: The model has no such tensor, or another window size.
    """
    path = found.find_file(options.name, options.weights)
    detail = _tensor_detail(_interpreter(options.name, path), options)
    return BackboneSpec(
        name=options.name,
        family="litert",
        weights=options.weights,
        weights_sha256=found.file_sha256(path),
        sample_rate=options.sample_rate_hz,
        layers=(0,),
        dim=int(detail["shape"][-1]),
        frame_rate=options.sample_rate_hz / options.hop_samples,
        min_duration_s=1 / options.sample_rate_hz,
        max_duration_s=options.max_duration_s,
        settings={
            "tensor": detail["name"],
            "window_samples": options.window_samples,
            "hop_samples": options.hop_samples,
        },
    )


def load(options: Options, spec: BackboneSpec, *, device: str, precision: str) -> LiteRtBackbone:
    """The model; it runs on the CPU as it was quantised, whatever `device` and `precision` say."""
    return LiteRtBackbone(found.find_file(options.name, options.weights), options, spec)


class LiteRtBackbone(Backbone):
    """Windows of all clips of a batch, one interpreter a thread.

    The last window of a clip that no full window covers is zero-padded and weighs as much as its
    share of real samples.
    """

    def __init__(self, path: Path, options: Options, spec: BackboneSpec) -> None:
        """Open the file; interpreters start with their threads."""
        self.spec = spec
        self.device = torch.device("cpu")
        self._path = path
        self._options = options
        self._local = threading.local()
        self._pool = ThreadPoolExecutor(max_workers=torch.get_num_threads(), thread_name_prefix="litert")

    def forward(self, waveforms: Tensor, lengths: Tensor) -> Frames:
        """See `Backbone.forward`; F is the number of windows. Not differentiable."""
        size, hop = self._options.window_samples, self._options.hop_samples
        windows, counts, shares = [], [], []
        for waveform, length in zip(waveforms.numpy(), lengths.tolist(), strict=True):
            starts = window_starts(length, size, hop)
            for start in starts:
                valid = waveform[start : min(start + size, length)]
                windows.append(np.pad(valid, (0, size - len(valid))))
            counts.append(len(starts))
            shares.append(torch.tensor([min(size, length - start) / size for start in starts]))
        embedded = torch.from_numpy(np.stack(list(self._pool.map(self._run, windows))))  # [ΣF, D]
        values = torch.nn.utils.rnn.pad_sequence(list(embedded.split(counts)), batch_first=True)
        weights = torch.nn.utils.rnn.pad_sequence(shares, batch_first=True)
        return Frames(values[:, None], torch.tensor(counts), weights)

    def _run(self, window: np.ndarray) -> np.ndarray:
        """One window (size,) to its embedding (D,) float32."""
        if not hasattr(self._local, "interpreter"):
            interpreter = _interpreter(self.spec.name, self._path)
            interpreter.allocate_tensors()
            self._local.interpreter = interpreter
            self._local.input = interpreter.get_input_details()[0]
            self._local.output = _tensor_detail(interpreter, self._options)
        interpreter, into, out = self._local.interpreter, self._local.input, self._local.output
        interpreter.set_tensor(into["index"], window.reshape(into["shape"]).astype(into["dtype"]))
        interpreter.invoke()
        values = interpreter.get_tensor(out["index"]).reshape(-1).astype(np.float32)
        scale, zero_point = out["quantization"]
        return (values - zero_point) * np.float32(scale) if scale else values


def window_starts(length: int, size: int, hop: int) -> list[int]:
    """Starts of the windows over `length` samples: every full one, and one more if samples are left over."""
    starts = list(range(0, max(length - size, 0) + 1, hop))
    if starts[-1] + size < length:
        starts.append(starts[-1] + hop)
    return starts


def _interpreter(name: str, path: Path) -> Any:
    """An interpreter that keeps every tensor's value."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        raise WeightsError(f"{name}: LiteRT is not installed; pip install 'audioheads[litert]'") from None
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*experimental_preserve_all_tensors")
            return Interpreter(str(path), num_threads=1, experimental_preserve_all_tensors=True)
    except (ValueError, RuntimeError) as error:
        raise WeightsError(f"{name}: {path} is not a LiteRT model ({found.first_line(error)})") from None


def _tensor_detail(interpreter: Any, options: Options) -> dict[str, Any]:
    """The details of the embedding tensor, with the window size checked on the way."""
    inputs = interpreter.get_input_details()
    expected = int(np.prod(inputs[0]["shape"]))
    if len(inputs) != 1 or expected != options.window_samples or inputs[0]["dtype"] != np.float32:
        raise ConfigError(
            f"{options.name}: window_samples is {options.window_samples}, but {options.weights} takes "
            f"{len(inputs)} input(s) of {expected} {np.dtype(inputs[0]['dtype']).name}"
        )
    details = interpreter.get_tensor_details()
    exact = [detail for detail in details if detail["name"] == options.tensor]
    ending = exact or [detail for detail in details if detail["name"].endswith(options.tensor)]
    if len(ending) != 1:
        close = [d["name"] for d in details if options.tensor.rsplit("/", 1)[-1] in d["name"]][:5]
        found_text = f"{len(ending)} tensors end in" if ending else "no tensor ends in"
        raise ConfigError(
            f"{options.name}: {found_text} {options.tensor!r} in {options.weights}; similar: {', '.join(close) or '-'}"
        )
    return ending[0]
