"""Heads and an epoch of ResNet18 on the device against the CPU."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import numpy as np

from benchmarks.clips import clips_of, manifest_of, spread
from benchmarks.figures import Figure
from benchmarks.gpu.models import Sizes
from benchmarks.heads import N_CLASSES, OPTIONS, SEEDS, clips
from heads.kinds.linear import LinearOptions
from heads.options import HeadOptions
from heads.training.train import train_head


def head_figures(device: str, tiny: bool) -> list[Figure]:
    """Return the ratio of the CPU's time to the device's for the grids of `mlp` and `linear`, and both accuracies."""
    features, targets, splits = clips()
    cut = {"max_epochs": 2, "patience": 2} if tiny else {}
    ways: dict[str, HeadOptions] = {"mlp": OPTIONS.model_copy(update=cut), "linear": LinearOptions()}
    figures = []
    for name, options in ways.items():
        seconds, accuracy = {}, {}
        for where in dict.fromkeys([device, "cpu"]):
            repeats = 1 if tiny or where == "cpu" else 2  # the first run on a GPU loads its kernels
            for _ in range(repeats):
                started = time.perf_counter()
                result = train_head(options, features, targets, splits[:1], SEEDS, n_classes=N_CLASSES, device=where)
                seconds[where] = time.perf_counter() - started
            right = [(fit.probabilities.argmax(1) == targets[fit.test_rows]).mean() for fit in result.fits]
            accuracy[where] = float(np.mean(right))
        details = {
            "s on the device": seconds[device],
            "s on the CPU": seconds["cpu"],
            "test accuracy": accuracy[device],
            "on the CPU": accuracy["cpu"],
        }
        figures.append(
            Figure(f"{name}, one fold, all fits", seconds["cpu"] / seconds[device], "× CPU", details=details)
        )
    return figures


def resnet_figures(device: str, sizes: Sizes, tiny: bool, folder: Path) -> list[Figure]:
    """Return the seconds of an epoch of ResNet18 from cached log-mels."""
    from benchmarks.finetune import our_epochs
    from heads.models.options import ImageOptions

    paths = spread(clips_of(folder / "none", folder), sizes.image_clips)
    options = ImageOptions(
        name="resnet18",
        weights="none",
        epochs=2 if tiny else 4,
        batch_size=4 if tiny else 32,
        image_size=64 if tiny else 224,
        standardize=False,
        learning_rate=1e-4,
    )
    targets = np.arange(len(paths)) % 10
    epochs, _ = our_epochs(manifest_of(paths), targets, options, device, folder)
    return [Figure(f"ResNet18, {len(paths)} clips", statistics.median(epochs), "s per epoch")]
