"""Compare presets with their publishers' code: `make parity`, or `python -m recipes.parity --help`."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from urllib.request import urlopen

import numpy as np

from features.backbones import bundle, describe, get_record, load, preset_options
from features.backbones.golden.clips import golden_clips
from features.backbones.golden.vectors import TOLERANCE, Golden, find_golden, selected, tensors_sha256
from features.backbones.loading.remote_code import trust_of
from features.errors import WeightsError
from features.spec import BackboneSpec
from recipes.parity.folders import with_weights
from recipes.parity.publish import enter_bare
from recipes.parity.table import PUBLISHERS, Publisher

ROOT = Path(__file__).parents[2]
PACKAGES = ROOT / "build" / "parity"  # a folder of packages for each publisher


def main() -> int:
    """Compare presets, print a line for each, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m recipes.parity", description=main.__doc__)
    known = [preset for publisher in PUBLISHERS.values() for preset in publisher.presets]
    parser.add_argument("presets", nargs="*", metavar="PRESET", help=f"default: all of {', '.join(known)}")
    parser.add_argument(
        "--weights", action="append", default=[], metavar="PRESET=FILE", help="weights of a preset: a file, or a folder"
    )
    parser.add_argument("--write", action="store_true", help="write the golden vectors of these presets")
    arguments = parser.parse_args()
    if unknown := set(arguments.presets) - set(known):
        parser.error(f"unknown preset {', '.join(sorted(unknown))}; known are {', '.join(known)}")
    weights = dict(option.split("=", 1) for option in arguments.weights)
    failed = 0
    for name, publisher in PUBLISHERS.items():
        for preset in publisher.presets:
            if not arguments.presets or preset in arguments.presets:
                failed += not compare(name, publisher, preset, weights.get(preset), write=arguments.write)
    return 1 if failed else 0


@dataclass(frozen=True)
class Computed:
    """What this program computes for the golden clips.

    Attributes:
        spec: The backbone's spec.
        frames: (L, F, D) of each clip.
        tensors_sha256: Digest of its network's tensors.
    """

    spec: BackboneSpec
    frames: list[np.ndarray]
    tensors_sha256: str


def compare(name: str, publisher: Publisher, preset: str, weights: str | None, *, write: bool) -> bool:
    """Compare a preset with its publisher's code on the golden clips, and with its golden vectors.

    Returns:
        Whether both agree; also true if there are no weights on this machine.
    """
    packages = install(name, publisher)
    sys.path.extend(path for path in [str(packages)] if path not in sys.path)
    enter_bare(publisher.bare)
    record = get_record(preset)
    if record is not None and record.needs_trust:
        return compare_folder(name, publisher, preset, weights, packages)
    with tempfile.TemporaryDirectory() as folder:
        stored = find_golden(preset)
        seeded = publisher.seeded and weights is None and not (stored and stored.weights == "published")
        if seeded:
            weights = save_seeded(name, preset, Path(folder))
        try:
            own = compute({"name": preset, **({} if weights is None else {"weights": weights})})
        except WeightsError as error:
            print(f"{preset}: skipped: {error}")
            return True
        return agree(name, publisher, preset, own, packages, seeded=seeded, write=write)


def compute(entry: dict[str, str]) -> Computed:
    """Embed the golden clips; the network is released, since the publisher's needs as much memory."""
    backbone = load(entry)
    return Computed(backbone.spec, backbone.embed(golden_clips(backbone.spec.sample_rate)), tensors_sha256(backbone))


def compare_folder(name: str, publisher: Publisher, preset: str, source: str | None, packages: Path) -> bool:
    """Compare a preset with the code in a folder, on its weights or on seeded random ones if it has none.

    Returns:
        Whether both agree; also true if there is no folder on this machine.
    """
    if source is None:
        print(f"{preset}: skipped: needs --weights {preset}=FOLDER, its repository on the hub, with or without weights")
        return True
    auto_class = preset_options(preset)["interface"].get("auto_class", "AutoModel")
    with tempfile.TemporaryDirectory() as scratch:
        folder, seeded = with_weights(Path(source), Path(scratch), auto_class)
        trust = trust_of(preset, str(folder), folder)
        own = compute({"name": preset, "weights": str(folder), "trust": trust})
        return agree(name, publisher, preset, own, packages, folder=folder, seeded=seeded, write=False)


def agree(
    name: str,
    publisher: Publisher,
    preset: str,
    own: Computed,
    packages: Path,
    *,
    seeded: bool,
    write: bool,
    folder: Path | None = None,
) -> bool:
    """Return whether this program, the publisher's code and the golden vectors agree.

    A `folder` is that of weights with code of their own, which have no golden vectors.
    """
    spec = own.spec
    source = None if spec.weights == "none" else spec.weights
    expected = published(name, preset, golden_clips(spec.sample_rate), spec.sample_rate, packages, source)
    same = all(one.shape == other.shape for one, other in zip(own.frames, expected, strict=True))
    error = max(map(relative_error, own.frames, expected)) if same else float("inf")
    which = ", seeded random weights" if seeded else ""
    print(f"{preset}: relative error {error:.1e} to {publisher.call}{which}", flush=True)
    if folder is not None:
        return error <= TOLERANCE
    if seeded:  # the vectors are those of `weights: random`, whose digest does not depend on a file
        spec = describe({"name": preset, "weights": "random"})
    if write and error <= TOLERANCE:
        golden = Golden(
            preset=preset,
            publisher=publisher.call,
            weights="none" if source is None else "seeded" if seeded else "published",
            weights_sha256=spec.weights_sha256,
            sample_rate=spec.sample_rate,
            settings=spec.settings,
            shapes=[list(frames.shape) for frames in expected],
            numbers=[selected(frames) for frames in expected],
            tensors_sha256="" if seeded or source is None else own.tensors_sha256,
        )
        print(f"{preset}: wrote {golden.write()}")
    stored = find_golden(preset)
    if stored is not None and stored.is_of(spec):
        difference = stored.error(expected)
        print(f"{preset}: relative error {difference:.1e} of the golden vectors to {publisher.call}")
        error = max(error, difference)
    return error <= TOLERANCE


def save_seeded(name: str, preset: str, folder: Path) -> str:
    """Write the network's seeded random weights in the publisher's format, and return their path."""
    options = {"name": preset, "weights": "random"}
    publisher = import_module(f"recipes.parity.publishers.{name}")
    if not hasattr(publisher, "save"):
        bundle(options, describe(options), folder)
        return str(folder)
    return str(publisher.save(preset, load(options).module.state_dict(), folder))


def install(name: str, publisher: Publisher) -> Path:
    """Install a publisher's packages and files into a folder of their own, not into this project's environment."""
    folder = PACKAGES / name
    done = folder / "requirements.txt"
    wanted = "\n".join(publisher.requirements)
    if wanted and not (done.is_file() and done.read_text(encoding="utf-8") == wanted):
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade", "--target", str(folder)]
        subprocess.run([*command, *publisher.requirements], check=True)
        done.write_text(wanted, encoding="utf-8")
    for address in publisher.files:
        path = folder / address.rsplit("/", 1)[-1]
        if not path.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            with urlopen(address, timeout=60) as answer:
                path.write_bytes(answer.read())
    return folder


def published(
    name: str, preset: str, clips: list[np.ndarray], rate: int, packages: Path, weights: str | None
) -> list[np.ndarray]:
    """Return the frames (L, F, D) of clips by the publisher's code; packages of its own are in a process of its own."""
    if not packages.is_dir():
        return list(import_module(f"recipes.parity.publishers.{name}").embed(preset, clips, rate, weights))
    with tempfile.TemporaryDirectory() as folder:
        for number, clip in enumerate(clips):
            np.save(Path(folder) / f"clip-{number}.npy", clip)
        paths = os.pathsep.join([str(ROOT), str(packages), os.environ.get("PYTHONPATH", "")])
        command = [sys.executable, "-m", "recipes.parity.publish", name, preset, str(rate), folder]
        command += [] if weights is None else [weights]
        subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": paths})
        return [np.load(Path(folder) / f"frames-{number}.npy") for number in range(len(clips))]


def relative_error(values: np.ndarray, expected: np.ndarray) -> float:
    """Return ‖a − b‖/‖b‖ of two arrays."""
    return float(np.linalg.norm(values - expected) / np.linalg.norm(expected))


if __name__ == "__main__":
    sys.exit(main())
