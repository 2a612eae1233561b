"""Run a publisher's code on clips: `python -m recipes.parity.publish PUBLISHER PRESET RATE FOLDER [WEIGHTS]`.

The folder holds `clip-0.npy`, `clip-1.npy`, …; the frames (L, F, D) of each are written beside it as `frames-0.npy`, ….
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import numpy as np

from recipes.parity.table import PUBLISHERS


def main(publisher: str, preset: str, rate: str, folder: str, weights: str | None = None) -> None:
    """Embed the clips of a folder."""
    clips = [np.load(path) for path in sorted(Path(folder).glob("clip-*.npy"))]
    enter_bare(PUBLISHERS[publisher].bare)
    module = import_module(f"recipes.parity.publishers.{publisher}")
    for number, frames in enumerate(module.embed(preset, clips, int(rate), weights)):
        np.save(Path(folder) / f"frames-{number}.npy", frames)


def enter_bare(packages: Sequence[str]) -> None:
    """Make the modules of some packages importable without running their `__init__.py`."""
    for package in packages:
        spec = find_spec(package)
        bare = ModuleType(package)
        bare.__path__ = list((spec and spec.submodule_search_locations) or [])
        sys.modules[package] = bare


if __name__ == "__main__":
    main(*sys.argv[1:])
