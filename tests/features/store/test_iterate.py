"""Embeddings read in pieces equal those read at once, for any piece size."""

from itertools import product

import numpy as np
import pytest

from features.store import layered, merge, shard_set
from features.store.iterate import stored_order, stream
from features.store.merge import copies
from features.store.table import open_table
from features.store.verify import verify_table
from tests.features.tables import rows, write
from tests.features.toys import NAMES

POOLING = {"pooling": ("mean", "max", "frames")}


@pytest.mark.parametrize("as_set", [False, True])
def test_pieces_hold_each_row_once_in_stored_order(seven, monkeypatch, as_set):
    if as_set:
        monkeypatch.setattr(shard_set, "SET_BYTES", 0)
    table = verify_table(seven.run(seven.manifest(*NAMES), block_rows=2, **POOLING).path)
    assert table.locations.is_set == as_set
    rows = table.rows(["5.wav", "0.wav", "3.wav", "6.wav", "1.wav"])
    for piece_bytes, layers in product((1, 200, 1 << 20), (None, [1])):
        pieces = list(stream(table, rows, ["mean", "max"], layers, frames=True, piece_bytes=piece_bytes))
        order = np.concatenate([piece.rows for piece in pieces])
        np.testing.assert_array_equal(order, stored_order(table, rows))
        assert sorted(order) == sorted(rows)
        take = layers or [0, 1]
        for name in ("mean", "max"):
            got = np.concatenate([piece.pooled[name] for piece in pieces])
            np.testing.assert_array_equal(got, table.embeddings(name)[order][:, take])
        for row, frames in zip(order, (frames for piece in pieces for frames in piece.frames), strict=True):
            np.testing.assert_array_equal(frames, table.frames(table.ids[row])[:, take])
        assert len(pieces) == 5 if piece_bytes == 1 else len(pieces) >= 1


def test_a_piece_reads_no_more_than_its_limit(seven):
    table = verify_table(seven.run(seven.manifest(*NAMES), pooling=("mean",)).path)
    row_bytes = 4 * 2 * 4
    pieces = list(stream(table, np.arange(7), ["mean"], piece_bytes=3 * row_bytes))
    assert [len(piece.rows) for piece in pieces] == [3, 3, 1]


def test_no_chunk_is_read_for_two_pieces(tmp_path, monkeypatch):
    row_bytes = 2 * 4 * 4
    monkeypatch.setattr(layered, "CHUNK_BYTES", 3 * row_bytes // 2)  # chunks of three rows of one layer
    monkeypatch.setattr(merge, "COPY_BYTES", 5 * row_bytes)
    table = open_table(write(tmp_path / "t.h5", rows(*"abcdefghij")))
    pieces = list(stream(table, np.arange(10), ["mean"], piece_bytes=2 * 5 * row_bytes))  # mean and std count
    assert [len(piece.rows) for piece in pieces] == [3, 3, 4]
    assert [len(part.ids) for part in copies([table], [np.arange(10)], [])] == [3, 3, 3, 1, 0]
