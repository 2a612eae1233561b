"""Example scripts of exported ONNX folders. They only need onnxruntime, numpy, soundfile and soxr.

`scores` maps the samples of a clip at the model's sample rate to its outputs; `bench` measures it.
"""

_START = '''"""Classify {what}: python example.py FILE…"""

import functools
import json
import math
import sys
from pathlib import Path

import numpy as np
import onnxruntime
{imports}
FOLDER = Path(__file__).parent
CONFIG = json.loads((FOLDER / "config.json").read_text(encoding="utf-8"))


@functools.cache
def load(name, threads=0):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads  # 0: one per core
    return onnxruntime.InferenceSession(str(FOLDER / name), options, providers=["CPUExecutionProvider"])


'''
_END = """

if __name__ == "__main__":
    for file in sys.argv[1:]:
        outputs = predict({given})
        names = CONFIG["labels"] or ["value"]
        print(file, sorted(zip(outputs.round(4).tolist(), names), reverse=True)[:5])
"""
_READ = """def read(path):
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    samples, wanted = samples.mean(axis=1), CONFIG["preprocessing"]["sample_rate_hz"]
    if rate != wanted:
        length = math.ceil(len(samples) * (wanted / rate))
        samples = soxr.resample(samples, rate, wanted, "HQ")
        samples = np.pad(samples, (0, max(0, length - len(samples))))[:length]
    return samples


def starts(length, window):
    spare = length - window
    if spare <= 0:
        return [0]
    count = math.ceil(spare / window) + 1
    return [round(at * spare / (count - 1)) for at in range(count)]


"""
_IMPORTS = "import soundfile\nimport soxr\n"
FEATURES = (
    _START.format(what="stored features (.npy, see config.json)", imports="").replace("import math\n", "")
    + """def predict(features):
    return load("head.onnx").run(None, {"features": features.astype(np.float32)})[0][0]
"""
    + _END.format(given="np.load(file)")
)
WAVEFORM = (
    _START.format(what="audio files", imports=_IMPORTS)
    + _READ
    + """def scores(samples, model=CONFIG["model"], threads=0):
    window = CONFIG["window_samples"] or len(samples)
    pieces = [samples[start : start + window] for start in starts(len(samples), window)]
    padded = [np.pad(piece, (0, max(0, CONFIG["min_samples"] - len(piece))))[None] for piece in pieces]
    return np.mean([load(model, threads).run(None, {"waveform": piece})[0][0] for piece in padded], axis=0)


def predict(path, model=CONFIG["model"]):
    samples = read(path)
    if CONFIG["max_samples"] and len(samples) > CONFIG["max_samples"]:
        raise ValueError(f"{path}: longer than {CONFIG['preprocessing']['max_duration_s']} s; cut it")
    return scores(samples, model)
"""
    + _END.format(given="file")
)
WINDOWS = (
    _START.format(what="audio files", imports=_IMPORTS)
    + _READ
    + """def scores(samples, model=CONFIG["model"], threads=0):
    frames = samples[:, None]
    if CONFIG["frontend"]:
        frames = load(CONFIG["frontend"], threads).run(None, {"waveform": samples[None]})[0][0, 0]
    outputs = []
    for start in starts(len(frames), CONFIG["window_frames"]):
        window = np.tile(np.array(CONFIG["fill"], np.float32), (CONFIG["width"], 1))
        piece = frames[start : start + CONFIG["window_frames"]]
        window[: len(piece)] = piece
        outputs.append(load(model, threads).run(None, {"windows": window[None]})[0][0])
    return np.mean(outputs, axis=0)


def predict(path, model=CONFIG["model"]):
    return scores(read(path), model)
"""
    + _END.format(given="file")
)
