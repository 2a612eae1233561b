"""Small ONNX files, written node by node."""

import numpy as np
import onnx
from onnx import helper, numpy_helper

WIDTH = 6


def save(path, nodes, weights, inputs, outputs, **options):
    """A model of some nodes; inputs and outputs are (name, shape)."""
    ports = [
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in ports]
        for ports in (inputs, outputs)
    ]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "tiny", *ports, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path), **options)
    return path


def convolution(path, samples="samples", batch="batch", **options):
    """Waveforms (batch, samples) to `frames` (batch, frames, 6), their mean `clip`; `hidden` is (batch, 6, frames)."""
    kernel = np.random.default_rng(3).standard_normal((WIDTH, 1, 150)).astype(np.float32)
    nodes = [
        helper.make_node("Unsqueeze", ["waveform", "one"], ["wide"]),
        helper.make_node("Conv", ["wide", "kernel"], ["convolved"], strides=[100]),
        helper.make_node("Tanh", ["convolved"], ["hidden"]),
        helper.make_node("Transpose", ["hidden"], ["frames"], perm=[0, 2, 1]),
        helper.make_node("ReduceMean", ["frames"], ["clip"], axes=[1], keepdims=0),
    ]
    weights = {"kernel": kernel, "one": np.array([1], np.int64)}
    outputs = [("frames", [batch, "frames", WIDTH]), ("clip", [batch, WIDTH])]
    return save(path, nodes, weights, [("waveform", [batch, samples])], outputs, **options)


def bands(path, shape=("batch", "frames", 8)):
    """Log-mels, tanh-squeezed, with eight bands somewhere; the same shape out."""
    nodes = [helper.make_node("Tanh", ["mels"], ["squeezed"])]
    return save(path, nodes, {}, [("mels", list(shape))], [("squeezed", list(shape))])


def reference(clip, path, output):
    """What onnxruntime itself gives for one clip (T,)."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run([output], {session.get_inputs()[0].name: clip})[0]
