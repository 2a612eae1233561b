"""Audio in the rows of Parquet files. A row group is decompressed once into a temporary file, from which rows are read.

Parquet stores a column in compressed pages, so that a row cannot be read at its position. At most `MOST_BYTES` of
row groups are kept. Only one row group is decompressed at a time, because its pages can be as large as the row group.
"""

from __future__ import annotations

import os
import tempfile
import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from features.audio.containers.arrow import bytes_of
from features.audio.containers.kept import KeptIndexes
from features.audio.containers.member import Member
from features.audio.containers.rows import parse_row_name
from features.errors import AudioError

MOST_BYTES = 4 << 30  # decompressed row groups kept in temporary files
BATCH_ROWS = 8  # rows decompressed at a time
READ_BYTES = 1 << 20  # compressed bytes read at a time


def find(container: Path, member: str) -> Member | None:
    """Return the audio of a row; None if there is no such row or it holds no bytes.

    Raises:
        AudioError: The file is damaged.
    """
    named = parse_row_name(member)
    if named is None:
        return None
    column, row = named
    starts = _starts.get(container)
    group = int(np.searchsorted(starts, row, "right")) - 1
    if row >= starts[-1]:
        return None
    value = _row_groups.read(container, column, group, row - int(starts[group]))
    return None if value is None else Member(member, value)


def values_of(container: Path, column: str, group: int) -> Iterator[bytes | None]:
    """Yield the audio of each row of a row group; few rows are in memory at a time.

    Raises:
        AudioError: The file is damaged or has no such column.
    """
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(container, buffer_size=READ_BYTES, pre_buffer=False) as file:
            field = file.schema_arrow.field(column) if column in file.schema_arrow.names else None
            if field is None:
                raise AudioError(f"{container.name} has no column {column!r}")
            leaf = f"{column}.bytes" if pa.types.is_struct(field.type) else column
            for batch in file.iter_batches(BATCH_ROWS, row_groups=[group], columns=[leaf], use_threads=False):
                if not batch.num_columns or (array := bytes_of(batch.column(0))) is None:
                    raise AudioError(f"{container.name} has no audio bytes in the column {column!r}")
                yield from (value.as_py() for value in array)
    except pa.ArrowException as error:
        raise AudioError(f"{container.name} cannot be read as Parquet ({str(error).splitlines()[0]})") from None


class _RowGroups:
    """The row groups that were decompressed last. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._groups: OrderedDict[tuple[Any, ...], _RowGroup] = OrderedDict()

    def read(self, container: Path, column: str, group: int, row: int) -> bytes | None:
        """Return the audio of one row of a row group."""
        stat = container.stat()
        key = str(container), stat.st_size, stat.st_mtime_ns, column, group
        with self._lock:
            held = self._groups.setdefault(key, _RowGroup())
            self._groups.move_to_end(key)
            held.users += 1
        try:
            return held.read(container, column, group, row)
        finally:
            with self._lock:
                held.users -= 1
                self._make_room()

    def _make_room(self) -> None:
        """Remove the least recently used row groups until the limit is met."""
        size = sum(held.size for held in self._groups.values())
        for key, held in list(self._groups.items()):
            if size <= MOST_BYTES:
                return
            if not held.users:
                size -= held.size
                self._groups.pop(key).close()


class _RowGroup:
    """One row group in a temporary file without a name."""

    def __init__(self) -> None:
        self.users = 0
        self.size = 0
        self._lock = threading.Lock()
        self._file: Any = None
        self._places: list[tuple[int, int] | None] = []

    def read(self, container: Path, column: str, group: int, row: int) -> bytes | None:
        with self._lock:
            try:
                if self._file is None:
                    with _decompressing:
                        self._fill(values_of(container, column, group))
            except OSError:  # no space for temporary files: decompress again for each row
                self.close()
                return next(value for at, value in enumerate(values_of(container, column, group)) if at == row)
            except BaseException:
                self.close()
                raise
            place = self._places[row]
            return None if place is None else self._stored(*place)

    def _fill(self, values: Iterator[bytes | None]) -> None:
        self._file = tempfile.TemporaryFile(prefix="audioheads-", buffering=0)  # noqa: SIM115 (closed below)
        weakref.finalize(self, self._file.close)  # also when the process ends
        for value in values:
            self._places.append(None if value is None else (self.size, len(value)))
            left = memoryview(value or b"")
            while left:
                left = left[self._file.write(left) :]
            self.size += len(value or b"")

    def _stored(self, start: int, size: int) -> bytes:
        self._file.seek(start)
        value = bytearray(size)
        left = memoryview(value)
        while left:
            if not (got := self._file.readinto(left)):
                raise AudioError("cannot be read: a temporary file is shorter than expected")
            left = left[got:]
        self._file.seek(0, os.SEEK_END)
        return bytes(value)

    def close(self) -> None:
        """Remove the temporary file."""
        if self._file is not None:
            self._file.close()
        self._file, self._places, self.size = None, [], 0


def _group_starts(container: Path) -> np.ndarray:
    """Return the first row of each row group, and the number of rows, (G+1,)."""
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(container) as file:
            about = file.metadata
            counts = [about.row_group(number).num_rows for number in range(about.num_row_groups)]
    except (pa.ArrowException, OSError) as error:
        raise AudioError(f"{container.name} cannot be read as Parquet ({str(error).splitlines()[0]})") from None
    return np.cumsum([0, *counts])


_starts = KeptIndexes(_group_starts)
_decompressing = threading.Lock()
_row_groups = _RowGroups()
