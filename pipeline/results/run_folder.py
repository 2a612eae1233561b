"""`runs/<name>/`: what each stage leaves there and how the next one finds it.

config.yaml  manifest.csv  features.json  failures.json  labels.json  predictions.parquet
models/<model>/<head>/     fit.json  predictions.parquet  the trained weights
report/
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from features.errors import RunError, UserError
from features.store.fingerprint import canonical_json
from features.system.atomic_write import atomic_write

FIT_FILE = "fit.json"
PREDICTIONS_FILE = "predictions.parquet"


@dataclass(frozen=True)
class Fit:
    """One trained model of a run: what it is (`about`, see `fit.json`) and its long table of predictions."""

    folder: Path
    about: dict[str, Any]
    predictions: pd.DataFrame


def fit_folder(run_dir: Path, model: str, head: str) -> Path:
    """Where one model's results lie."""
    return run_dir / "models" / model / head


def job_digest(job: Mapping[str, Any]) -> str:
    """SHA-256 of everything that decides a fit's result; equal digests need no second training."""
    return hashlib.sha256(canonical_json(job).encode()).hexdigest()


def is_done(folder: Path, job: str) -> bool:
    """Whether a fit with this job's digest is complete."""
    about = read_json(folder / FIT_FILE)
    return about is not None and about.get("job") == job and (folder / PREDICTIONS_FILE).is_file()


def start_fit(folder: Path) -> None:
    """Make room for a fit: an earlier one with another job goes."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)


def finish_fit(folder: Path, about: Mapping[str, Any], predictions: pd.DataFrame) -> None:
    """Write a fit's predictions, then what it is: the second makes it complete.

    Args:
        folder: From `fit_folder`.
        about: JSON values; `job` is the digest.
        predictions: The long table of one model.
    """
    write_whole(folder / PREDICTIONS_FILE, lambda path: predictions.to_parquet(path, index=False))
    write_json(folder / FIT_FILE, about)


def read_fit(folder: Path, what: str, command: str) -> Fit:
    """A complete fit.

    Raises:
        UserError: There is none; the message names `what` is missing and the `command` that makes it.
    """
    about = read_json(folder / FIT_FILE)
    if about is None or not (folder / PREDICTIONS_FILE).is_file():
        raise UserError(f"{what} is not trained yet; run `{command}`")
    return Fit(folder, about, pd.read_parquet(folder / PREDICTIONS_FILE))


def write_predictions(run_dir: Path, fits: Sequence[Fit], labels: Sequence[str]) -> None:
    """Write the run's `predictions.parquet` and `labels.json` (label order of the probabilities)."""
    table = pd.concat([fit.predictions for fit in fits], ignore_index=True)
    write_whole(run_dir / PREDICTIONS_FILE, lambda path: table.to_parquet(path, index=False))
    write_json(run_dir / "labels.json", list(labels))


def file_name(text: str) -> str:
    """A text as a file name: itself where it can be one, else with a digest that tells it from others."""
    safe = re.sub(r"[^\w.+-]", "_", text)[:80]
    return text if safe == text else f"{safe}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def write_json(path: Path, value: Any) -> None:
    """Write JSON in one step."""
    text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def read_features_index(run_dir: Path) -> dict[str, Any]:
    """`features.json`: by backbone label, the settings stage 1 ran with and the cache file it made."""
    return read_json(run_dir / "features.json") or {}


def write_features_index(run_dir: Path, label: str, entry: Mapping[str, Any]) -> None:
    """Add or replace one backbone's entry."""
    write_json(run_dir / "features.json", {**read_features_index(run_dir), label: dict(entry)})


def read_json(path: Path) -> dict[str, Any] | None:
    """A file's JSON; None where there is no such file, or it holds none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file whole or not at all, in a folder that is made where it is missing.

    Args:
        path: The file.
        write: Writes it to the path it is called with.

    Raises:
        RunError: It cannot be written; what was there before is unchanged.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary:
            write(temporary)
    except OSError as error:
        raise RunError(f"cannot write {path} ({error.strerror or error})") from error
