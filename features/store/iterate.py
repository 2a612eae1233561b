"""Read embeddings in pieces, in stored order, for caches larger than memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from features.store.layered import rows_per_chunk
from features.store.table import EmbeddingTable

PIECE_BYTES = 1 << 26


@dataclass(frozen=True)
class Chunk:
    """Some clips of a table.

    Attributes:
        rows: (n,) their rows in the table.
        pooled: pooling -> (n, L, D) float32, whatever the stored type.
        frames: n arrays (F, L, D); None if not requested.
    """

    rows: np.ndarray
    pooled: dict[str, np.ndarray]
    frames: list[np.ndarray] | None


def stored_order(table: EmbeddingTable, rows: np.ndarray) -> np.ndarray:
    """Return rows in the order in which `stream` yields them."""
    return rows[np.lexsort((table.locations.row[rows], table.locations.shard_number[rows]))]


def stream(
    table: EmbeddingTable,
    rows: np.ndarray,
    poolings: Sequence[str],
    layers: Sequence[int] | None = None,
    *,
    frames: bool = False,
    piece_bytes: int = PIECE_BYTES,
) -> Iterator[Chunk]:
    """Yield embeddings of some rows, in `stored_order`.

    Args:
        table: A verified cache; pieces are not checked again.
        rows: Rows of the table.
        poolings: Pooling methods to read.
        layers: Positions among the table's layers (for frames: among the layers stored for frames); None for all.
        frames: Whether to read frames too.
        piece_bytes: Approximate bytes read at a time; one clip's frames are always read at once.

    Raises:
        CacheError: A file is missing or damaged.
    """
    take = slice(None) if layers is None else list(layers)
    ordered = stored_order(table, rows)
    shard_numbers = table.locations.shard_number[ordered]
    for number in dict.fromkeys(shard_numbers.tolist()):
        with table.opened(number) as file:
            held = rows_per_chunk(file[f"embeddings/{poolings[0]}"]) if poolings else 1
            for piece in _pieces(table, ordered[shard_numbers == number], piece_bytes, frames, held):
                at = table.locations.row[piece]
                first, last = int(at[0]), int(at[-1]) + 1
                pooled = {
                    name: file[f"embeddings/{name}"][first:last][at - first][:, take].astype(np.float32, copy=False)
                    for name in poolings
                }
                kept = None
                if frames:
                    values, starts = file["frames/values"], table.locations.first_frame[piece]
                    kept = [
                        values[int(start) : int(start + length)][:, take]
                        for start, length in zip(starts, table.n_frames[piece], strict=True)
                    ]
                yield Chunk(piece, pooled, kept)


def _pieces(table: EmbeddingTable, rows: np.ndarray, piece_bytes: int, frames: bool, held: int) -> Iterator[np.ndarray]:
    """Split rows of one file so that the span from the first to the last row of a piece is about `piece_bytes`.

    Pieces end between chunks of `held` rows, if they are longer than that: no chunk is then read twice.
    """
    row_bytes = 4 * len(table.spec.layers) * table.spec.dim * max(1, len(table.poolings))
    stored = table.locations.row[rows].astype(np.int64)
    costs = stored * row_bytes
    if frames:
        kept = table.cache_spec["frames"]
        frame_bytes = np.dtype(kept["dtype"]).itemsize * len(kept["layers"]) * table.spec.dim
        costs = costs + np.cumsum(table.n_frames[rows], dtype=np.int64) * frame_bytes
    start = 0
    while start < len(rows):
        stop = max(start + 1, int(np.searchsorted(costs, costs[start] + piece_bytes)))
        if stop < len(rows):
            between = int(np.searchsorted(stored, stored[stop] // held * held))
            stop = between if between > start else stop
        yield rows[start:stop]
        start = stop
