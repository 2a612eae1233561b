"""Measure the seconds per epoch of X-ARES' own head training; runs in an interpreter with X-ARES.

See `benchmarks.heads`. Arguments: an npz file with features (N, D), targets, train and valid rows; frames per clip;
epochs; an output folder.
"""

from __future__ import annotations

import io
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
import webdataset as wds
from ignite.engine import Events
from loguru import logger
from xares.audiowebdataset import create_embedding_webdataset
from xares.models.simple import Mlp
from xares.trainer import Trainer


def write(folder: Path, name: str, features: np.ndarray, targets: np.ndarray, n_frames: int) -> list[str]:
    """Write embeddings (T, D) of some clips as X-ARES stores them, in one tar file."""
    path = folder / f"{name}.tar"
    with wds.TarWriter(str(path)) as tar:
        for at, (vector, label) in enumerate(zip(features, targets, strict=True)):
            buffer = io.BytesIO()
            np.save(buffer, np.repeat(vector[None], n_frames, axis=0))
            about = json.dumps({"label": int(label)}).encode()
            tar.write({"npy": buffer.getvalue(), "json": about, "__key__": f"{at:06d}"})
    return [str(path)]


def label_of(about: dict[str, int]) -> int:
    """Return the label from a clip's JSON, as X-ARES' ESC-50 task does."""
    return about["label"]


def main() -> None:
    """Train and print a line of JSON."""
    source, n_frames, epochs, folder = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    logger.remove()
    folder.mkdir(parents=True)
    data = np.load(source)
    features, targets = data["features"], data["targets"]
    tars = {
        part: write(folder, part, features[data[part]], targets[data[part]], n_frames) for part in ("train", "valid")
    }
    torch.set_num_threads(2)  # as its TaskConfig does
    trainer = Trainer(
        Mlp(features.shape[1], int(targets.max()) + 1),
        device="cpu",
        lr=1e-3,
        max_epochs=epochs,
        ckpt_dir=str(folder / "checkpoints"),
    )
    loaders = [
        create_embedding_webdataset(
            tars[part],
            tar_shuffle=2000 if part == "train" else None,
            batch_size=32,
            num_workers=0,
            training=part == "train",
            label_processor=label_of,
        )
        for part in ("train", "valid")
    ]
    ends: list[float] = []
    trainer.ignite_trainer.add_event_handler(Events.EPOCH_STARTED, lambda _: ends.append(time.perf_counter()))
    trainer.run(*loaders)
    ends.append(time.perf_counter())
    took = np.diff(ends)
    print(json.dumps({"seconds_per_epoch": float(np.median(took)), "epochs": took.tolist()}))


if __name__ == "__main__":
    main()
