"""Run LiteRT models window by window: interpreters, their tensors, quantised inputs and outputs."""

from __future__ import annotations

import contextlib
import difflib
import math
import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from features.backbones.adapters.fixed_windows import cut_windows
from features.backbones.adapters.window_normalisation import WindowOptions, normalise_windows
from features.backbones.base import Backbone
from features.errors import ConfigError, WeightsError, first_line
from features.spec import BackboneSpec

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from features.pooling import Frames

CHOICES_SHOWN = 5  # tensors in a message about an unknown one


class LiteRtModel:
    """A `.tflite` file, the tensors wanted of it, and the size of its input.

    Attributes:
        name: The backbone, for messages.
        path: The file.
        tensors: Names of the wanted tensors, or the ends of their names; each is a layer.
        window_samples: Samples of one input.
    """

    def __init__(self, name: str, path: Path, tensors: Sequence[str], window_samples: int) -> None:
        """Store what describes the model; nothing is loaded."""
        self.name, self.path = name, path
        self.tensors, self.window_samples = tuple(tensors), window_samples

    def interpreter(self) -> Any:
        """Create an interpreter that keeps the values of all tensors.

        Raises:
            WeightsError: LiteRT is not installed, or the file is not a LiteRT model.
        """
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError:
            raise WeightsError(f"{self.name}: LiteRT is not installed; pip install 'audioheads[litert]'") from None
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", ".*experimental_preserve_all_tensors")
                return Interpreter(str(self.path), num_threads=1, experimental_preserve_all_tensors=True)
        except (ValueError, RuntimeError) as error:
            raise WeightsError(f"{self.name}: {self.path} is not a LiteRT model ({first_line(error)})") from None

    def outputs(self, interpreter: Any) -> list[dict[str, Any]]:
        """Check the input and return LiteRT's details of the wanted tensors.

        Raises:
            ConfigError: The input has another size or type, there is no such tensor, or the tensors are not vectors of
                one size.
        """
        self._check_input(interpreter)
        details = interpreter.get_tensor_details()
        found = [self._output(tensor, details) for tensor in self.tensors]
        sizes = {detail["name"]: int(detail["shape"][-1]) for detail in found}
        if len(set(sizes.values())) > 1:
            listed = ", ".join(f"{name} {size}" for name, size in sizes.items())
            raise ConfigError(f"{self.name}: tensors that are layers need the same number of dimensions, got {listed}")
        return found

    def _check_input(self, interpreter: Any) -> None:
        import numpy as np

        inputs = interpreter.get_input_details()
        expected, kind = int(np.prod(inputs[0]["shape"])), np.dtype(inputs[0]["dtype"])
        readable = kind.kind == "f" or (kind.kind in "iu" and inputs[0]["quantization"][0])
        if len(inputs) != 1 or expected != self.window_samples or not readable:
            scale = "" if readable else " without a scale"
            raise ConfigError(
                f"{self.name}: window_samples is {self.window_samples}, but {self.path.name} takes "
                f"{len(inputs)} input(s) of {expected} {kind.name}{scale}"
            )

    def _output(self, tensor: str, details: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the details of one tensor."""
        exact = [detail for detail in details if detail["name"] == tensor]
        ending = exact or [detail for detail in details if detail["name"].endswith(tensor)]
        if len(ending) != 1:
            count = f"{len(ending)} tensors end" if ending else "no tensor ends"
            choices = _choices(tensor, ending, details)
            raise ConfigError(f"{self.name}: {count} in {tensor!r} in {self.path.name}; {choices}")
        shape = tuple(int(size) for size in ending[0]["shape"])
        if not _is_vector(ending[0]):
            name = ending[0]["name"]
            raise ConfigError(f"{self.name}: tensor {name!r} has shape {shape}: not one vector per window")
        return ending[0]


class LiteRtBackbone(Backbone):
    """A LiteRT model: the windows of a batch are distributed to as many interpreters as torch has threads.

    An incomplete last window is zero-padded and weighted by its fraction of real samples.
    """

    def __init__(self, model: LiteRtModel, normalisation: WindowOptions, spec: BackboneSpec) -> None:
        """Wrap a model; interpreters start when they are needed."""
        import torch

        self.spec = spec
        self.device = torch.device("cpu")
        self._model = model
        self._normalisation = normalisation
        self._pool = ThreadPoolExecutor(max_workers=torch.get_num_threads(), thread_name_prefix="litert")
        self._idle: SimpleQueue[_Runner] = SimpleQueue()
        self._runners = 0

    @property
    def parameters(self) -> int:
        """Number of stored constants: values of the tensors that exist before memory is allocated."""
        interpreter = self._model.interpreter()
        return sum(_constant_size(interpreter, detail["index"]) for detail in interpreter.get_tensor_details())

    def forward(self, waveforms: Tensor, lengths: Tensor) -> Frames:
        """See `Backbone.forward`; F is the number of windows. Not differentiable."""
        import numpy as np
        import torch

        from features.pooling import Frames

        size, hop = self.spec.settings["window_samples"], self.spec.settings["hop_samples"]
        windows, shares = cut_windows(waveforms.numpy(), lengths.tolist(), size, hop)
        windows = normalise_windows(windows, self._normalisation)
        while self._runners < min(len(windows), torch.get_num_threads()):
            self._idle.put(_Runner(self._model))
            self._runners += 1
        embedded = torch.from_numpy(np.stack(list(self._pool.map(self._run, windows))))  # [ΣF, L, D]
        counts = [len(clip) for clip in shares]
        values = torch.nn.utils.rnn.pad_sequence(list(embedded.split(counts)), batch_first=True)
        weights = torch.nn.utils.rnn.pad_sequence([torch.tensor(clip) for clip in shares], batch_first=True)
        return Frames(values.transpose(1, 2), torch.tensor(counts), weights)

    def _run(self, window: np.ndarray) -> np.ndarray:
        """Embed one window, (size,) to (L, D) float32, on an idle interpreter."""
        runner = self._idle.get()
        try:
            return runner.run(window)
        finally:
            self._idle.put(runner)


class _Runner:
    """An interpreter with its input and output tensors."""

    def __init__(self, model: LiteRtModel) -> None:
        self.interpreter = model.interpreter()
        with _without_stderr():
            self.interpreter.allocate_tensors()
        self.input = self.interpreter.get_input_details()[0]
        self.outputs = model.outputs(self.interpreter)

    def run(self, window: np.ndarray) -> np.ndarray:
        """Embed one window, (size,) to (L, D) float32."""
        import numpy as np

        values = quantised(window, self.input["dtype"], *self.input["quantization"])
        self.interpreter.set_tensor(self.input["index"], values.reshape(self.input["shape"]))
        self.interpreter.invoke()
        return np.stack([self._vector(detail) for detail in self.outputs])

    def _vector(self, detail: dict[str, Any]) -> np.ndarray:
        """Return a tensor's values, (D,) float32."""
        import numpy as np

        values = self.interpreter.get_tensor(detail["index"]).reshape(-1).astype(np.float32)
        scale, zero_point = detail["quantization"]
        return (values - zero_point) * np.float32(scale) if scale else values


def quantised(samples: np.ndarray, dtype: Any, scale: float, zero_point: int) -> np.ndarray:
    """Return samples as the type of a model's input; those beyond the range of an integer type are clipped.

    Args:
        samples: (T,) float32.
        dtype: A floating-point or integer type.
        scale: Value of one step of an integer type.
        zero_point: The integer that stands for 0.
    """
    import numpy as np

    kind = np.dtype(dtype)
    if kind.kind == "f":
        return samples.astype(kind)
    limits = np.iinfo(kind)
    return np.clip(np.round(samples / np.float32(scale)) + zero_point, limits.min, limits.max).astype(kind)


def _constant_size(interpreter: Any, index: int) -> int:
    """Return the number of values of a constant tensor; 0 for a computed one."""
    try:
        return int(interpreter.get_tensor(index).size)
    except ValueError:
        return 0


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


def _is_vector(detail: dict[str, Any]) -> bool:
    """Return whether a tensor holds one vector per window."""
    shape = tuple(int(size) for size in detail["shape"])
    return bool(shape) and math.prod(shape) == shape[-1]


def _choices(tensor: str, ending: list[dict[str, Any]], details: list[dict[str, Any]]) -> str:
    """List tensors to choose from: similar names, or else the last tensors with one vector per window."""
    last = tensor.rsplit("/", 1)[-1]
    close = [_plain_name(detail) for detail in ending or details if last in detail["name"]]
    if close:
        return f"similar: {', '.join(dict.fromkeys(close[:CHOICES_SHOWN]))}"
    vectors = [detail for detail in details if _is_vector(detail) and len(detail["shape"]) > 1]
    near = difflib.get_close_matches(tensor, [_plain_name(detail) for detail in vectors], n=CHOICES_SHOWN)
    shown = [detail for detail in vectors if _plain_name(detail) in near] or vectors[-CHOICES_SHOWN:]
    listed = dict.fromkeys(f"{_plain_name(detail)} ({int(detail['shape'][-1])})" for detail in shown)
    return f"tensors with one vector per window: {', '.join(listed) or 'none'}"


def _plain_name(detail: dict[str, Any]) -> str:
    return str(detail["name"]).rsplit(";", 1)[-1]
