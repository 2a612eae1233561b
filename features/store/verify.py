"""Verify every byte of cache files, and that all values are finite."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from features.store import file_header as header
from features.store.checks import check_values
from features.store.hdf5_file import damaged
from features.store.layout import ShardFile
from features.store.table import EmbeddingTable, open_table


def verify_table(path: str | Path) -> EmbeddingTable:
    """Open a cache file and verify every byte of it and of the shard files it lists.

    Raises:
        CacheError: As in `open_table`, or a byte differs from what was written.
    """
    table = check_table(path)
    if table.locations.is_set:
        for _ in in_parallel(lambda number: _verify_shard_file(table, number), range(len(table.locations.shard_files))):
            pass
    return table


def check_all_values(table: EmbeddingTable) -> None:
    """Check that every embedding and every frame of a table is finite, which opening and verifying it do not.

    Raises:
        CacheError: A value is NaN or infinite, or a shard file is missing.
    """
    for number in range(len(table.locations.shard_files)):
        with table.opened(number) as file:
            check_values(file)


def in_parallel(work: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
    """`work` on each item, in order, a few at a time; for work that waits for a disk or hashes."""
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1), "verify") as pool:
        yield from pool.map(work, items)


def check_table(path: str | Path) -> EmbeddingTable:
    """Open a cache file and verify every byte of it. Shard files of a set are only checked when they are read.

    Raises:
        CacheError: As in `verify_table`.
    """
    table = open_table(path)
    if not header.is_whole(table.path):
        raise damaged(table.path, "its bytes do not match its digest")
    return table


def _verify_shard_file(table: EmbeddingTable, number: int) -> None:
    """Verify every byte of one shard file of a set."""
    with table.opened(number):
        pass
    file: ShardFile = table.locations.shard_files[number]
    if not header.is_whole(file.path):
        raise damaged(file.path, "its bytes do not match its digest")
