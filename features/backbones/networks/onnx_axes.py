"""Axes of the inputs and outputs of ONNX models: stated by a config, or inferred from shapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

MEANING = {"B": "clips", "T": "samples", "F": "frames", "M": "bands", "L": "layers", "D": "dimensions", "1": "1"}


@dataclass(frozen=True)
class Ports:
    """The input and output tensors of a model, and their axes.

    Attributes:
        input: Name of the input.
        input_axes: Letters: `B` clips, `T` samples, `F` frames, `M` mel bands, `1` an axis of size one.
        outputs: Names of outputs, or of any other tensors; each has one or more of the layers, in this order.
        output_axes: Letters: `B` clips, `L` layers, `F` frames, `D` dimensions, `1` an axis of size one; None: chosen
            by the number of axes.
    """

    input: str
    input_axes: str
    outputs: tuple[str, ...]
    output_axes: str | None

    def axes_of_output(self, n_axes: int) -> str | None:
        """Return the stated axes of an output, or those inferred from their number; None if there is no usual order."""
        by_rank = {1: "D", 2: "FD", 3: "LFD"} if "B" not in self.input_axes else {2: "BD", 3: "BFD", 4: "BLFD"}
        return self.output_axes or by_rank.get(n_axes)


def infer_input_axes(shape: list[Any], n_mels: int) -> str | None:
    """Infer the axes of an input from its shape; None if they are ambiguous."""
    if not n_mels:
        return {1: "T", 2: "BT", 3: "B1T"}.get(len(shape))
    orders = {2: ("FM", "MF"), 3: ("BFM", "BMF"), 4: ("B1FM", "B1MF")}.get(len(shape), ())
    fitting = [order for order in orders if shape[order.index("M")] == n_mels != shape[order.index("F")]]
    return fitting[0] if len(fitting) == 1 else None


def log_mel_bands(shape: list[Any]) -> int:
    """Return the likely number of mel bands of an input with two axes longer than one besides the batch; else 0."""
    inner = shape if len(shape) == 2 and shape[0] not in (1, None) and isinstance(shape[0], int) else shape[1:]
    long = [size for size in inner if size != 1]
    sizes = [size for size in long if isinstance(size, int)]
    return min(sizes) if len(long) == 2 and sizes else 0


def arrange(values: np.ndarray, axes: str, wanted: str) -> np.ndarray:
    """Reorder axes to `wanted`: drop unwanted axes of size one, and insert missing ones."""
    if any(size != 1 for size, axis in zip(values.shape, axes, strict=True) if axis not in wanted or axis == "1"):
        raise ValueError(f"shape {values.shape} ({axes}) cannot be read as {wanted}")
    kept = [axis for axis in axes if axis in wanted and axis != "1"]
    plain = values.reshape([size for size, axis in zip(values.shape, axes, strict=True) if axis in kept])
    present = [axis for axis in wanted if axis in kept]
    ordered = plain.transpose([kept.index(axis) for axis in present])
    return ordered.reshape([ordered.shape[present.index(axis)] if axis in present else 1 for axis in wanted])


def shape_text(shape: Sequence[Any]) -> str:
    """Return a shape as text, `?` for an axis without a size or name."""
    return f"({', '.join('?' if size is None else str(size) for size in shape)})"


def axes_text(axes: str) -> str:
    """Return axes in words, such as `(clips, samples)`."""
    return f"({', '.join(MEANING[axis] for axis in axes)})"
