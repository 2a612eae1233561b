"""Run one ONNX file as a function from arrays to arrays: input, outputs, and execution provider."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.backbones.networks.onnx_axes import (
    Ports,
    arrange,
    axes_text,
    infer_input_axes,
    log_mel_bands,
    shape_text,
)
from features.backbones.networks.onnx_file import NoSuchTensorError, libraries, with_outputs
from features.errors import ConfigError, WeightsError, first_line

if TYPE_CHECKING:
    import numpy as np

_log = logging.getLogger(__name__)

FLOATS = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(double)": "float64"}
MOST_CLIPS = 64  # per call, since a batch of long clips has many fixed windows


class OnnxModel:
    """A loaded ONNX model."""

    def __init__(self, name: str, path: Path, outputs: Sequence[str] = (), device: str = "cpu") -> None:
        """Load a model.

        Args:
            name: The backbone, for messages.
            path: The file.
            outputs: Any tensors of the model, even if they are not outputs; none: the first output.
            device: A torch device; CUDA is used only if onnxruntime supports it.

        Raises:
            ConfigError: The model has no such tensor.
            WeightsError: The file is not an ONNX model, or onnxruntime is not installed.
        """
        import torch

        self.name, self.path = name, path
        onnx, runtime = libraries(name)
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        try:
            source = with_outputs(onnx, path, outputs) if outputs else str(path)
            self.session = runtime.InferenceSession(source, options, providers=_providers(name, runtime, device))
        except NoSuchTensorError as error:
            plain = OnnxModel(name, path)
            raise ConfigError(f"{name}: no tensor {str(error)!r} in {path.name}; {plain.ports_text()}") from None
        except Exception as error:  # onnx and onnxruntime raise many kinds
            raise WeightsError(f"{name}: {path} is not an ONNX model that can be run ({first_line(error)})") from None

    @property
    def on_cuda(self) -> bool:
        """Whether the model runs on a CUDA device."""
        return "CUDAExecutionProvider" in self.session.get_providers()

    @property
    def _input(self) -> Any:
        """The only input, see `find_ports`."""
        return self.session.get_inputs()[0]

    def ports_text(self) -> str:
        """Describe the model's inputs and outputs, for messages."""

        def listed(ports: Any) -> str:
            return ", ".join(f"{port.name} {_kind(port.type)} {shape_text(port.shape)}" for port in ports)

        return f"inputs: {listed(self.session.get_inputs())}; outputs: {listed(self.session.get_outputs())}"

    def find_ports(
        self,
        wanted_input: str | None,
        input_axes: str | None,
        outputs: Sequence[str],
        output_axes: str | None,
        n_mels: int,
    ) -> Ports:
        """Select the tensors to use; options that a config leaves open are inferred from the shapes.

        Args:
            wanted_input: Name of the input; None: the only input.
            input_axes: Axes of the input; None: inferred from the number of axes and from which of them has size
                `n_mels`.
            outputs: Names of the outputs; none: the first.
            output_axes: Axes of each output; None: inferred from the number of axes.
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
            raise ConfigError(
                f"{self.name}: input {chosen!r} is not floating point, and ONNX does not state how samples are "
                f"quantised; use a model with a floating-point input; {self.ports_text()}"
            )
        bands = 0 if n_mels or input_axes else log_mel_bands(list(port.shape))
        if bands:
            raise ConfigError(
                f"{self.name}: {self.path.name} takes log-mels of {bands} bands, not waveforms: input {chosen!r} has "
                f"shape {shape_text(port.shape)}; set `mel: {{n_mels: {bands}, n_fft: …, hop_length: …}}` as in the "
                f"model's training, or input_axes if an axis has another meaning; {self.ports_text()}"
            )
        axes = input_axes or infer_input_axes(list(port.shape), n_mels)
        if axes is None or len(axes) != len(port.shape):
            asked = f"input_axes {input_axes!r} do not fit" if input_axes else "set input_axes for"
            raise ConfigError(f"{self.name}: {asked} input {chosen!r}; {self.ports_text()}")
        if input_axes is None:
            _say(
                f"{self.name}: input {chosen!r} {shape_text(port.shape)} is read as {axes_text(axes)}; set input_axes "
                "if this is wrong"
            )
        first = str(self.session.get_outputs()[0].name)
        return Ports(chosen, axes, tuple(outputs) or (first,), output_axes)

    def fixed(self, ports: Ports, axis: str) -> int | None:
        """Return the size that an axis of the input must have; None if it can have any size or does not exist."""
        if axis not in ports.input_axes:
            return 1 if axis == "B" else None
        size = self._input.shape[ports.input_axes.index(axis)]
        return size if isinstance(size, int) else None

    def run(self, values: np.ndarray, ports: Ports) -> np.ndarray:
        """Run the model on values (B, T) or (B, F, M); return (B, L, F, D) float32.

        Raises:
            ValueError: An output does not have the stated axes, or the outputs do not fit each other; the message
                contains their shapes.
        """
        import numpy as np

        step = 1 if self.fixed(ports, "B") is not None else MOST_CLIPS
        parts = [self._run(values[at : at + step], ports) for at in range(0, len(values), step)]
        return np.concatenate(parts)

    def _run(self, values: np.ndarray, ports: Ports) -> np.ndarray:
        import numpy as np

        given = arrange(values, "BT" if values.ndim == 2 else "BFM", ports.input_axes).astype(FLOATS[self._input.type])
        results = self.session.run(list(ports.outputs), {ports.input: given})
        layers = [
            self._layers(name, result, ports, len(values)) for name, result in zip(ports.outputs, results, strict=True)
        ]
        if len({(each.shape[2], each.shape[3]) for each in layers}) > 1:
            shapes = ", ".join(f"{name} {each.shape[2:]}" for name, each in zip(ports.outputs, layers, strict=True))
            raise ValueError(f"outputs that are layers need the same (frames, dimensions), got {shapes}")
        return np.concatenate(layers, axis=1)

    def _layers(self, name: str, result: Any, ports: Ports, n_clips: int) -> np.ndarray:
        """Return one output as (B, L, F, D) float32."""
        import numpy as np

        if not isinstance(result, np.ndarray) or result.dtype.kind != "f":
            raise ValueError(f"{name!r} is not floating point; {self.ports_text()}")
        axes = ports.axes_of_output(result.ndim)
        if axes is None or len(axes) != result.ndim:
            raise ValueError(f"{name!r} has shape {result.shape}: set its axes with output_axes")
        layers = arrange(result, axes, "BLFD").astype(np.float32)
        if len(layers) != n_clips or 0 in layers.shape:
            raise ValueError(f"{name!r} has shape {result.shape} ({axes}) for {n_clips} clip(s)")
        if ports.output_axes is None:
            _say(f"{self.name}: output {name!r} is read as {axes_text(axes)}; set output_axes if this is wrong")
        return layers


@cache
def _say(guess: str) -> None:
    """Log a guess, once per process."""
    _log.info(guess)


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


def _kind(kind: str) -> str:
    return kind.removeprefix("tensor(").removesuffix(")")
