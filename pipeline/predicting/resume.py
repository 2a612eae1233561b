"""Finished blocks of a prediction, beside its output file: an interrupted run goes on from them."""

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
    """`<output>.parts/` while a run is under way: outputs by content key. Use in a `with` block.

    Outputs are joined by the audio's content, so files may be added, moved or changed between two runs.
    """

    def __init__(self, output: Path, digest: str, note: Callable[[str], None]) -> None:
        """Name the folder.

        Args:
            output: The file that the outputs are for.
            digest: Of everything that decides an output; parts of another one go.
            note: Told of parts that go.
        """
        self.folder = output.with_name(f"{output.name}.parts")
        self.done: dict[str, np.ndarray] = {}
        self._digest = digest
        self._note = note
        self._lock = CacheLock(self.folder, note)
        self._number = 0

    def __enter__(self) -> Parts:
        """Read what an earlier run finished.

        Raises:
            RunError: The folder cannot be written.
        """
        if not _writable(self.folder.parent):
            raise RunError(f"cannot write in {self.folder.parent}; name another output file")
        self._lock.__enter__()
        try:
            about = self.folder / ABOUT
            if self.folder.exists() and not (about.is_file() and json.loads(about.read_text()) == self._digest):
                self._note(f"{self.folder}: of another model or other options, begun anew")
                shutil.rmtree(self.folder)
            self.folder.mkdir(exist_ok=True)
            write_json(about, self._digest)
        except (OSError, ValueError) as error:
            raise RunError(f"cannot write {self.folder} ({error}); name another output file") from error
        for path in sorted(self.folder.glob("part-*.parquet")):
            self._number = max(self._number, int(path.stem.removeprefix("part-")) + 1)
            self.done |= _read(path)
        return self

    def add(self, keys: Sequence[str], outputs: np.ndarray) -> None:
        """Keep a finished block.

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
        """The output is written: nothing here is needed any more."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of the folder; the lock's file goes with it where the run is over."""
        self._lock.__exit__(kind, error, trace)
        if not self.folder.exists():
            self._lock.path.unlink(missing_ok=True)


def _writable(folder: Path) -> bool:
    """Whether files can be made in a folder, which is made where it is not there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def _read(path: Path) -> dict[str, np.ndarray]:
    """A part's outputs by content key; a damaged one is as good as none."""
    try:
        columns = pq.read_table(path, page_checksum_verification=True).to_pydict()
        pairs = zip(columns["key"], columns["outputs"], strict=True)
        return {key: np.array(values, np.float32) for key, values in pairs}
    except Exception:  # a damaged file can raise anything
        path.unlink(missing_ok=True)
        return {}
