"""Division of rows into consecutive slices, so that memory does not grow with their number."""

from __future__ import annotations

from collections.abc import Iterator


def row_slices(n_rows: int, size: int) -> Iterator[slice]:
    """Yield consecutive slices of `size` rows, at least one each; the last one may have fewer."""
    size = max(1, size)
    for start in range(0, n_rows, size):
        yield slice(start, min(start + size, n_rows))
