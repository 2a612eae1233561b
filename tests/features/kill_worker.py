"""Stage 1 in a process that a test can stop at a certain moment, kill, or continue."""

import json
import os
import time
from pathlib import Path

import pandas as pd

import features.extract
from features import backbones
from features.extract import extract
from features.inference.block import Batch
from features.inference.shard_writer import ShardWriter
from features.manifest import Manifest
from features.planning.run_shard import RunShard
from features.planning.settings import Settings
from features.store import shard_set

FSYNC, RMTREE, PUT = os.fsync, features.extract.shutil.rmtree, ShardWriter.put


class Stop:
    """Halts at the n-th call of a function until the file `go` exists or the process is killed."""

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


class StoppingProgress:
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
    """Run a job. Use a separate process: this patches functions of `os`, `shutil` and `ShardWriter`."""
    stop, notes = Stop(Path(job["folder"]), job["stop"]), []

    def fsync(descriptor: int) -> None:
        stop.at("fsync")
        FSYNC(descriptor)

    def rmtree(path: Path) -> None:
        stop.at("rmtree")
        RMTREE(path)

    def put(writer: ShardWriter, batch: Batch) -> None:
        PUT(writer, batch)
        stop.at("put")

    os.fsync, features.extract.shutil.rmtree, ShardWriter.put = fsync, rmtree, put
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
        StoppingProgress(stop, notes),
        run_shard=RunShard.parse(job["run_shard"]) if job.get("run_shard") else None,
    )
    report = {"path": str(summary.path), "computed": summary.computed, "reused": summary.reused, "notes": notes}
    (stop.folder / "report.json").write_text(json.dumps(report))
