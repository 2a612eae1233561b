"""Run one ONNX file as a function from arrays to arrays: input, output, their axes, and execution provider."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.backbones.loading.digests import file_sha256, text_sha256
from features.errors import ConfigError, WeightsError, first_line

if TYPE_CHECKING:
    import numpy as np

_log = logging.getLogger(__name__)

FLOATS = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(double)": "float64"}
MOST_CLIPS = 64  # per call, since a batch of long clips has many fixed windows


@dataclass(frozen=True)
class Ports:
    """The input and output tensors of a model, and their axes.

    Attributes:
        input: Name of the input.
        input_axes: Letters: `B` clips, `T` samples, `F` frames, `M` mel bands, `1` an axis of size one.
        output: Name of the output, or of any other tensor.
        output_axes: Letters: `B` clips, `L` layers, `F` frames, `D` dimensions, `1` an axis of size one; None: chosen
            by the number of axes.
    """

    input: str
    input_axes: str
    output: str
    output_axes: str | None


class OnnxModel:
    """A loaded ONNX model."""

    def __init__(self, name: str, path: Path, output: str | None, device: str = "cpu") -> None:
        """Load a model.

        Args:
            name: The backbone, for messages.
            path: The file.
            output: Any tensor of the model, even if it is not an output; None: the first output.
            device: A torch device; CUDA is used only if onnxruntime supports it.

        Raises:
            ConfigError: The model has no such tensor.
            WeightsError: The file is not an ONNX model, or onnxruntime is not installed.
        """
        import torch

        self.name, self.path = name, path
        onnx, runtime = _libraries(name)
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        try:
            source: str | bytes = str(path)
            if output is not None and output not in _own_outputs(onnx, path):
                source = _with_output(onnx, path, output)
            self.session = runtime.InferenceSession(source, options, providers=_providers(name, runtime, device))
        except _NoSuchTensorError:
            plain = OnnxModel(name, path, None)
            raise ConfigError(f"{name}: no tensor {output!r} in {path.name}; {plain.ports_text()}") from None
        except Exception as error:  # onnx and onnxruntime raise many kinds
            raise WeightsError(f"{name}: {path} is not an ONNX model that can be run ({first_line(error)})") from None

    @property
    def on_cuda(self) -> bool:
        """Whether the model runs on a CUDA device."""
        return "CUDAExecutionProvider" in self.session.get_providers()

    def ports_text(self) -> str:
        """Describe the model's inputs and outputs, for messages."""

        def listed(ports: Any) -> str:
            return ", ".join(f"{port.name} {_kind(port.type)} {_shape_text(port.shape)}" for port in ports)

        return f"inputs: {listed(self.session.get_inputs())}; outputs: {listed(self.session.get_outputs())}"

    def find_ports(
        self, wanted_input: str | None, input_axes: str | None, output: str | None, output_axes: str | None, n_mels: int
    ) -> Ports:
        """Select the tensors to use; options that a config leaves open are inferred from the shapes.

        Args:
            wanted_input: Name of the input; None: the only input.
            input_axes: Axes of the input; None: inferred from the number of axes and from which of them has size
                `n_mels`.
            output: Name of the output; None: the first.
            output_axes: Axes of the output; None: inferred from the number of axes.
            n_mels: Bands of the log-mel input; 0: the model takes waveforms.

        Raises:
            ConfigError: There is no such input, there are several inputs, or the axes do not fit.
        """
        inputs = {port.name: port for port in self.session.get_inputs()}
        chosen = wanted_input or str(next(iter(inputs), ""))
        if chosen not in inputs or len(inputs) != 1:
            what = f"{len(inputs)} inputs, not one," if chosen in inputs else f"no input {chosen!r}"
            raise ConfigError(f"{self.name}: {what} in {self.path.name}; {self.ports_text()}")
        port = inputs[chosen]
        if port.type not in FLOATS:
            raise ConfigError(f"{self.name}: input {chosen!r} is not floating point; {self.ports_text()}")
        bands = 0 if n_mels or input_axes else _log_mel_bands(list(port.shape))
        if bands:
            raise ConfigError(
                f"{self.name}: {self.path.name} takes log-mels of {bands} bands, not waveforms: input {chosen!r} has "
                f"shape {_shape_text(port.shape)}; set `mel: {{n_mels: {bands}, n_fft: …, hop_length: …}}` as in the "
                f"model's training, or input_axes if an axis has another meaning; {self.ports_text()}"
            )
        axes = input_axes or _input_axes(list(port.shape), n_mels)
        if axes is None or len(axes) != len(port.shape):
            asked = f"input_axes {input_axes!r} do not fit" if input_axes else "set input_axes for"
            raise ConfigError(f"{self.name}: {asked} input {chosen!r}; {self.ports_text()}")
        first = str(self.session.get_outputs()[0].name)
        return Ports(chosen, axes, output or first, output_axes)

    def fixed(self, ports: Ports, axis: str) -> int | None:
        """Return the size that an axis of the input must have; None if it can have any size or does not exist."""
        if axis not in ports.input_axes:
            return 1 if axis == "B" else None
        size = next(port for port in self.session.get_inputs() if port.name == ports.input).shape
        found = size[ports.input_axes.index(axis)]
        return found if isinstance(found, int) else None

    def run(self, values: np.ndarray, ports: Ports) -> np.ndarray:
        """Run the model on values (B, T) or (B, F, M); return (B, L, F, D) float32.

        Raises:
            ValueError: The output does not have the stated axes; the message contains its shape.
        """
        import numpy as np

        step = 1 if self.fixed(ports, "B") is not None else MOST_CLIPS
        parts = [self._run(values[at : at + step], ports) for at in range(0, len(values), step)]
        return np.concatenate(parts)

    def _run(self, values: np.ndarray, ports: Ports) -> np.ndarray:
        import numpy as np

        port = next(port for port in self.session.get_inputs() if port.name == ports.input)
        given = _arrange(values, "BT" if values.ndim == 2 else "BFM", ports.input_axes).astype(FLOATS[port.type])
        result = self.session.run([ports.output], {ports.input: given})[0]
        if not isinstance(result, np.ndarray) or result.dtype.kind != "f":
            raise ValueError(f"{ports.output!r} is not floating point; {self.ports_text()}")
        by_rank = {1: "D", 2: "FD", 3: "LFD"} if "B" not in ports.input_axes else {2: "BD", 3: "BFD", 4: "BLFD"}
        axes = ports.output_axes or by_rank.get(result.ndim)
        if axes is None or len(axes) != result.ndim:
            raise ValueError(f"{ports.output!r} has shape {result.shape}: set its axes with output_axes")
        layers = _arrange(result, axes, "BLFD").astype(np.float32)
        if len(layers) != len(values) or 0 in layers.shape:
            raise ValueError(f"{ports.output!r} has shape {result.shape} ({axes}) for {len(values)} clip(s)")
        return layers


def model_sha256(name: str, path: Path) -> str:
    """Return the SHA-256 of a model's file, combined with its external data files if it has any.

    Raises:
        WeightsError: As `model_files`.
    """
    digests = [file_sha256(file) for file in model_files(name, path)]
    return digests[0] if len(digests) == 1 else text_sha256(digests)


def model_files(name: str, path: Path) -> list[Path]:
    """Return a model's file and its external data files, which contain tensors.

    Raises:
        WeightsError: A file is missing or outside the model's folder, or the file is not an ONNX model.
    """
    onnx, _ = _libraries(name)
    try:
        tensors = onnx.load(str(path), load_external_data=False).graph.initializer
    except Exception as error:
        raise WeightsError(f"{name}: {path} is not an ONNX model that can be run ({first_line(error)})") from None
    external = sorted({entry.value for tensor in tensors for entry in tensor.external_data if entry.key == "location"})
    for file in map(Path, external):
        if file.is_absolute() or ".." in file.parts or not (path.parent / file).is_file():
            raise WeightsError(f"{name}: {path.name} stores its weights in {file}, which is not in the same folder")
    return [path, *(path.parent / file for file in external)]


def count_parameters(path: Path) -> int:
    """Return the number of stored floating-point constants of a model."""
    import numpy as np
    import onnx

    kinds = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE, onnx.TensorProto.BFLOAT16}
    tensors = onnx.load(str(path), load_external_data=False).graph.initializer
    return sum(int(np.prod(tensor.dims)) for tensor in tensors if tensor.data_type in kinds)


class _NoSuchTensorError(Exception):
    """The graph has no tensor of that name."""


def _libraries(name: str) -> tuple[Any, Any]:
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise WeightsError(f"{name}: {error.name} is not installed; pip install 'audioheads[onnx]'") from None
    return onnx, onnxruntime


def _own_outputs(onnx: Any, path: Path) -> list[str]:
    return [port.name for port in onnx.load(str(path), load_external_data=False).graph.output]


def _with_output(onnx: Any, path: Path, tensor: str) -> bytes:
    """Return the serialised model with one more of its tensors as an output."""
    model = onnx.load(str(path))
    if not any(tensor in node.output for node in model.graph.node):
        raise _NoSuchTensorError
    model.graph.output.append(onnx.ValueInfoProto(name=tensor))
    return model.SerializeToString()


def _providers(name: str, runtime: Any, device: str) -> list[Any]:
    """Return the execution providers in order of preference."""
    import torch

    wanted = torch.device(device)
    if wanted.type != "cuda":
        return ["CPUExecutionProvider"]
    if "CUDAExecutionProvider" not in runtime.get_available_providers():
        _log.warning("%s: this onnxruntime has no CUDA (install onnxruntime-gpu), so the model runs on the CPU", name)
        return ["CPUExecutionProvider"]
    exact = {"device_id": wanted.index or 0, "use_tf32": 0}
    return [("CUDAExecutionProvider", exact), "CPUExecutionProvider"]


def _input_axes(shape: list[Any], n_mels: int) -> str | None:
    """Infer the axes of an input from its shape; None if they are ambiguous."""
    if not n_mels:
        return {1: "T", 2: "BT", 3: "B1T"}.get(len(shape))
    orders = {2: ("FM", "MF"), 3: ("BFM", "BMF"), 4: ("B1FM", "B1MF")}.get(len(shape), ())
    fitting = [order for order in orders if shape[order.index("M")] == n_mels != shape[order.index("F")]]
    return fitting[0] if len(fitting) == 1 else None


def _log_mel_bands(shape: list[Any]) -> int:
    """Return the likely number of mel bands of an input with two axes longer than one besides the batch; else 0."""
    inner = shape if len(shape) == 2 and shape[0] not in (1, None) and isinstance(shape[0], int) else shape[1:]
    long = [size for size in inner if size != 1]
    sizes = [size for size in long if isinstance(size, int)]
    return min(sizes) if len(long) == 2 and sizes else 0


def _arrange(values: np.ndarray, axes: str, wanted: str) -> np.ndarray:
    """Reorder axes to `wanted`: drop unwanted axes of size one, and insert missing ones."""
    if any(size != 1 for size, axis in zip(values.shape, axes, strict=True) if axis not in wanted or axis == "1"):
        raise ValueError(f"shape {values.shape} ({axes}) cannot be read as {wanted}")
    kept = [axis for axis in axes if axis in wanted and axis != "1"]
    plain = values.reshape([size for size, axis in zip(values.shape, axes, strict=True) if axis in kept])
    present = [axis for axis in wanted if axis in kept]
    ordered = plain.transpose([kept.index(axis) for axis in present])
    return ordered.reshape([ordered.shape[present.index(axis)] if axis in present else 1 for axis in wanted])


def _kind(kind: str) -> str:
    return kind.removeprefix("tensor(").removesuffix(")")


def _shape_text(shape: list[Any]) -> str:
    return f"({', '.join('?' if size is None else str(size) for size in shape)})"
