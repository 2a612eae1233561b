"""The fits of one model, a file pair for each fold and seed: what is finished is read back, not trained again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from features.system.atomic_write import atomic_write, remove_leftovers
from heads.finetuning.checkpoint import Course
from heads.finetuning.finetune import Fitted, is_main_process
from heads.splits.protocol import Split
from pipeline.results.run_folder import file_name, write_json

JOB_FILE = "job"


@dataclass(frozen=True)
class Finished:
    """One finished fit.

    Attributes:
        probabilities: Of its test clips, (n_test, C) float32.
        course: How training went.
        params_total: Parameters of the network.
        params_trained: Those that learnt.
    """

    probabilities: np.ndarray
    course: Course
    params_total: int
    params_trained: int


class FitFolder:
    """Where one fit lies: `fold-1-seed-0.safetensors` and `.json`, and a folder of that name while it runs."""

    def __init__(self, folder: Path, split: Split, seed: int, job: str) -> None:
        """Name the fit; `job` is the digest of everything that decides its result."""
        self.job = job
        draw = f"-draw-{split.draw}" if split.draw else ""
        self.name = f"fold-{file_name(str(split.fold))}-seed-{seed}{draw}"
        self.weights = folder / f"{self.name}.safetensors"
        self._about = folder / f"{self.name}.json"
        self._working = folder / self.name

    def working(self) -> Path:
        """The folder of the running fit; what another job left there goes."""
        mark = self._working / JOB_FILE
        if not is_main_process():
            return self._working
        if self._working.exists() and not (mark.is_file() and mark.read_text() == self.job):
            shutil.rmtree(self._working)
        self._working.mkdir(parents=True, exist_ok=True)
        mark.write_text(self.job)
        return self._working

    def read(self) -> Finished | None:
        """The finished fit; None where it is not, or was of another job."""
        try:
            about = json.loads(self._about.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        if about.get("job") != self.job or not self.weights.is_file():
            return None
        probabilities = np.array(about["probabilities"], dtype=np.float32)
        return Finished(probabilities, Course(**about["course"]), about["params_total"], about["params_trained"])

    def write(self, fitted: Fitted) -> Finished:
        """Write weights, then the rest: the second makes it finished. Helping processes write nothing."""
        network = fitted.network
        finished = Finished(fitted.probabilities, fitted.course, network.parameters_total, network.parameters_trained)
        if not is_main_process():
            return finished
        remove_leftovers(self.weights.parent, self.weights.name)  # of killed runs
        with atomic_write(self.weights) as temporary:
            shutil.copyfile(fitted.weights, temporary)
        about = {
            "job": self.job,
            "params_total": finished.params_total,
            "params_trained": finished.params_trained,
            "course": asdict(finished.course),
            "probabilities": finished.probabilities.tolist(),
        }
        write_json(self._about, about)
        shutil.rmtree(self._working, ignore_errors=True)
        return finished


def remove_others(folder: Path, kept: Sequence[FitFolder]) -> None:
    """Remove fits of folds and seeds that are no longer asked for."""
    names = {fit.name for fit in kept}
    for path in folder.glob("fold-*-seed-*"):
        if path.name.removesuffix(".safetensors").removesuffix(".json") not in names:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
