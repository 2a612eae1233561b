"""Files of one model's fits, a pair for each fold and seed; finished fits are read instead of trained again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from features.errors import WeightsError, first_line
from features.system.atomic_write import atomic_write, remove_leftovers
from heads.finetuning.checkpoint import TrainingState
from heads.finetuning.finetune import FinetunedModel
from heads.finetuning.processes import is_main_process
from heads.splits.protocol import Split
from pipeline.finetune.file_format import METADATA
from pipeline.results.run_folder import file_name, read_json, write_json

JOB_FILE = "job"


class _Course(BaseModel):
    curves: list[dict[str, Any]]
    seconds: float


class _About(BaseModel):
    job: str
    params_total: int
    params_trained: int
    course: _Course
    probabilities: list[list[float]]
    valid_probabilities: list[list[float]] | None = None  # older versions did not write them


@dataclass(frozen=True)
class Finished:
    """One finished fit.

    Attributes:
        probabilities: Class probabilities of the test clips, (n_test, C) float32.
        valid_probabilities: Those of the validation clips, (n_valid, C) float32; None: an older version made the fit.
        state: The training state.
        params_total: Parameters of the network.
        params_trained: Trained parameters.
    """

    probabilities: np.ndarray
    valid_probabilities: np.ndarray | None
    state: TrainingState
    params_total: int
    params_trained: int


class FitFolder:
    """Files of one fit: `fold-1-seed-0.safetensors` and `.json`, and a folder of that name during training."""

    def __init__(self, folder: Path, split: Split, seed: int, job: str, *, needs_valid: bool = False) -> None:
        """Name the fit.

        Args:
            folder: Folder of the model.
            split: The fold.
            seed: The seed.
            job: Digest of everything that affects the result.
            needs_valid: Whether a fit without probabilities of the validation clips counts as unfinished.
        """
        self.job, self.needs_valid = job, needs_valid
        draw = f"-draw-{split.draw}" if split.draw else ""
        self.name = f"fold-{file_name(str(split.fold))}-seed-{seed}{draw}"
        self.weights = folder / f"{self.name}.safetensors"
        self._about = folder / f"{self.name}.json"
        self._working = folder / self.name

    def working(self) -> Path:
        """Create and return the folder of the running fit; files of another job in it are removed."""
        mark = self._working / JOB_FILE
        if not is_main_process():
            return self._working
        if self._working.exists() and not (mark.is_file() and mark.read_text() == self.job):
            shutil.rmtree(self._working)
        self._working.mkdir(parents=True, exist_ok=True)
        mark.write_text(self.job)
        return self._working

    def is_done(self) -> bool:
        """Return whether the fit is finished."""
        return self.read() is not None

    def read(self) -> Finished | None:
        """Read the finished fit; None if it is not finished, or belongs to another job."""
        about = read_json(self._about, _About)
        if about is None or about["job"] != self.job or not self.weights.is_file():
            return None
        valid = about.get("valid_probabilities")
        if valid is None and self.needs_valid:
            return None
        probabilities = np.array(about["probabilities"], dtype=np.float32)
        state = TrainingState(about["course"]["curves"], about["course"]["seconds"])
        kept = None if valid is None else np.array(valid, dtype=np.float32)
        return Finished(probabilities, kept, state, about["params_total"], about["params_trained"])

    def metadata(self) -> dict[str, Any]:
        """Return what the weights of the finished fit record.

        Raises:
            WeightsError: They are damaged.
        """
        try:
            with safe_open(self.weights, "pt") as file:
                recorded = (file.metadata() or {}).get(METADATA, "{}")
        except SafetensorError as error:
            raise WeightsError(f"{self.weights}: cannot be read: {first_line(error)}") from None
        found: dict[str, Any] = json.loads(recorded)
        return found

    def write(self, fitted: FinetunedModel, metadata: dict[str, str]) -> Finished:
        """Write the weights, then the JSON file, which marks the fit as finished. Only the main process writes.

        Args:
            fitted: The trained network and its results.
            metadata: Metadata of the weights file.
        """
        network, state = fitted.network, fitted.state
        sizes = network.parameters_total, network.parameters_trained
        finished = Finished(fitted.probabilities, fitted.valid_probabilities, state, *sizes)
        if not is_main_process():
            return finished
        remove_leftovers(self.weights.parent, self.weights.name)  # from interrupted runs
        weights = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in network.state_dict().items()}
        with atomic_write(self.weights) as temporary:
            save_file(weights, temporary, metadata)
        about = {
            "job": self.job,
            "params_total": finished.params_total,
            "params_trained": finished.params_trained,
            "course": {
                "epochs": state.epochs,
                "best_epoch": state.best_epoch,
                "best_loss": state.best_loss,
                "seconds": state.seconds,
                "curves": state.curves,
            },
            "probabilities": fitted.probabilities.tolist(),
            "valid_probabilities": fitted.valid_probabilities.tolist(),
        }
        write_json(self._about, about)
        shutil.rmtree(self._working, ignore_errors=True)
        return finished


def remove_others(folder: Path, kept: Sequence[FitFolder]) -> None:
    """Remove fits of folds and seeds that are no longer configured."""
    names = {fit.name for fit in kept}
    for path in folder.glob("fold-*-seed-*"):
        if path.name.removesuffix(".safetensors").removesuffix(".json") not in names:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
