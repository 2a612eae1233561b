"""Runs stage 1 in processes that a test can kill: one import of torch, then a fork for each run.

Reads one JSON line per run from standard input, answers with its pid, and again when it has ended.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import features.extract
from features import backbones
from features.extract import extract
from features.manifest import Manifest
from features.planning.run_shard import Share
from features.planning.settings import Settings
from features.store import shard_set

FSYNC, RMTREE = os.fsync, features.extract.shutil.rmtree


class Stop:
    """Halts at the n-th call of something, until told to go on or killed."""

    def __init__(self, folder: Path, where: str) -> None:
        self.folder = folder
        self.kind, _, count = where.partition(":")
        self.left = int(count or 0)

    def at(self, kind: str) -> None:
        if kind == self.kind:
            self.left -= 1
            if self.left == 0:
                (self.folder / "reached").touch()
                while not (self.folder / "go").exists():
                    time.sleep(0.01)


class Told:
    def __init__(self, stop: Stop, notes: list[str]) -> None:
        self.stop = stop
        self.notes = notes

    def start(self, clips: int, audio_s: float, reused: int) -> None: ...

    def advance(self, clips: int, audio_s: float, failed: int) -> None:
        self.stop.at("advance")

    def note(self, message: str) -> None:
        self.notes.append(message)
        self.stop.at("note")


def run(job: dict) -> None:
    stop, notes = Stop(Path(job["folder"]), job["stop"]), []

    def fsync(descriptor: int) -> None:
        stop.at("fsync")
        FSYNC(descriptor)

    def rmtree(path: Path) -> None:
        stop.at("rmtree")
        RMTREE(path)

    os.fsync, features.extract.shutil.rmtree = fsync, rmtree
    settings = {**job["settings"], "pooling": tuple(job["settings"]["pooling"])}
    shard_set.SET_BYTES = settings.pop("set_bytes", shard_set.SET_BYTES)
    names = sorted(path.name for path in Path(job["root"]).iterdir())
    clips = pd.DataFrame({"id": names, "path": names, "label": "a"})
    spec = backbones.describe(job["backbone"])
    summary = extract(
        Manifest("birds", Path(job["root"]), clips),
        spec,
        lambda: backbones.load(job["backbone"], spec=spec),
        Settings(**settings),
        Path(job["cache"]),
        Told(stop, notes),
        share=Share.parse(job["share"]) if job.get("share") else None,
    )
    report = {"path": str(summary.path), "computed": summary.computed, "reused": summary.reused, "notes": notes}
    (stop.folder / "report.json").write_text(json.dumps(report))


def main() -> None:
    torch.set_num_threads(1)
    for options in json.loads(sys.argv[1]):  # what a backbone imports, its first clip imports too
        backbones.load(options).embed([np.zeros(30_000, dtype=np.float32)])
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                run(json.loads(line))
                code = 0
            except KeyboardInterrupt:
                code = 130
            finally:
                sys.stderr.flush()
                os._exit(code)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
