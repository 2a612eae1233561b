"""Audio in the rows of Arrow files, as `datasets` saves them: rows are read at their position in the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from features.audio.containers.kept import KeptIndexes
from features.audio.containers.member import Member
from features.audio.containers.rows import parse_row_name
from features.errors import AudioError


def find(container: Path, member: str) -> Member | None:
    """Return the audio of a row; None if there is no such row or it holds no bytes.

    Raises:
        AudioError: The file is damaged or compressed.
    """
    named = parse_row_name(member)
    if named is None:
        return None
    column, row = named
    places = _indexes.get(container, column)
    if row >= len(places) or places[row, 0] < 0:
        return None
    return Member(member, (container, int(places[row, 0]), int(places[row, 1])))


def batches(source: Any) -> Any:
    """Yield the record batches of an open Arrow file, which is a stream or has a footer.

    Raises:
        pyarrow.ArrowException: The file is damaged.
    """
    import pyarrow as pa

    try:
        reader = pa.ipc.open_file(source)
    except pa.ArrowInvalid:
        source.seek(0)
        yield from pa.ipc.open_stream(source)
        return
    for number in range(reader.num_record_batches):
        yield reader.get_batch(number)


def bytes_of(column: Any) -> Any:
    """Return the binary array in a column: the column itself, or its field `bytes`; None if there is none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_struct(column.type):
        names = [field.name for field in column.type]
        column = pc.struct_field(column, "bytes") if "bytes" in names else None  # null where the struct is
    if column is None or not (pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)):
        return None
    return column


def _places(container: Path, column: str) -> np.ndarray:
    """Return start and stop of each row's bytes in the file, (N, 2) int64; -1 where a row has none."""
    import pyarrow as pa

    found = [np.empty((0, 2), np.int64)]
    try:
        with pa.memory_map(str(container)) as mapped:
            base, size = mapped.read_buffer(mapped.size()).address, mapped.size()
            mapped.seek(0)
            for batch in batches(mapped):
                if column not in batch.schema.names or (array := bytes_of(batch.column(column))) is None:
                    raise AudioError(f"{container.name} has no audio bytes in a column {column!r}")
                found.append(_places_of(array, base, size, container.name))
    except pa.ArrowException as error:
        raise AudioError(f"{container.name} cannot be read as Arrow ({str(error).splitlines()[0]})") from None
    return np.concatenate(found)


def _places_of(array: Any, base: int, size: int, name: str) -> np.ndarray:
    """Return start and stop of each value of a binary array whose buffers are views of a file at address `base`."""
    import pyarrow as pa

    n_rows = len(array)
    _, offsets, values = array.buffers()
    if not n_rows or values is None:
        return np.full((n_rows, 2), -1, np.int64)
    wide = pa.types.is_large_binary(array.type)
    ends = np.frombuffer(offsets, np.int64 if wide else np.int32)[array.offset : array.offset + n_rows + 1]
    first = values.address - base
    if not 0 <= first <= size - values.size:
        raise AudioError(f"{name} is a compressed Arrow file; save it without compression or as Parquet")
    ends = ends.astype(np.int64) + first
    places = np.stack([ends[:-1], ends[1:]], axis=1)
    if array.null_count:
        places[array.is_null().to_numpy(zero_copy_only=False)] = -1
    return places


_indexes = KeptIndexes(_places)
