"""Store finished blocks of a prediction next to its output file, so that an interrupted run can continue."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.errors import RunError
from features.system.atomic_write import atomic_write
from features.system.locks import CacheLock
from pipeline.results.run_folder import write_json

ABOUT = "model.json"


class Parts:
    """The folder `<output>.parts/` with outputs by content key, used during a run in a `with` block.

    Outputs are matched by audio content, so files may be added, moved or changed between runs.
    """

    def __init__(self, output: Path, digest: str, note: Callable[[str], None]) -> None:
        """Set the folder without creating it.

        Args:
            output: The output file of the prediction.
            digest: Digest of everything that affects outputs; parts with another digest are deleted.
            note: Callback for messages on deleted parts.
        """
        self.folder = output.with_name(f"{output.name}.parts")
        self.done: dict[str, np.ndarray] = {}
        self._digest = digest
        self._note = note
        self._lock = CacheLock(self.folder, note)
        self._number = 0

    def __enter__(self) -> Parts:
        """Read the blocks that an earlier run finished.

        Raises:
            RunError: The folder cannot be written.
        """
        if not _writable(self.folder.parent):
            raise RunError(f"cannot write in {self.folder.parent}; choose another output file")
        self._lock.__enter__()
        try:
            about = self.folder / ABOUT
            if self.folder.exists() and _stated(about) != self._digest:
                self._note(f"{self.folder}: from another model or other options; discarded, starting over")
                shutil.rmtree(self.folder)
            self.folder.mkdir(exist_ok=True)
            write_json(about, self._digest)
        except (OSError, ValueError) as error:
            raise RunError(f"cannot write {self.folder} ({error}); choose another output file") from error
        for path in sorted(self.folder.glob("part-*.parquet")):
            self._number = max(self._number, int(path.stem.removeprefix("part-")) + 1)
            self.done |= _read(path)
        return self

    def add(self, keys: Sequence[str], outputs: np.ndarray) -> None:
        """Store a finished block.

        Raises:
            RunError: It cannot be written.
        """
        path = self.folder / f"part-{self._number:06d}.parquet"
        table = pa.table({"key": list(keys), "outputs": list(outputs)})
        try:
            with atomic_write(path) as temporary:
                pq.write_table(table, temporary, write_page_checksum=True)
        except OSError as error:
            raise RunError(f"cannot write {path} ({error.strerror or error}); finished blocks are kept") from error
        self._number += 1

    def remove(self) -> None:
        """Remove all parts after the output has been written."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the folder; after a finished run, also remove the lock file."""
        self._lock.__exit__(kind, error, trace)
        if not self.folder.exists():
            self._lock.path.unlink(missing_ok=True)


def _stated(about: Path) -> object:
    """Return the digest of the run that left the folder; None if it is missing or damaged."""
    try:
        return json.loads(about.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def _writable(folder: Path) -> bool:
    """Return whether files can be created in a folder, which is created if missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def _read(path: Path) -> dict[str, np.ndarray]:
    """Return the outputs of a part by content key; a damaged part counts as empty."""
    try:
        columns = pq.read_table(path, page_checksum_verification=True).to_pydict()
        pairs = zip(columns["key"], columns["outputs"], strict=True)
        return {key: np.array(values, np.float32) for key, values in pairs}
    except Exception:  # a damaged file can raise anything
        path.unlink(missing_ok=True)
        return {}
