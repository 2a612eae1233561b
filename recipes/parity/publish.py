"""Run a publisher's code on clips: `python -m recipes.parity.publish PUBLISHER PRESET RATE FOLDER [WEIGHTS]`.

The folder holds `clip-0.npy`, `clip-1.npy`, …; the frames (L, F, D) of each are written beside it as `frames-0.npy`, ….
"""

import sys
from importlib import import_module
from pathlib import Path

import numpy as np


def main(publisher: str, preset: str, rate: str, folder: str, weights: str | None = None) -> None:
    """Embed the clips of a folder."""
    clips = [np.load(path) for path in sorted(Path(folder).glob("clip-*.npy"))]
    module = import_module(f"recipes.parity.publishers.{publisher}")
    for number, frames in enumerate(module.embed(preset, clips, int(rate), weights)):
        np.save(Path(folder) / f"frames-{number}.npy", frames)


if __name__ == "__main__":
    main(*sys.argv[1:])
