"""Write torch modules as ONNX files."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from features.errors import UserError

OPSET = 18


def check_onnx() -> None:
    """Check early that the ONNX libraries are installed.

    Raises:
        UserError: A library is missing.
    """
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(f"--format onnx: {error.name} is not installed; pip install 'audioheads[onnx]'") from None
    del onnx, onnxruntime


def export_graph(
    module: nn.Module, example: Tensor, dynamic: Sequence[int], path: Path, names: tuple[str, str]
) -> None:
    """Export a module with one input and one output as an ONNX file.

    Args:
        module: The module, in evaluation mode.
        example: Example input.
        dynamic: Axes of variable size.
        path: The file to write.
        names: Names of input and output.

    Raises:
        UserError: torch cannot export it; the message contains the first line of torch's error.
    """
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
            warnings.simplefilter("ignore")
            shapes = ({axis: torch.export.Dim.DYNAMIC for axis in dynamic},)
            exported = torch.export.export(
                module.eval(),
                (example,),
                dynamic_shapes=shapes,
                prefer_deferred_runtime_asserts_over_guards=True,  # some conditions cannot be proved for every length
            )
            program = torch.onnx.export(
                exported,
                (),
                dynamo=True,
                opset_version=OPSET,
                input_names=[names[0]],
                output_names=[names[1]],
                verbose=False,
            )
            assert program is not None
            program.save(str(path), external_data=False)
    except Exception as error:  # the exporter can raise anything
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        reason = next((line for line in str(cause).splitlines() if line.strip()), type(cause).__name__)
        raise UserError(f"--format onnx: torch cannot export this graph ({reason.strip()})") from error
    finally:
        logging.disable(level)


def noise(samples: int) -> Tensor:
    """Return a random waveform (1, T) to trace a graph."""
    return 0.1 * torch.randn(1, samples, generator=torch.Generator().manual_seed(0))
