"""LiteRT (TFLite) models over fixed-size waveform windows, such as YAMNet."""

from __future__ import annotations

import contextlib
import difflib
import math
import os
import shutil
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationInfo, field_validator

from features.backbones.adapters.fixed_windows import cut_windows
from features.backbones.base import Backbone, Bundle
from features.backbones.family import Candidate, Family, always_cpu
from features.backbones.loading import weights as found
from features.backbones.loading.digests import file_sha256
from features.backbones.options import BackboneOptions
from features.backbones.presets.record import InputContract, Preset
from features.errors import ConfigError, WeightsError, first_line
from features.spec import BackboneSpec

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from features.pooling import Frames

CHOICES_SHOWN = 5  # tensors in a message about an unknown one
YAMNET_PAGE = "https://www.kaggle.com/models/google/yamnet"

PRESETS = {
    "yamnet": Preset(
        weights="weights/yamnet.tflite",
        options={
            "tensor": "layer28/reduce_mean",
            "sample_rate_hz": 16000,
            "window_samples": 15600,
            "hop_samples": 7680,
        },
        files=("yamnet.tflite",),
        input=InputContract(
            sample_rate_hz=16_000,
            window_samples=15_600,
            hop_samples=7_680,
            shortest_s=1 / 16_000,
            padding="zeros to a whole window, which counts by its fraction of real samples",
        ),
        layers=1,
        layer_order="the embedding of each window",
        dim=1024,
        parameters=3_746_901,
        licence="apache-2.0",
        citation="Plakal and Ellis 2020, YAMNet, github.com/tensorflow/models",
        pretrained_on=("AudioSet",),
    ),
}

FAMILY = Family(
    presets=PRESETS,
    weights_from="file",
    extra="litert",
    libraries=("ai-edge-litert",),
    fp32_only=True,
    runs_on=always_cpu,
    candidates=(Candidate("yamnet", "pretrained on 521 kinds of sound", False, 0.975, 0.29),),
)


class Options(BackboneOptions):
    """An entry of `features.backbones` for a `.tflite` file."""

    weights: str = Field(description="local `.tflite` file")
    tensor: str = Field(description="name of the embedding tensor, or the end of its name")
    sample_rate_hz: int = Field(ge=1000, description="sample rate of the model's input")
    window_samples: int = Field(ge=1, description="samples of one input window")
    hop_samples: int = Field(ge=1, description="samples from one window to the next; no more than window_samples")

    @field_validator("hop_samples")
    @classmethod
    def _leave_no_gap(cls, hop: int, info: ValidationInfo) -> int:
        """Windows further apart than they are long would skip samples."""
        if hop > info.data.get("window_samples", hop):
            raise ValueError(f"should be at most window_samples ({info.data['window_samples']}), got {hop}")
        return hop


def summary(options: Any) -> dict[str, Any]:
    """Return the columns of `audioheads backbones ls`."""
    return {
        "weights": getattr(options, "weights", "local .tflite"),
        "sample_rate_hz": getattr(options, "sample_rate_hz", None),
        "summary": "LiteRT/TFLite model over fixed waveform windows",
    }


def describe(options: Options) -> BackboneSpec:
    """Return the spec, with the file found and hashed.

    Raises:
        WeightsError: The file does not exist or is not a LiteRT model, or LiteRT is not installed.
        ConfigError: The model has no such tensor, or has another window size.
    """
    path = _find(options)
    detail = _tensor_detail(_interpreter(options.title, path), options)
    return BackboneSpec(
        name=options.name,
        family="litert",
        weights=options.weights,
        weights_sha256=file_sha256(path),
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
    """Load the model; it runs on the CPU as it was quantised, and `device` and `precision` are ignored."""
    return LiteRtBackbone(_find(options), options, spec)


def bundle(options: Options, spec: BackboneSpec, folder: Path) -> Bundle:
    """Copy the file."""
    path = _find(options)
    shutil.copyfile(path, folder / path.name)
    return Bundle({"weights": path.name})


class LiteRtBackbone(Backbone):
    """A LiteRT model: the windows of a batch are distributed to as many interpreters as torch has threads.

    An incomplete last window is zero-padded and weighted by its fraction of real samples.
    """

    def __init__(self, path: Path, options: Options, spec: BackboneSpec) -> None:
        """Wrap a file; interpreters start when they are needed."""
        import torch

        self.spec = spec
        self.device = torch.device("cpu")
        self._path = path
        self._options = options
        self._pool = ThreadPoolExecutor(max_workers=torch.get_num_threads(), thread_name_prefix="litert")
        self._idle: SimpleQueue[_Runner] = SimpleQueue()
        self._runners = 0

    @property
    def parameters(self) -> int:
        """Number of stored constants: values of the tensors that exist before memory is allocated."""
        interpreter = _interpreter(self.spec.title, self._path)
        return sum(_constant_size(interpreter, detail["index"]) for detail in interpreter.get_tensor_details())

    def forward(self, waveforms: Tensor, lengths: Tensor) -> Frames:
        """See `Backbone.forward`; F is the number of windows. Not differentiable."""
        import numpy as np
        import torch

        from features.pooling import Frames

        size, hop = self._options.window_samples, self._options.hop_samples
        windows, shares = cut_windows(waveforms.numpy(), lengths.tolist(), size, hop)
        while self._runners < min(len(windows), torch.get_num_threads()):
            self._idle.put(_Runner(_interpreter(self.spec.title, self._path), self._options))
            self._runners += 1
        embedded = torch.from_numpy(np.stack(list(self._pool.map(self._run, windows))))  # [ΣF, D]
        counts = [len(clip) for clip in shares]
        values = torch.nn.utils.rnn.pad_sequence(list(embedded.split(counts)), batch_first=True)
        weights = torch.nn.utils.rnn.pad_sequence([torch.tensor(clip) for clip in shares], batch_first=True)
        return Frames(values[:, None], torch.tensor(counts), weights)

    def _run(self, window: np.ndarray) -> np.ndarray:
        """Embed one window, (size,) to (D,) float32, on an idle interpreter."""
        runner = self._idle.get()
        try:
            return runner.run(window)
        finally:
            self._idle.put(runner)


class _Runner:
    """An interpreter with its input and output tensors."""

    def __init__(self, interpreter: Any, options: Options) -> None:
        with _without_stderr():
            interpreter.allocate_tensors()
        self.interpreter = interpreter
        self.input = interpreter.get_input_details()[0]
        self.output = _tensor_detail(interpreter, options)

    def run(self, window: np.ndarray) -> np.ndarray:
        """Embed one window, (size,) to (D,) float32."""
        import numpy as np

        self.interpreter.set_tensor(self.input["index"], window.reshape(self.input["shape"]))
        self.interpreter.invoke()
        values = self.interpreter.get_tensor(self.output["index"]).reshape(-1).astype(np.float32)
        scale, zero_point = self.output["quantization"]
        return (values - zero_point) * np.float32(scale) if scale else values


def _constant_size(interpreter: Any, index: int) -> int:
    """Return the number of values of a constant tensor; 0 for a computed one."""
    try:
        return int(interpreter.get_tensor(index).size)
    except ValueError:
        return 0


def _find(options: Options) -> Path:
    """Return the path of the model file."""
    if options.weights == found.RANDOM:
        raise ConfigError(f"{options.title}: a LiteRT model has no untrained control; weights must be a `.tflite` file")
    ways = f"set features.backbones.{options.title}.weights to a local .tflite file"
    if options.name == "yamnet":
        ways += f"; YAMNet for TFLite is at {YAMNET_PAGE}"
    return found.find_file(options.title, options.weights, ways)


def _interpreter(name: str, path: Path) -> Any:
    """Create an interpreter that keeps the values of all tensors."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        raise WeightsError(f"{name}: LiteRT is not installed; pip install 'audioheads[litert]'") from None
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*experimental_preserve_all_tensors")
            return Interpreter(str(path), num_threads=1, experimental_preserve_all_tensors=True)
    except (ValueError, RuntimeError) as error:
        raise WeightsError(f"{name}: {path} is not a LiteRT model ({first_line(error)})") from None


@contextlib.contextmanager
def _without_stderr() -> Iterator[None]:
    """Discard the process's stderr: LiteRT reports there that it created a delegate, and this cannot be disabled."""
    try:
        kept = os.dup(2)
    except OSError:  # the process has no stderr
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _tensor_detail(interpreter: Any, options: Options) -> dict[str, Any]:
    """Check the window size and return the details of the embedding tensor."""
    import numpy as np

    inputs = interpreter.get_input_details()
    expected = int(np.prod(inputs[0]["shape"]))
    if len(inputs) != 1 or expected != options.window_samples or inputs[0]["dtype"] != np.float32:
        raise ConfigError(
            f"{options.title}: window_samples is {options.window_samples}, but {options.weights} takes "
            f"{len(inputs)} input(s) of {expected} {np.dtype(inputs[0]['dtype']).name}"
        )
    details = interpreter.get_tensor_details()
    exact = [detail for detail in details if detail["name"] == options.tensor]
    ending = exact or [detail for detail in details if detail["name"].endswith(options.tensor)]
    if len(ending) != 1:
        count = f"{len(ending)} tensors end" if ending else "no tensor ends"
        raise ConfigError(
            f"{options.title}: {count} in {options.tensor!r} in {options.weights}; {_choices(options, ending, details)}"
        )
    shape = tuple(int(size) for size in ending[0]["shape"])
    if not _is_vector(ending[0]):
        raise ConfigError(f"{options.title}: tensor {ending[0]['name']!r} has shape {shape}: not one vector per window")
    return ending[0]


def _is_vector(detail: dict[str, Any]) -> bool:
    """Return whether a tensor holds one vector per window."""
    shape = tuple(int(size) for size in detail["shape"])
    return bool(shape) and math.prod(shape) == shape[-1]


def _choices(options: Options, ending: list[dict[str, Any]], details: list[dict[str, Any]]) -> str:
    """List tensors to choose from: similar names, or else the last tensors with one vector per window."""
    last = options.tensor.rsplit("/", 1)[-1]
    close = [_plain_name(detail) for detail in ending or details if last in detail["name"]]
    if close:
        return f"similar: {', '.join(dict.fromkeys(close[:CHOICES_SHOWN]))}"
    vectors = [detail for detail in details if _is_vector(detail) and len(detail["shape"]) > 1]
    near = difflib.get_close_matches(options.tensor, [_plain_name(detail) for detail in vectors], n=CHOICES_SHOWN)
    shown = [detail for detail in vectors if _plain_name(detail) in near] or vectors[-CHOICES_SHOWN:]
    listed = dict.fromkeys(f"{_plain_name(detail)} ({int(detail['shape'][-1])})" for detail in shown)
    return f"tensors with one vector per window: {', '.join(listed) or 'none'}"


def _plain_name(detail: dict[str, Any]) -> str:
    return str(detail["name"]).rsplit(";", 1)[-1]
