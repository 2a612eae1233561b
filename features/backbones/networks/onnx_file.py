"""An ONNX file on disk: the files that it consists of, its digest, its size, and copies with more outputs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from features.backbones.loading.digests import file_sha256, text_sha256
from features.errors import WeightsError, first_line


class NoSuchTensorError(Exception):
    """The graph has no tensor of that name."""


def libraries(name: str) -> tuple[Any, Any]:
    """Return the modules `onnx` and `onnxruntime`.

    Raises:
        WeightsError: One of them is not installed.
    """
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise WeightsError(f"{name}: {error.name} is not installed; pip install 'audioheads[onnx]'") from None
    return onnx, onnxruntime


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
    external = external_files(name, path)
    for file in external:
        if not (path.parent / file).is_file():
            raise WeightsError(f"{name}: {path.name} stores its weights in {file}, which is not in the same folder")
    return [path, *(path.parent / file for file in external)]


def external_files(name: str, path: Path) -> list[Path]:
    """Return the relative paths of the files that contain a model's tensors; empty if the model contains them itself.

    Raises:
        WeightsError: A path leaves the model's folder, or the file is not an ONNX model.
    """
    onnx, _ = libraries(name)
    try:
        tensors = onnx.load(str(path), load_external_data=False).graph.initializer
    except Exception as error:
        raise WeightsError(f"{name}: {path} is not an ONNX model that can be run ({first_line(error)})") from None
    external = sorted({entry.value for tensor in tensors for entry in tensor.external_data if entry.key == "location"})
    for file in map(Path, external):
        if file.is_absolute() or ".." in file.parts:
            raise WeightsError(f"{name}: {path.name} stores its weights in {file}, which is not in the same folder")
    return [Path(file) for file in external]


def count_parameters(path: Path) -> int:
    """Return the number of stored constants of a model: floating-point values, and matrices of quantised weights."""
    import numpy as np
    import onnx

    kinds = onnx.TensorProto
    floats = {kinds.FLOAT, kinds.FLOAT16, kinds.DOUBLE, kinds.BFLOAT16}
    quantised = {kinds.INT8, kinds.UINT8, kinds.INT4, kinds.UINT4}  # scalars and vectors of these are zero points
    tensors = onnx.load(str(path), load_external_data=False).graph.initializer
    counted = [
        each for each in tensors if each.data_type in floats or (each.data_type in quantised and len(each.dims) > 1)
    ]
    return sum(int(np.prod(tensor.dims)) for tensor in counted)


def with_outputs(onnx: Any, path: Path, tensors: Sequence[str]) -> str | bytes:
    """Return a model for onnxruntime that gives these tensors: its path, or a copy with more outputs.

    Raises:
        NoSuchTensorError: The graph has no such tensor.
    """
    model = onnx.load(str(path), load_external_data=False)
    hidden = sorted(set(tensors) - {port.name for port in model.graph.output})
    if not hidden:
        return str(path)
    made = {output for node in model.graph.node for output in node.output}
    for tensor in hidden:
        if tensor not in made:
            raise NoSuchTensorError(tensor)
        model.graph.output.append(onnx.ValueInfoProto(name=tensor))
    onnx.load_external_data_for_model(model, str(path.parent))
    serialised: bytes = model.SerializeToString()
    return serialised
