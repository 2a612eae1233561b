"""YAMNet: the published file itself in LiteRT, window by window."""

import numpy as np

WINDOW, HOP = 15_600, 7_680
EMBEDDING = "layer28/reduce_mean"


def embed(preset: str, clips: list[np.ndarray], sample_rate: int, weights: str | None) -> list[np.ndarray]:
    """Return the embeddings (1, F, D) of each clip's windows."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(weights), num_threads=1, experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    taken = interpreter.get_input_details()[0]["index"]
    given = next(tensor for tensor in interpreter.get_tensor_details() if tensor["name"].endswith(EMBEDDING))
    scale, zero = given["quantization"]

    def run(window: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(taken, window)
        interpreter.invoke()
        stored = interpreter.get_tensor(given["index"]).reshape(-1)  # int8
        return ((stored.astype(np.float32) - zero) * scale).astype(np.float32)

    embedded = []
    for clip in clips:
        n_windows = 1 + -(-max(len(clip) - WINDOW, 0) // HOP)
        padded = np.pad(clip, (0, max(0, (n_windows - 1) * HOP + WINDOW - len(clip))))
        embedded.append(np.stack([run(padded[at * HOP : at * HOP + WINDOW]) for at in range(n_windows)])[None])
    return embedded
