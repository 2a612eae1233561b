"""Seconds of audio per second from WAV files, the share of the device's matrix rate, and Hugging Face's usual loop."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.clips import manifest_of
from benchmarks.figures import Figure
from benchmarks.gpu.models import SPEED, Model, Sizes
from benchmarks.stage1.comparison import ours
from features import backbones

PEER_GOAL = 10.0
WARM_UP_FILES = 64


def write_files(folder: Path, sizes: Sizes, sample_rate: int = 16_000) -> list[Path]:
    """Write WAV files of noise with a level that changes, all different."""
    rng = np.random.default_rng(0)
    noise = rng.uniform(-0.5, 0.5, round(2 * sizes.file_s * sample_rate)).astype(np.float32)
    length = round(sizes.file_s * sample_rate)
    level = (0.6 + 0.4 * np.sin(np.arange(length) / sample_rate * 2 * np.pi)).astype(np.float32)
    paths = [folder / f"{number:05d}.wav" for number in range(sizes.files)]
    for path in paths:
        start = int(rng.integers(len(noise) - length))
        sf.write(path, noise[start : start + length] * level, sample_rate, subtype="PCM_16")
    return paths


def matrix_rate(device: str, square: int, repeats: int = 8) -> float:
    """Return the operations per second of a bf16 matrix product: the best of `repeats` after a warm-up."""
    left, right = (torch.randn(square, square, device=device).to(torch.bfloat16) for _ in range(2))
    best = 0.0
    for _ in range(repeats + 2):
        _wait(device)
        started = time.perf_counter()
        _ = left @ right
        _wait(device)
        best = max(best, 2 * square**3 / (time.perf_counter() - started))
    return best


def speed_figures(paths: Sequence[Path], device: str, sizes: Sizes, tiny: bool) -> Iterator[Figure]:
    """Yield figures of each model: rate, share of the device's rate, and ratio to the usual loop."""
    for model in SPEED:
        yield from _of_model(model, paths, device, sizes, tiny)


def _of_model(model: Model, paths: Sequence[Path], device: str, sizes: Sizes, tiny: bool) -> list[Figure]:
    entry = model.entry(tiny)
    ours(manifest_of(paths[:WARM_UP_FILES]), entry, "bf16", device)
    seconds, timings = [], ""
    for _ in range(2):
        started = time.perf_counter()
        summary, _ = ours(manifest_of(paths), entry, "bf16", device)
        seconds.append(time.perf_counter() - started)
        timings = str(summary.timings)
    audio_s = sum(sf.info(str(path)).duration for path in paths)
    rate = audio_s / min(seconds)
    operations = operations_per_s(entry, device, sizes.file_s)
    share = rate * operations / matrix_rate(device, sizes.square)
    figures = [
        Figure(f"{model.name}, bf16, WAV files", rate, "s of audio per s", details={"parts": timings}),
        Figure(
            f"{model.name}, bf16, WAV files",
            share,
            "of the bf16 matrix rate",
            at_least=None if tiny else model.share_goal,
            details={"GFLOP per s of audio": operations / 1e9},
        ),
    ]
    if model.peer is not None:
        theirs, batch = usual_loop(model, entry, paths[: sizes.peer_files], device, sizes.peer_batches)
        figures.append(
            Figure(
                f"{model.name}, bf16, WAV files",
                rate / theirs,
                "× the feature extractor and model of transformers",
                at_least=None if tiny or model.share_goal is None else PEER_GOAL,
                details={"their s of audio per s": theirs, "their best batch size": batch},
            )
        )
    return figures


def operations_per_s(entry: dict[str, Any], device: str, clip_s: float) -> float:
    """Return the operations of the matrix products and convolutions per second of audio, counted on one clip."""
    backbone = backbones.load(entry, device, "bf16")
    samples = min(backbone.spec.max_samples, round(clip_s * backbone.spec.sample_rate))
    waveform = (0.1 * torch.randn(1, samples)).to(device)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:  # it fails in inference mode
        backbone.forward(waveform, torch.tensor([samples]))
    return counter.get_total_flops() / (samples / backbone.spec.sample_rate)


def usual_loop(
    model: Model, entry: dict[str, Any], paths: Sequence[Path], device: str, batches: Sequence[int]
) -> tuple[float, int]:
    """Embed files with the feature extractor and model of transformers in bf16, as their documentation shows.

    Returns:
        Seconds of audio per second, and the batch size that gave it.
    """
    import transformers

    if model.peer is None:
        raise ValueError(f"{model.name} has no comparison")
    names = model.peer
    network: Any = getattr(transformers, names[0])(backbones.load(entry, "cpu").module.config)
    network = getattr(network, "encoder", network) if names[0] == "WhisperModel" else network
    network = network.eval().to(device, torch.bfloat16)
    extractor = getattr(transformers, names[1])()
    best = 0.0, 0
    for size in batches:
        started = time.perf_counter()
        audio_s = 0.0
        for start in range(0, len(paths), size):
            clips = [sf.read(path, dtype="float32")[0] for path in paths[start : start + size]]
            audio_s += sum(len(clip) for clip in clips) / extractor.sampling_rate
            more = {"padding": True} if names[0] == "Wav2Vec2Model" else {}
            inputs = extractor(clips, sampling_rate=extractor.sampling_rate, return_tensors="pt", **more)
            key = next(iter(inputs))
            with torch.inference_mode():
                network(inputs[key].to(device, torch.bfloat16)).last_hidden_state.mean(1).float().cpu()
        best = max(best, (audio_s / (time.perf_counter() - started), size))
    return best


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
