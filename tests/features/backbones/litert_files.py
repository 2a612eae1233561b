"""Small LiteRT files, written tensor by tensor."""

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

SIZE, WIDTHS = 32, (5, 5)
INPUT_STEP, OUTPUT_STEP, WEIGHT_STEP = 1 / 128, 1 / 32, 1 / 64


def weights(seed=0):
    """Two layers' integer weights (D, T), as a quantised model stores them."""
    rng = np.random.default_rng(seed)
    return [
        rng.integers(-127, 128, (width, size)).astype(np.int8) for width, size in zip(WIDTHS, (SIZE, 5), strict=True)
    ]


def save_int8(path):
    """Two int8 layers, `first` (1, 5) and `second` (1, 5), over an int8 window of 32 samples."""
    first, second = weights()
    model = schema.ModelT()
    model.version, model.description = 3, b"tiny"
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    code.version = 4
    model.operatorCodes = [code]
    model.buffers = [schema.BufferT()]
    graph = schema.SubGraphT()
    graph.tensors = [
        tensor(model, b"samples", (1, SIZE), INPUT_STEP),
        tensor(model, b"first_weights", first.shape, WEIGHT_STEP / SIZE, first),
        tensor(model, b"net/first", (1, WIDTHS[0]), OUTPUT_STEP),
        tensor(model, b"second_weights", second.shape, WEIGHT_STEP / 5, second),
        tensor(model, b"net/second", (1, WIDTHS[1]), OUTPUT_STEP),
    ]
    graph.inputs, graph.outputs = [0], [4]
    graph.operators = [connected(0, 1, 2), connected(2, 3, 4)]
    model.subgraphs = [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


def tensor(model, name, shape, step, values=None):
    """An int8 tensor; a constant if it has values."""
    made = schema.TensorT()
    made.name, made.shape, made.type = name, list(shape), schema.TensorType.INT8
    made.quantization = schema.QuantizationParametersT()
    made.quantization.scale, made.quantization.zeroPoint = [float(step)], [0]
    buffer = schema.BufferT()
    if values is not None:
        buffer.data = values.reshape(-1).view(np.uint8)
    model.buffers.append(buffer)
    made.buffer = len(model.buffers) - 1
    return made


def connected(source, matrix, target):
    """A fully connected layer without bias."""
    made = schema.OperatorT()
    made.opcodeIndex, made.inputs, made.outputs = 0, [source, matrix, -1], [target]
    made.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
    made.builtinOptions = schema.FullyConnectedOptionsT()
    return made


def by_hand(window):
    """Both layers of one window (T,), in float arithmetic on the quantised values."""
    first, second = weights()
    samples = np.clip(np.round(window / INPUT_STEP), -128, 127) * INPUT_STEP
    hidden = stepped(first * (WEIGHT_STEP / SIZE) @ samples)
    return np.stack([hidden, stepped(second * (WEIGHT_STEP / 5) @ hidden)])


def stepped(values):
    """Values on the grid of the outputs."""
    return np.clip(np.round(values / OUTPUT_STEP), -128, 127) * OUTPUT_STEP
