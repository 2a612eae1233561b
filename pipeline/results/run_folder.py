"""`runs/<name>/`: files that the stages write and read.

config.yaml  manifest.csv  features.json  failures.json  labels.json  predictions.parquet
models/<model>/<head>/     fit.json  predictions.parquet  the trained weights
report/
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.errors import RunError, UserError
from features.json_files import try_object
from features.store.fingerprint import canonical_json
from features.system.atomic_write import Sync, atomic_write
from pipeline.results.prediction_files import write_tables

if TYPE_CHECKING:
    import pyarrow as pa

FIT_FILE = "fit.json"
PREDICTIONS_FILE = "predictions.parquet"


def fit_folder(run_dir: Path, model: str, head: str) -> Path:
    """Return the folder of one model's results."""
    return run_dir / "models" / model / head


def job_digest(job: Mapping[str, Any]) -> str:
    """Return the SHA-256 of everything that determines a fit's result; fits with equal digests are reused."""
    return hashlib.sha256(canonical_json(job).encode()).hexdigest()


def is_done(folder: Path, job: str) -> bool:
    """Return whether a fit with this job's digest is complete."""
    about = read_json(folder / FIT_FILE)
    return about is not None and about.get("job") == job and (folder / PREDICTIONS_FILE).is_file()


def start_fit(folder: Path) -> None:
    """Create an empty folder for a fit; an earlier fit in it is deleted."""
    (folder / FIT_FILE).unlink(missing_ok=True)  # first, so that no reader takes new weights for the old fit's
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)


def finish_fit(folder: Path, about: Mapping[str, Any], predictions: pa.Table) -> None:
    """Write a fit's predictions, and then its metadata, which marks it as complete.

    Args:
        folder: From `fit_folder`.
        about: JSON values; `job` is the digest.
        predictions: The predictions of one model, from `heads.evaluation.prediction_table.to_table`.

    Raises:
        RunError: A file cannot be written.
    """
    write_whole(folder / PREDICTIONS_FILE, lambda path: write_tables(path, predictions.schema, [predictions]))
    write_json(folder / FIT_FILE, about)


def read_about(folder: Path, what: str, command: str) -> dict[str, Any]:
    """Read the metadata of a complete fit, without its predictions.

    Args:
        folder: From `fit_folder`.
        what: Name of the fit, for the message.
        command: Command that trains it, for the message.

    Raises:
        UserError: The fit is not complete.
    """
    about = read_json(folder / FIT_FILE)
    if about is None or not (folder / PREDICTIONS_FILE).is_file():
        raise UserError(f"{what} is not trained yet; run `{command}`")
    return about


def weights_file(folder: Path, fold: int | str, seed: int, draw: int) -> Path:
    """Return the file of one fit's weights in the folder of its model."""
    return folder / f"fold-{file_name(str(fold))}-seed-{seed}{f'-draw-{draw}' if draw else ''}.safetensors"


def file_name(text: str) -> str:
    """Convert a text to a file name; replaced characters are made up for by a digest, so that names stay unique."""
    safe = re.sub(r"[^\w.+-]", "_", text)[:80]
    return text if safe == text else f"{safe}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically.

    Raises:
        RunError: The file cannot be written.
    """
    text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_text(path: Path, text: str) -> None:
    """Write text atomically; characters that UTF-8 cannot store are replaced.

    Raises:
        RunError: The file cannot be written.
    """
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8", errors="replace"))


def read_json(path: Path, schema: Any = None) -> dict[str, Any] | None:
    """Read a JSON object; return None if the file does not exist, is damaged or does not fit the schema.

    Reading a key that it lacks raises `UserError`, which names the file and the key.
    """
    return try_object(path, schema)


def write_whole(path: Path, write: Callable[[Path], object], *, sync: Sync = "file") -> None:
    """Write a file atomically; a missing folder is created.

    Args:
        path: The file.
        write: Function that writes the contents to the path it is given.
        sync: See `atomic_write`.

    Raises:
        RunError: The file cannot be written; an existing file is unchanged.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path, sync=sync) as temporary:
            write(temporary)
    except OSError as error:
        raise RunError(f"cannot write {path} ({error.strerror or error})") from error
