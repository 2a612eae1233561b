"""Quantise an ONNX graph to 8 bits.

Matrix products run on 8-bit integers; the range of their inputs is measured for each clip (dynamic quantisation by
onnxruntime), so no calibration clips are needed. The weights of convolutions are stored in 8 bits, one scale per output
channel, and their products run in float32: with 8-bit inputs, the first convolutions of waveform encoders lose most of
the accuracy.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from onnx import ModelProto

LARGEST = 127  # symmetric range of the weights of convolutions


def quantise(source: Path, target: Path) -> None:
    """Write the 8-bit copy of a graph.

    Args:
        source: An ONNX file in float32.
        target: The file to write.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    prepared = target.with_suffix(".prepared")
    try:
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)  # folds constants, joins operators
        # 7 bits for weights, because processors without VNNI instructions saturate the sums of 8 by 8 bits
        how = {"weight_type": QuantType.QInt8, "per_channel": True, "reduce_range": True}
        quantize_dynamic(str(prepared), str(target), op_types_to_quantize=["MatMul", "Gemm"], **how)
        model = onnx.load(target)
        _store_convolutions_in_8_bits(model)
        onnx.save(model, target)
    finally:
        prepared.unlink(missing_ok=True)
        logging.disable(level)


def _store_convolutions_in_8_bits(model: ModelProto) -> None:
    """Replace the float32 weights (C, …) of convolutions by 8-bit ones and a node that converts them back."""
    from onnx import helper, numpy_helper

    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    used = {name for node in graph.node if node.op_type == "Conv" for name in node.input[1:2]}
    conversions = []
    for name in sorted(used & weights.keys()):
        values = numpy_helper.to_array(weights[name])
        if values.dtype != np.float32:
            continue
        scale = np.abs(values).reshape(len(values), -1).max(axis=1).astype(np.float32) / LARGEST
        scale[scale == 0] = 1
        stored = np.round(values / scale.reshape(-1, *[1] * (values.ndim - 1))).astype(np.int8)
        parts = {"int8": stored, "scale": scale, "zero": np.zeros(len(scale), np.int8)}
        graph.initializer.remove(weights[name])
        graph.initializer.extend(numpy_helper.from_array(array, f"{name}_{part}") for part, array in parts.items())
        inputs = [f"{name}_{part}" for part in parts]
        conversions.append(helper.make_node("DequantizeLinear", inputs, [name], f"{name}_to_float", axis=0))
    for node in reversed(conversions):
        graph.node.insert(0, node)
