"""Compare stage 1 with common ways to embed a folder of clips, on the same clips, weights and machine, in one run.

Ours is the whole of stage 1: decoding, every layer, mean pooling, the finalized cache file. Rounds alternate; a figure
is the median over rounds of the ratio within a round. Other programs run in separate processes, see
`benchmarks.peers.apart`.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.clips import Silent, as_wav, manifest_of
from benchmarks.figures import Figure, ratio, timed_rounds
from benchmarks.peers import loops
from benchmarks.peers.apart import Apart
from features import backbones
from features.extract import Summary, extract
from features.manifest import Manifest
from features.planning.settings import Settings
from features.store.table import open_table


def ours(manifest: Manifest, options: dict[str, Any], precision: str, device: str) -> tuple[Summary, dict[str, Any]]:
    """Run stage 1 into a new cache with a loaded model; return its summary and the last layer's mean by clip."""
    spec = backbones.describe(options)
    backbone = _loaded(options, precision, device)
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(pooling=("mean",), precision=precision, device=device)
        summary = extract(manifest, spec, lambda: backbone, settings, Path(folder), Silent())
        table = open_table(summary.path)
        means = table.embeddings("mean")[:, -1]
    return summary, dict(zip(table.ids, means, strict=True))


_LOADED: dict[str, Any] = {}


def _loaded(options: dict[str, Any], precision: str, device: str) -> Any:
    key = repr((options, precision, device))
    if key not in _LOADED:
        _LOADED[key] = backbones.load(options, device, precision)
    return _LOADED[key]


def largest_error(got: dict[str, np.ndarray], reference: dict[str, np.ndarray]) -> float:
    """Return the largest relative error ‖a−b‖/‖b‖ over the clips."""
    return max(
        float(np.linalg.norm(got[clip] - reference[clip]) / np.linalg.norm(reference[clip])) for clip in reference
    )


def wav2vec2_folder(folder: Path) -> Path:
    """Save Wav2Vec2-base with seeded random weights to a folder."""
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

    torch.manual_seed(0)
    Wav2Vec2Model(Wav2Vec2Config()).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    return folder


def wav2vec2_figures(paths: Sequence[Path], rounds: int, device: str) -> list[Figure]:
    """Compare Wav2Vec2-base on short clips with the tutorials' loop and Hugging Face's padded batches."""
    manifest = manifest_of(paths)
    with tempfile.TemporaryDirectory() as name:
        folder = wav2vec2_folder(Path(name))
        options = {"name": "wav2vec2", "weights": str(folder)}
        with (
            Apart(loops.tutorial_loop, paths, folder, device) as loop,
            Apart(loops.padded_batches, paths, folder, device) as padded_batches,
        ):
            measured = timed_rounds(
                {
                    "loop": loop,
                    "padded": padded_batches,
                    "fp32": lambda: ours(manifest, options, "fp32", device),
                    "bf16": lambda: ours(manifest, options, "bf16", device),
                },
                rounds,
            )
    reference = measured["loop"][1]
    padded = _rate(measured, "padded", paths)
    figures = _against("Wav2Vec2-base, spoken digits", "× one file at a time", measured, "loop", paths, (4.0, 8.0))
    exact = Figure(
        "Wav2Vec2-base, spoken digits, fp32: largest error against one clip alone",
        largest_error(measured["fp32"][1][1], reference),
        "",
        at_most=1e-5,
        details={
            "padded batches clips/s": padded,
            "padded batches error": largest_error(measured["padded"][1], reference),
        },
    )
    return [*figures, exact]


def vggish_figures(paths: Sequence[Path], rounds: int, device: str) -> list[Figure]:
    """Compare VGGish with the torchvggish loop."""
    from torchvggish.torchvggish import VGG, make_layers

    manifest = manifest_of(paths)
    with tempfile.TemporaryDirectory() as name:
        weights = Path(name) / "vggish.pth"
        torch.manual_seed(0)
        torch.save(VGG(make_layers(), postprocess=False).state_dict(), weights)
        options = {"name": "vggish", "weights": str(weights)}
        with Apart(loops.torchvggish_loop, paths, weights, device) as loop:
            measured = timed_rounds(
                {
                    "loop": loop,
                    "fp32": lambda: ours(manifest, options, "fp32", device),
                    "bf16": lambda: ours(manifest, options, "bf16", device),
                },
                rounds,
            )
    # The loop resamples with resampy, stage 1 with soxr; tests check that values are equal for equal input.
    return _against("VGGish, 5 s clips", "× torchvggish loop", measured, "loop", paths, (3.5, 8.0))


def mfcc_figures(paths: Sequence[Path], rounds: int) -> list[Figure]:
    """Compare the handcrafted control with a plain librosa loop."""
    manifest = manifest_of(paths)
    with Apart(loops.librosa_loop, paths) as loop:
        ways = {"loop": loop, "fp32": lambda: ours(manifest, {"name": "mfcc"}, "fp32", "cpu")}
        measured = timed_rounds(ways, rounds)
    error = largest_error(measured["fp32"][1][1], measured["loop"][1])
    (figure,) = _against("MFCC, 5 s clips", "× librosa loop", measured, "loop", paths, (1.8,))
    return [Figure(**{**vars(figure), "details": {**figure.details, "error": error}})]


def nano_figures(paths: Sequence[Path], rounds: int, device: str) -> list[Figure]:
    """Compare the bundled small encoder with one of base size (random weights, which do not affect speed).

    The clips are used unchanged and as WAV files: decoding Ogg Vorbis takes a fifth of the small encoder's CPU time.
    """
    base = {"name": "wav2vec2-base", "weights": "random"}
    figures = []
    with tempfile.TemporaryDirectory() as name:
        for what, files in (("5 s clips", paths), ("5 s WAV files", as_wav(paths, Path(name)))):
            manifest = manifest_of(files)
            measured = timed_rounds(
                {
                    "base": partial(ours, manifest, base, "fp32", device),
                    "fp32": partial(ours, manifest, {"name": "wav2vec2-nano"}, "fp32", device),
                },
                rounds,
            )
            figures += _against(f"Wav2Vec2-nano, {what}", "× Wav2Vec2-base", measured, "base", files, (20.0,))
    return figures


def xares_figures(paths: Sequence[Path], rounds: int, python: Path) -> list[Figure]:
    """Compare Wav2Vec2-base on short clips with X-ARES."""
    manifest = manifest_of(paths)
    with tempfile.TemporaryDirectory() as name:
        folder = wav2vec2_folder(Path(name))
        options = {"name": "wav2vec2", "weights": str(folder)}
        xares = loops.Xares(python, paths, folder)
        try:
            measured = timed_rounds({"xares": xares, "fp32": lambda: ours(manifest, options, "fp32", "cpu")}, rounds)
        finally:
            xares.close()
    return _against("Wav2Vec2-base, spoken digits", "× X-ARES", measured, "xares", paths, (1.8,))


def _rate(measured: dict[str, tuple[list[float], Any]], way: str, paths: Sequence[Path]) -> float:
    return len(paths) / statistics.median(measured[way][0])


def _against(
    what: str,
    unit: str,
    measured: dict[str, tuple[list[float], Any]],
    baseline: str,
    paths: Sequence[Path],
    goals: Sequence[float],
) -> list[Figure]:
    """Return a figure for each measured precision."""
    figures = []
    for precision, goal in zip(("fp32", "bf16"), goals, strict=False):
        seconds, (summary, _) = measured[precision]
        details = {
            "clips/s": _rate(measured, precision, paths),
            "theirs": _rate(measured, baseline, paths),
            "of the last round": str(summary.timings),
        }
        figures.append(Figure(f"{what}, {precision}", ratio(measured[baseline][0], seconds), unit, goal, None, details))
    return figures
