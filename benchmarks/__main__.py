"""`make bench`: prints the ratios as one table and saves them with device, versions and date."""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.stage1 import vggish_rows, wav2vec2_rows
from features.datasets import load_manifest
from features.seal import library_versions
from pipeline.console import Console

RESULTS = Path(__file__).parent / "results"
SHARED = Path("../shared/data")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--speech", type=Path, default=SHARED / "free-spoken-digit-dataset", help="short clips")
    parser.add_argument("--sounds", type=Path, default=SHARED / "ESC-10", help="5 s, 44.1 kHz clips")
    parser.add_argument("--clips", type=int, default=200, help="clips for Wav2Vec2; a quarter of it for VGGish")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--save", action="store_true", help=f"also write a JSON file under {RESULTS.name}/")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        speech = spread(clips_of(options.speech, Path(folder)), options.clips)
        sounds = spread(clips_of(options.sounds, Path(folder)), max(8, options.clips // 4))
        rows = wav2vec2_rows(speech, options.rounds, options.device)
        rows += vggish_rows(sounds, options.rounds, options.device)
    console = Console()
    heading = f"{options.device}, {torch.get_num_threads()} threads, medians of {options.rounds} rounds"
    columns = ("model", "way", "clips/s", "ratio", "largest error", "time in model")
    console.table(columns, [cells(row) for row in rows], title=heading, right=columns[2:])
    if options.save:
        console.line(f"saved {save(rows, options.device)}")


def clips_of(folder: Path, spare: Path) -> list[Path]:
    """The audio files under a folder; where it is absent, sounds made by code."""
    if not folder.is_dir():
        manifest = load_manifest({"kind": "synthetic", "root": str(spare / "synthetic")})
        return [manifest.path_of(row) for row in range(len(manifest))]
    return sorted(path for path in folder.rglob("*") if path.suffix in (".wav", ".ogg", ".flac"))


def spread(paths: list[Path], count: int) -> list[Path]:
    """`count` of the paths, evenly spread."""
    count = min(count, len(paths))
    return [paths[at * len(paths) // count] for at in range(count)]


def cells(row: dict[str, Any]) -> tuple[str, ...]:
    """One row as text."""
    error = "–" if row["error"] is None else f"{row['error']:.1e}"
    share = "–" if row["model_share"] is None else f"{row['model_share']:.1%}"
    return row["model"], row["way"], f"{row['clips_per_s']:.1f}", f"{row['ratio']:.2f}×", error, share


def save(rows: list[dict[str, Any]], device: str) -> Path:
    """Write the rows with what they were measured on."""
    name = torch.cuda.get_device_name() if device.startswith("cuda") else f"{torch.get_num_threads()} CPU threads"
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{today}-stage1-{device.partition(':')[0]}.json"
    about = {
        "date": today,
        "device": name,
        "machine": platform.machine(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "versions": library_versions(),
    }
    path.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")
    return path


if __name__ == "__main__":
    main()
