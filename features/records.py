"""Many records of one kind, stored as columns: they take a tenth of the memory of as many objects."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Generic, TypeVar, get_type_hints, overload

import numpy as np
import pyarrow as pa

R = TypeVar("R")
CHUNK = 1024  # records converted to objects at a time
TYPES = {
    str: pa.large_string(),
    int: pa.int64(),
    bool: pa.bool_(),
    float: pa.float64(),
    float | None: pa.float64(),
}


class Records(Sequence[R], Generic[R]):
    """A sequence of dataclass instances that are created on access.

    Attributes:
        kind: The dataclass; its fields are text and numbers, see `TYPES`.
        table: One column per field.
    """

    def __init__(self, kind: type[R], table: pa.Table) -> None:
        """Wrap a table that has a column for each field.

        Raises:
            KeyError: A column is missing.
            pyarrow.ArrowException: A column has another type.
        """
        self.kind = kind
        self.table = table.select(schema_of(kind).names).cast(schema_of(kind)).combine_chunks()
        self._columns = [column.chunk(0) if len(self.table) else column for column in self.table.columns]

    @classmethod
    def of(cls, kind: type[R], records: Iterable[R]) -> Records[R]:
        """Store the records of an iterable."""
        return cls.of_pieces(kind, _pieces(schema_of(kind).names, iter(records)))

    @classmethod
    def of_pieces(cls, kind: type[R], pieces: Iterable[Mapping[str, Sequence[Any]]]) -> Records[R]:
        """Store records given in pieces, each a mapping from field to values, as from `pieces`."""
        schema = schema_of(kind)
        batches = [pa.RecordBatch.from_pydict(dict(piece), schema) for piece in pieces]
        return cls(kind, pa.Table.from_batches(batches, schema))

    @classmethod
    def concat(cls, kind: type[R], parts: Iterable[Records[R]]) -> Records[R]:
        """Concatenate several sequences of records."""
        return cls(kind, pa.concat_tables([schema_of(kind).empty_table(), *(part.table for part in parts)]))

    def __len__(self) -> int:
        """Number of records."""
        return len(self.table)

    @overload
    def __getitem__(self, at: int) -> R: ...
    @overload
    def __getitem__(self, at: slice) -> list[R]: ...
    def __getitem__(self, at: int | slice) -> R | list[R]:
        """Return one record, or a list of records for a slice, which is faster than one by one."""
        if isinstance(at, slice):
            start, stop, step = at.indices(len(self))
            if step != 1:
                return [self[position] for position in range(start, stop, step)]
            columns = (column.slice(start, max(0, stop - start)).to_pylist() for column in self._columns)
            return [self.kind(*values) for values in zip(*columns, strict=True)]
        position = range(len(self))[at]
        return self.kind(*(column[position].as_py() for column in self._columns))

    def __iter__(self) -> Iterator[R]:
        """Iterate over all records in order."""
        for first in range(0, len(self), CHUNK):
            yield from self[first : first + CHUNK]

    def pieces(self) -> Iterator[dict[str, list[Any]]]:
        """Yield all records as mappings from field to values, up to `CHUNK` records at a time."""
        for batch in self.table.to_batches(CHUNK):
            yield batch.to_pydict()

    def __eq__(self, other: object) -> bool:
        """Whether the records are the same, in the same order."""
        if not isinstance(other, Records):
            return NotImplemented
        return self.kind is other.kind and self.table.equals(other.table)

    __hash__ = None  # type: ignore[assignment]

    def texts(self, name: str) -> pa.Array:
        """Return a field of all records as an Arrow array."""
        return self.table[name].combine_chunks()

    def numbers(self, name: str) -> np.ndarray:
        """Return a numeric field of all records, (N,); NaN for None. It may be a read-only view."""
        values = self.table[name].combine_chunks()
        # `to_numpy` imports pandas, which commands that only list cache files do not need
        return values.to_numpy(zero_copy_only=False) if values.null_count else np.from_dlpack(values)

    def take(self, positions: Sequence[int] | np.ndarray | pa.Array) -> Records[R]:
        """Return the records at some positions, in that order."""
        if not isinstance(positions, pa.Array):
            positions = np.asarray(positions, np.int64)
        return Records(self.kind, self.table.take(positions))

    def replace(self, **columns: Any) -> Records[R]:
        """Return the records with some columns replaced."""
        table = self.table
        for name, values in columns.items():
            at = table.schema.get_field_index(name)
            table = table.set_column(at, table.schema.field(name), pa.chunked_array([values], table.schema.types[at]))
        return Records(self.kind, table)


def release_memory() -> None:
    """Return free memory to the system, which the allocators of Arrow and glibc would keep."""
    pa.default_memory_pool().release_unused()
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)


def _pieces(names: Sequence[str], records: Iterator[Any]) -> Iterator[dict[str, list[Any]]]:
    """Yield records as mappings from field to values, `CHUNK` at a time."""
    while piece := list(islice(records, CHUNK)):
        yield {name: [getattr(record, name) for record in piece] for name in names}


def schema_of(kind: type) -> pa.Schema:
    """Return the Arrow schema in which a dataclass is stored."""
    return pa.schema([(name, TYPES[hint]) for name, hint in get_type_hints(kind).items()])
