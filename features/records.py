"""Many records of one kind, kept as columns: a tenth of the memory that as many objects take."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Generic, TypeVar, get_type_hints, overload

import numpy as np
import pyarrow as pa

R = TypeVar("R")
CHUNK = 1024  # records that are objects at a time
TYPES = {
    str: pa.large_string(),
    int: pa.int64(),
    bool: pa.bool_(),
    float: pa.float64(),
    float | None: pa.float64(),
}


class Records(Sequence[R], Generic[R]):
    """A sequence of dataclass instances, each made when it is asked for.

    Attributes:
        kind: The dataclass; its fields are texts and numbers, see `TYPES`.
        table: One column a field.
    """

    def __init__(self, kind: type[R], table: pa.Table) -> None:
        """Take over a table that has a column for each field.

        Raises:
            KeyError: It lacks one.
            pyarrow.ArrowException: A column's values are of another type.
        """
        self.kind = kind
        self.table = table.select(schema_of(kind).names).cast(schema_of(kind)).combine_chunks()
        self._columns = [column.chunk(0) if len(self.table) else column for column in self.table.columns]

    @classmethod
    def of(cls, kind: type[R], records: Iterable[R]) -> Records[R]:
        """Keep records that come one after the other."""
        return cls.of_pieces(kind, _pieces(schema_of(kind).names, iter(records)))

    @classmethod
    def of_pieces(cls, kind: type[R], pieces: Iterable[Mapping[str, Sequence[Any]]]) -> Records[R]:
        """Keep what `pieces` gave."""
        schema = schema_of(kind)
        batches = [pa.RecordBatch.from_pydict(dict(piece), schema) for piece in pieces]
        return cls(kind, pa.Table.from_batches(batches, schema))

    @classmethod
    def concat(cls, kind: type[R], parts: Iterable[Records[R]]) -> Records[R]:
        """The records of several."""
        return cls(kind, pa.concat_tables([schema_of(kind).empty_table(), *(part.table for part in parts)]))

    def __len__(self) -> int:
        """How many there are."""
        return len(self.table)

    @overload
    def __getitem__(self, at: int) -> R: ...
    @overload
    def __getitem__(self, at: slice) -> list[R]: ...
    def __getitem__(self, at: int | slice) -> R | list[R]:
        """One record, or some (which is faster than one by one)."""
        if isinstance(at, slice):
            start, stop, step = at.indices(len(self))
            if step != 1:
                return [self[position] for position in range(start, stop, step)]
            columns = (column.slice(start, max(0, stop - start)).to_pylist() for column in self._columns)
            return [self.kind(*values) for values in zip(*columns, strict=True)]
        position = range(len(self))[at]
        return self.kind(*(column[position].as_py() for column in self._columns))

    def __iter__(self) -> Iterator[R]:
        """All of them, in order."""
        for first in range(0, len(self), CHUNK):
            yield from self[first : first + CHUNK]

    def pieces(self) -> Iterator[dict[str, list[Any]]]:
        """All of them by field, some hundreds at a time."""
        for batch in self.table.to_batches(CHUNK):
            yield batch.to_pydict()

    def __eq__(self, other: object) -> bool:
        """Whether the records are the same, in the same order."""
        if not isinstance(other, Records):
            return NotImplemented
        return self.kind is other.kind and self.table.equals(other.table)

    __hash__ = None  # type: ignore[assignment]

    def texts(self, name: str) -> pa.Array:
        """One field of all records."""
        return self.table[name].combine_chunks()

    def numbers(self, name: str) -> np.ndarray:
        """A field that is a number, of all records; NaN for None. May be a read-only view."""
        values = self.table[name].combine_chunks()
        # `to_numpy` imports pandas, which those who only list cache files do without
        return values.to_numpy(zero_copy_only=False) if values.null_count else np.from_dlpack(values)

    def take(self, positions: Sequence[int] | np.ndarray | pa.Array) -> Records[R]:
        """Some of them, in another order."""
        if not isinstance(positions, pa.Array):
            positions = np.asarray(positions, np.int64)
        return Records(self.kind, self.table.take(positions))

    def replace(self, **columns: Any) -> Records[R]:
        """The same records with some fields of all of them changed."""
        table = self.table
        for name, values in columns.items():
            place = table.schema.get_field_index(name)
            table = table.set_column(
                place, table.schema.field(name), pa.chunked_array([values], table.schema.types[place])
            )
        return Records(self.kind, table)


def release_memory() -> None:
    """Give back to the system what is free: Arrow's allocator and that of glibc would keep it."""
    pa.default_memory_pool().release_unused()
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)


def _pieces(names: Sequence[str], records: Iterator[Any]) -> Iterator[dict[str, list[Any]]]:
    """Records by field, `CHUNK` at a time."""
    while piece := list(islice(records, CHUNK)):
        yield {name: [getattr(record, name) for record in piece] for name in names}


def schema_of(kind: type) -> pa.Schema:
    """The columns that a dataclass is kept in."""
    return pa.schema([(name, TYPES[hint]) for name, hint in get_type_hints(kind).items()])
