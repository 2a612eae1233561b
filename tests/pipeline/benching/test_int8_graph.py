"""ONNX graphs in 8 bits."""

import numpy as np
import pytest

from pipeline.exporting.int8_graph import quantise

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


def run(path, x):
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_products_and_convolutions_are_small_and_nearly_equal(tmp_path):
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    kernel = (
        rng.normal(size=(64, 32, 9)).astype(np.float32) * np.geomspace(1e-3, 10, 64, dtype=np.float32)[:, None, None]
    )
    kernel[5] = 0
    weight = rng.normal(size=(64, 256)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["convolved"]),
        helper.make_node("ReduceMean", ["convolved", "axis"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "weight"], ["y"]),
    ]
    tensors = {"kernel": kernel, "weight": weight, "axis": np.array([2])}
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 32, "T"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 256])],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    exact, small = tmp_path / "exact.onnx", tmp_path / "small.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), exact)
    quantise(exact, small)
    assert {path.name for path in tmp_path.iterdir()} == {"exact.onnx", "small.onnx"}
    assert small.stat().st_size < exact.stat().st_size / 3
    x = rng.normal(size=(1, 32, 200)).astype(np.float32)
    expected = run(exact, x)
    assert np.abs(run(small, x) - expected).max() < 0.02 * np.abs(expected).max()
    kernels = [
        numpy_helper.to_array(tensor)
        for tensor in onnx.load(small).graph.initializer
        if list(tensor.dims) == [64, 32, 9]
    ]
    (stored,) = kernels
    largest = np.abs(stored.astype(int)).reshape(64, -1).max(axis=1)  # each channel has a scale of its own
    assert stored.dtype == np.int8 and (np.delete(largest, 5) == 127).all() and largest[5] == 0
