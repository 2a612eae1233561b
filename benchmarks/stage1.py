"""Stage 1 against the usual ways to embed a folder of clips, on the same clips, weights and machine, in one run.

(a) the loop of the transfer-learning tutorials: librosa.load, processor, model, mean over time, one file at a time;
(b) Hugging Face padded batches of the same; (c) for VGGish, the torchvggish loop. Ours is the whole of stage 1:
decoding, every layer, mean pooling, the sealed cache file. Rounds alternate; medians are reported.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from features import backbones
from features.extract import extract
from features.manifest import Manifest
from features.store import open_table
from features.survey import Settings

PADDED_BATCH = 16


class Silent:
    """Progress for nobody."""

    def start(self, clips: int, audio_s: float, reused: int) -> None:
        """Nothing."""

    def advance(self, clips: int, audio_s: float, failed: int) -> None:
        """Nothing."""

    def note(self, message: str) -> None:
        """Nothing."""


def manifest_of(paths: Sequence[Path]) -> Manifest:
    """A manifest of files, labels aside."""
    names = [str(path.resolve()) for path in paths]
    return Manifest("bench", Path("/"), pd.DataFrame({"id": names, "path": names, "label": "any"}))


def timed_rounds(ways: dict[str, Callable[[], Any]], rounds: int) -> dict[str, tuple[float, Any]]:
    """Run all ways in turn, `rounds` times; median seconds and the last result of each."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    results: dict[str, Any] = {}
    for _ in range(rounds):
        for name, way in ways.items():
            started = time.perf_counter()
            results[name] = way()
            seconds[name].append(time.perf_counter() - started)
    return {name: (statistics.median(seconds[name]), results[name]) for name in ways}


def ours(manifest: Manifest, options: dict[str, Any], precision: str, device: str) -> dict[str, Any]:
    """Stage 1 into a fresh cache: the last layer's mean by clip, and the share of time spent in the model."""
    spec = backbones.describe(options)
    backbone = backbones.load(options, device, precision, spec)
    inside = 0.0
    plain = backbone.embed_batch

    def clocked(*arguments: Any) -> Any:
        nonlocal inside
        started = time.perf_counter()
        frames = plain(*arguments)
        inside += time.perf_counter() - started
        return frames

    backbone.embed_batch = clocked  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        settings = Settings(pooling=("mean",), precision=precision, device=device)
        summary = extract(manifest, spec, lambda: backbone, settings, Path(folder), Silent())
        whole = time.perf_counter() - started
        table = open_table(summary.path)
        means = table.embeddings("mean")[:, -1]
    return {"by_clip": dict(zip(table.ids, means, strict=True)), "share": inside / whole}


def tutorial_loop(paths: Sequence[Path], folder: Path, device: str) -> Callable[[], dict[str, np.ndarray]]:
    """(a): one file at a time."""
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


def padded_batches(paths: Sequence[Path], folder: Path, device: str) -> Callable[[], dict[str, np.ndarray]]:
    """(b): padded batches in file order, as the processor makes them."""
    import librosa
    from transformers import Wav2Vec2FeatureExtractor, Wav2Vec2Model

    model = Wav2Vec2Model.from_pretrained(folder).eval().to(device)
    processor = Wav2Vec2FeatureExtractor.from_pretrained(folder)

    def run() -> dict[str, np.ndarray]:
        embeddings = {}
        for start in range(0, len(paths), PADDED_BATCH):
            batch = paths[start : start + PADDED_BATCH]
            samples = [librosa.load(path, sr=16000)[0] for path in batch]
            inputs = processor(samples, sampling_rate=16000, return_tensors="pt", padding=True).to(device)
            with torch.no_grad():
                means = model(**inputs).last_hidden_state.mean(dim=1).cpu().numpy()
            embeddings |= {str(path.resolve()): mean for path, mean in zip(batch, means, strict=True)}
        return embeddings

    return run


def torchvggish_loop(paths: Sequence[Path], weights: Path, device: str) -> Callable[[], dict[str, np.ndarray]]:
    """(c): torchvggish's own frontend and network, one file at a time."""
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


def largest_error(got: dict[str, np.ndarray], reference: dict[str, np.ndarray]) -> float:
    """Largest relative error ‖a−b‖/‖b‖ over the clips."""
    return max(
        float(np.linalg.norm(got[clip] - reference[clip]) / np.linalg.norm(reference[clip])) for clip in reference
    )


def wav2vec2_rows(paths: Sequence[Path], rounds: int, device: str) -> list[dict[str, Any]]:
    """Wav2Vec2-base with seeded random weights, from a `save_pretrained` folder."""
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

    manifest = manifest_of(paths)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torch.manual_seed(0)
        Wav2Vec2Model(Wav2Vec2Config()).save_pretrained(folder)
        Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
        options = {"name": "wav2vec2", "weights": str(folder)}
        measured = timed_rounds(
            {
                "one file at a time": tutorial_loop(paths, folder, device),
                "Hugging Face padded batches": padded_batches(paths, folder, device),
                "audioheads fp32": lambda: ours(manifest, options, "fp32", device),
                "audioheads bf16": lambda: ours(manifest, options, "bf16", device),
            },
            rounds,
        )
    return _rows("wav2vec2-base (random weights)", measured, "one file at a time", len(paths))


def vggish_rows(paths: Sequence[Path], rounds: int, device: str) -> list[dict[str, Any]]:
    """VGGish with seeded random weights, from a `.pth` file."""
    from torchvggish.torchvggish import VGG, make_layers

    manifest = manifest_of(paths)
    with tempfile.TemporaryDirectory() as name:
        weights = Path(name) / "vggish.pth"
        torch.manual_seed(0)
        torch.save(VGG(make_layers(), postprocess=False).state_dict(), weights)
        options = {"name": "vggish", "weights": str(weights)}
        measured = timed_rounds(
            {
                "torchvggish loop": torchvggish_loop(paths, weights, device),
                "audioheads fp32": lambda: ours(manifest, options, "fp32", device),
                "audioheads bf16": lambda: ours(manifest, options, "bf16", device),
            },
            rounds,
        )
    # the loop resamples with resampy, stage 1 with soxr: equality on equal input is a test, not a benchmark
    rows = _rows("vggish (random weights)", measured, "torchvggish loop", len(paths))
    return [{**row, "error": None} for row in rows]


def _rows(model: str, measured: dict[str, tuple[float, Any]], baseline: str, clips: int) -> list[dict[str, Any]]:
    """One table row per way: clips/s, ratio to the baseline, largest error, share of time in the model."""
    reference_s, reference = measured[baseline]
    rows = []
    for way, (seconds, result) in measured.items():
        is_ours = "by_clip" in result
        rows.append(
            {
                "model": model,
                "way": way,
                "clips_per_s": clips / seconds,
                "ratio": reference_s / seconds,
                "error": largest_error(result["by_clip"] if is_ours else result, reference),
                "model_share": result["share"] if is_ours else None,
            }
        )
    return rows
