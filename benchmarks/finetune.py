"""Compare an epoch of ResNet18 on ESC-10 with the tutorials' loop: same clips, batch size, image size and machine.

The tutorial's loop decodes each file and computes its mel spectrogram in `__getitem__` in every epoch (with soundfile,
since torchaudio.load needs FFmpeg since 2.9). Ours reads cached mels; its epoch includes everything that the program
does: shuffling, crops, Lightning, and writing the state for resuming. Rounds alternate, and medians are reported.
Run: `python -m benchmarks.finetune`.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.clips import SHARED, Silent, clips_of, manifest_of, spread
from features import backbones
from features.extract import extract
from features.manifest import Manifest
from features.planning.settings import Settings
from features.store.frames import ClipFrames
from features.store.table import open_table
from heads.finetuning.augmentation import Augmenter
from heads.finetuning.crops import ScoringWindows
from heads.finetuning.finetune import SplitRows, finetune
from heads.finetuning.lightning_module import TrainingClips
from heads.finetuning.network import StandardisedNetwork
from heads.models import build
from heads.models.options import ImageOptions
from pipeline.console import Console

N_CLASSES = 10
MEL = {"sample_rate_hz": 44_100, "n_fft": 2048, "hop_length": 640, "n_mels": 128, "scale": "power"}


class TutorialClips(Dataset):
    """Decode and transform at every access."""

    def __init__(self, paths: list[Path], targets: np.ndarray, size: int) -> None:
        """Store the paths."""
        self.paths, self.targets, self.size = paths, targets, size

    def __len__(self) -> int:
        """Number of clips."""
        return len(self.paths)

    def __getitem__(self, clip: int) -> tuple[torch.Tensor, int]:
        """Return a three-channel image of the clip, and its class."""
        from torchaudio.transforms import MelSpectrogram

        samples, sample_rate = sf.read(self.paths[clip], dtype="float32", always_2d=True)
        waveform = torch.from_numpy(samples.T[:1].copy())
        transform = MelSpectrogram(sample_rate=sample_rate, n_fft=2048, hop_length=640, n_mels=128)
        mel = torch.clamp(transform(waveform), min=0).repeat(3, 1, 1)
        return nn.AdaptiveAvgPool2d((self.size, self.size))(mel), int(self.targets[clip])


def tutorial_epochs(paths: list[Path], targets: np.ndarray, batch_size: int, size: int, device: str) -> Iterator[float]:
    """Yield the seconds of each epoch of the tutorial's loop."""
    from torchvision.models import resnet18

    model = resnet18(num_classes=N_CLASSES).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    loader = DataLoader(TutorialClips(paths, targets, size), batch_size=batch_size, shuffle=True)
    while True:
        started = time.perf_counter()
        model.train()
        correct = loss_sum = 0.0
        for inputs, labels in loader:
            inputs, labels = inputs.to(device), labels.to(device)
            outputs = model(inputs)
            loss = nn.functional.cross_entropy(outputs, labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            loss_sum += loss.item()
            correct += outputs.argmax(dim=1).eq(labels).sum().item()
        yield time.perf_counter() - started


def our_epochs(
    manifest: Manifest, targets: np.ndarray, options: ImageOptions, device: str, folder: Path
) -> tuple[list[float], float]:
    """Return the seconds of each epoch but the first, and the fraction outside forward, backward and update."""
    entry = {"name": "logmel", **MEL}
    spec = backbones.describe(entry)
    summary = extract(manifest, spec, lambda: backbones.load(entry), Settings(("frames",)), folder, Silent())
    frames = ClipFrames(open_table(summary.path), list(manifest.clips["id"]))
    windows = ScoringWindows(frames, int(frames.lengths.max()), fill=0.0)
    clips = TrainingClips(windows, targets, N_CLASSES, Augmenter(options.augment, spec.frame_rate))
    everything = np.arange(len(manifest))

    def make() -> StandardisedNetwork:
        return StandardisedNetwork(
            build(options, frames.dim, N_CLASSES), torch.zeros(frames.dim), torch.ones(frames.dim)
        )

    ends: list[float] = []
    inside: list[float] = []
    with _clocked() as clock:

        def on_epoch(state: Any) -> None:
            ends.append(time.perf_counter())
            inside.append(clock[0])

        rows = SplitRows(everything, everything[:1], everything[:1])
        finetune(make, clips, rows, options, 0, folder / f"fit-{time.time_ns()}", device=device, on_epoch=on_epoch)
    epochs = np.diff(ends).tolist()
    return epochs, 1 - (inside[-1] - inside[0]) / sum(epochs)


@contextmanager
def _clocked() -> Iterator[list[float]]:
    """Count the seconds in ResNet's forward pass, the backward pass and Adam's update."""
    from lightning import LightningModule
    from torchvision.models import ResNet

    total = [0.0]
    forward, backward, update = ResNet.forward, LightningModule.backward, torch.optim.Adam.step

    def timed(function: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            started = time.perf_counter()
            result = function(*arguments, **named)
            seconds = time.perf_counter() - started
            total[0] += seconds
            return result

        return call

    def timed_update(self: Any, closure: Any = None) -> Any:
        if closure is None:
            return timed(update)(self)
        result = closure()  # Lightning's closure runs the forward and backward pass, which are timed separately
        with torch.no_grad():
            timed(update)(self)
        return result

    ResNet.forward, LightningModule.backward = timed(forward), timed(backward)  # type: ignore[method-assign]
    torch.optim.Adam.step = timed_update  # type: ignore[method-assign]
    try:
        yield total
    finally:
        ResNet.forward, LightningModule.backward = forward, backward  # type: ignore[method-assign]
        torch.optim.Adam.step = update  # type: ignore[method-assign]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.finetune", description=__doc__)
    parser.add_argument("--sounds", type=Path, default=SHARED / "ESC-10", help="5 s, 44.1 kHz clips")
    parser.add_argument("--clips", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="auto", help="precision of ours; the tutorial's loop uses fp32")
    given = parser.parse_args()
    options = ImageOptions(
        name="resnet18",
        weights="none",
        epochs=2,
        batch_size=given.batch_size,
        image_size=given.image_size,
        precision=given.precision,
        standardize=False,
        learning_rate=1e-4,
    )
    theirs: list[float] = []
    ours: list[float] = []
    shares: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        paths = spread(clips_of(given.sounds, Path(name)), given.clips)
        targets = np.arange(len(paths)) % N_CLASSES
        tutorial = tutorial_epochs(paths, targets, given.batch_size, given.image_size, given.device)
        next(tutorial)
        for _ in range(given.rounds):
            theirs.append(next(tutorial))
            epochs, share = our_epochs(manifest_of(paths), targets, options, given.device, Path(name))
            ours += epochs
            shares.append(share)
    seconds, reference = statistics.median(ours), statistics.median(theirs)
    share_text = f"{statistics.median(shares):.1%}" if given.device == "cpu" else "–"  # a GPU works asynchronously
    rows = [
        ("tutorial's loop", f"{reference:.2f}", "1.00×", "–"),
        ("audioheads", f"{seconds:.2f}", f"{reference / seconds:.2f}×", share_text),
    ]
    heading = f"ResNet18, {len(paths)} clips, batch {given.batch_size}, {given.image_size}², {given.device}"
    Console().table(("way", "s/epoch", "ratio", "outside the network"), rows, title=heading, right=("s/epoch", "ratio"))


if __name__ == "__main__":
    main()
