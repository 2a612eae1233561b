"""Audio in the rows of Parquet files. A row group is decompressed once into a temporary file, from which rows are read.

Parquet stores a column in compressed pages, so that a row cannot be read at its position. At most `MOST_BYTES` of
row groups are kept. Only one row group is decompressed at a time, because its pages can be as large as the row group.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from features.audio.containers.arrow import bytes_of
from features.audio.containers.kept import KeptIndexes
from features.audio.containers.member import Member
from features.audio.containers.rows import parse_row_name
from features.audio.scratch import RecentlyUsed, ScratchFile
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
    stat = container.stat()
    with _row_groups.using((str(container), stat.st_size, stat.st_mtime_ns, column, group)) as held:
        value = held.read(container, column, group, row - int(starts[group]))
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


class _RowGroup:
    """One row group in a temporary file."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._file: ScratchFile | None = None
        self._places: list[tuple[int, int] | None] = []

    @property
    def size(self) -> int:
        return self._file.size if self._file is not None else 0

    def read(self, container: Path, column: str, group: int, row: int) -> bytes | None:
        """Return the audio of one row."""
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
            if place is None or self._file is None:
                return None
            try:
                return bytes(self._file.read(*place))
            except OSError as error:
                raise AudioError(f"cannot be read: {error}") from error

    def _fill(self, values: Iterator[bytes | None]) -> None:
        self._file = ScratchFile()
        for value in values:
            self._places.append(None if value is None else (self._file.size, len(value)))
            self._file.append(value or b"")

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file, self._places = None, []


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
_row_groups = RecentlyUsed(_RowGroup, MOST_BYTES)
