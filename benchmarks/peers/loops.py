"""Common ways to embed a folder of clips; each function returns a function that does it once.

All results are the last layer's mean over time by clip, so that values can be compared.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.peers.apart import peers_environment

PADDED_BATCH = 16
Run = Callable[[], dict[str, np.ndarray]]


def tutorial_loop(paths: Sequence[Path], folder: Path, device: str) -> Run:
    """Loop of transfer-learning tutorials: librosa.load, processor, model, mean; one file at a time."""
    import librosa
    from transformers import Wav2Vec2FeatureExtractor, Wav2Vec2Model

    model = Wav2Vec2Model.from_pretrained(folder).eval().to(device)
    processor = Wav2Vec2FeatureExtractor.from_pretrained(folder)

    def run() -> dict[str, np.ndarray]:
        embeddings = {}
        for path in paths:
            samples, _ = librosa.load(path, sr=16000)
            inputs = processor(samples, sampling_rate=16000, return_tensors="pt").to(device)
            with torch.no_grad():
                embeddings[str(path.resolve())] = model(**inputs).last_hidden_state.mean(dim=1)[0].cpu().numpy()
        return embeddings

    return run


def padded_batches(paths: Sequence[Path], folder: Path, device: str) -> Run:
    """Padded batches of Hugging Face's processor, in file order; `networks/wav2vec2.py` says why they are wrong."""
    import librosa
    from transformers import Wav2Vec2FeatureExtractor, Wav2Vec2Model

    model = Wav2Vec2Model.from_pretrained(folder).eval().to(device)
    processor = Wav2Vec2FeatureExtractor.from_pretrained(folder)

    def run() -> dict[str, np.ndarray]:
        embeddings: dict[str, np.ndarray] = {}
        for start in range(0, len(paths), PADDED_BATCH):
            batch = paths[start : start + PADDED_BATCH]
            samples = [librosa.load(path, sr=16000)[0] for path in batch]
            inputs = processor(samples, sampling_rate=16000, return_tensors="pt", padding=True).to(device)
            with torch.no_grad():
                means = model(**inputs).last_hidden_state.mean(dim=1).cpu().numpy()
            embeddings |= {str(path.resolve()): mean for path, mean in zip(batch, means, strict=True)}
        return embeddings

    return run


def torchvggish_loop(paths: Sequence[Path], weights: Path, device: str) -> Run:
    """Loop over torchvggish's own frontend and network, one file at a time."""
    from torchvggish import vggish_input
    from torchvggish.torchvggish import VGG, make_layers

    network = VGG(make_layers(), postprocess=False)
    network.load_state_dict(torch.load(weights, weights_only=True))
    network.eval().to(device)

    def run() -> dict[str, np.ndarray]:
        embeddings = {}
        for path in paths:
            with torch.no_grad():
                patches = vggish_input.wavfile_to_examples(str(path)).to(device)
                embeddings[str(path.resolve())] = network(patches).mean(dim=0).cpu().numpy()
        return embeddings

    return run


def librosa_loop(paths: Sequence[Path]) -> Run:
    """librosa.load and its feature functions, one file and one call at a time."""
    import librosa
    from librosa import feature

    def run() -> dict[str, np.ndarray]:
        embeddings = {}
        for path in paths:
            y, sr = librosa.load(path)
            mfcc = feature.mfcc(y=y, sr=sr)
            rows = [
                mfcc,
                feature.delta(mfcc, mode="nearest"),
                feature.spectral_centroid(y=y, sr=sr),
                feature.spectral_bandwidth(y=y, sr=sr),
                feature.spectral_rolloff(y=y, sr=sr),
                feature.spectral_flatness(y=y),
                feature.zero_crossing_rate(y),
                feature.rms(S=np.abs(librosa.stft(y))),
                feature.spectral_contrast(y=y, sr=sr),
            ]
            embeddings[str(path.resolve())] = np.concatenate(rows).mean(axis=1)
        return embeddings

    return run


class Xares:
    """X-ARES encoding the same clips, in a separate environment, since it needs other library versions.

    `python` is the interpreter of a virtual environment with `xares`; see docs/performance.md. Its process is kept
    between calls, so that its imports and weights do not count.
    """

    def __init__(self, python: Path, paths: Sequence[Path], folder: Path) -> None:
        """Start the process and load the model."""
        worker = Path(__file__).with_name("xares_worker.py")
        self._process = subprocess.Popen(
            [python, worker, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=peers_environment()
        )
        self._paths = [str(path.resolve()) for path in paths]
        self._ask({"paths": self._paths[:1]})

    def __call__(self) -> dict[str, Any]:
        """Encode all clips once."""
        return self._ask({"paths": self._paths})

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the process has no pipes")
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        while line := self._process.stdout.readline():
            if line.startswith("{"):
                return json.loads(line)
        raise RuntimeError("X-ARES ended; see its output above")
