"""Google's speech embedding: the file itself in onnxruntime, window by window."""

import numpy as np

WINDOW, HOP = 12_512, 1_280


def embed(preset: str, clips: list[np.ndarray], sample_rate: int, weights: str | None) -> list[np.ndarray]:
    """Return the embeddings (1, F, D) of each clip's windows."""
    import onnxruntime

    session = onnxruntime.InferenceSession(weights, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    embedded = []
    for clip in clips:
        n_windows = 1 + -(-max(len(clip) - WINDOW, 0) // HOP)
        padded = np.pad(clip, (0, max(0, (n_windows - 1) * HOP + WINDOW - len(clip))))
        windows = [padded[at * HOP : at * HOP + WINDOW][None] for at in range(n_windows)]
        embedded.append(np.stack([session.run(None, {name: window})[0].reshape(-1) for window in windows])[None])
    return embedded
