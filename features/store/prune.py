"""Prune caches: remove rows that are no longer needed, or whole cache files.

Rows are removed by writing a new file that replaces the old one atomically, as when finalizing. In a set, only the
shard files that contain removed rows are rewritten.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from features.store import shard_set, verify
from features.store import table as store
from features.store.layout import SET_SUFFIX, set_folder
from features.store.merge import Merged, copies
from features.store.writer import Totals, remove_temporaries, write_file
from features.system.atomic_write import sync_folder
from features.system.locks import CacheLock

PARTS_SUFFIX = ".parts"  # suffix of the folder of an unfinished run
REWRITTEN_SUFFIX = ".pruned"  # suffix of the folder of rewritten shard files


@dataclass(frozen=True)
class Pruned:
    """What was removed, or would be removed in a dry run.

    Attributes:
        clips: Rows removed.
        left: Rows kept.
        failures: Recorded failures removed.
        size_bytes: Bytes freed on disk; in a dry run, the size of the arrays of the rows.
    """

    clips: int
    left: int
    failures: int
    size_bytes: int


def prune_rows(path: Path, keep: Container[str], note: Callable[[str], None], *, dry_run: bool = False) -> Pruned:
    """Keep only the rows and failures of some clips; if none are left, remove the cache file.

    Args:
        path: The cache file.
        keep: Ids of the clips to keep.
        note: Called with a message when waiting for another run.
        dry_run: Only count.

    Raises:
        CacheError: The file, or a shard file that must be rewritten, is damaged; nothing has changed.
        RunError: The disk is full or the folder is not writable; nothing has changed.
    """
    if dry_run:
        return _counted(store.open_table(path), keep)
    with CacheLock(path, note):
        shard_set.recover(path, path.with_suffix(PARTS_SUFFIX))
        remove_temporaries(path, path.with_suffix(PARTS_SUFFIX))
        table = verify.check_table(path)
        counted, before = _counted(table, keep), size_of(path)
        if counted.clips or counted.failures:
            _write_without(table, keep)
        if path.exists():
            _sweep(store.open_table(path))
        _remove_folder(path.with_suffix(REWRITTEN_SUFFIX))
        after = size_of(path)
    return Pruned(counted.clips, counted.left, counted.failures, before - after)


def remove_cache(path: Path, note: Callable[[str], None]) -> int:
    """Remove a cache file, its shard files and the remains of an unfinished run.

    The index is removed first. If the process is killed, unlisted files remain, which `whole_caches` finds.

    Args:
        path: The cache file.
        note: Called with a message when waiting for another run.

    Returns:
        The number of bytes freed.

    Raises:
        OSError: A file cannot be removed.
    """
    with CacheLock(path, note):
        size = size_of(path)
        _unlink(path)
        for suffix in (PARTS_SUFFIX, REWRITTEN_SUFFIX):
            _remove_folder(path.with_suffix(suffix))
    return size


def whole_caches(paths: Iterable[Path]) -> list[Path]:
    """Find cache files, including those of which only an unfinished run or unlisted shard files are left.

    Args:
        paths: Cache files, and folders to search.
    """
    found: set[Path] = set()
    for path in paths:
        if not path.is_dir():
            found.add(path)
            continue
        ours = {SET_SUFFIX, PARTS_SUFFIX, REWRITTEN_SUFFIX}
        for item in path.rglob("*"):
            inside = item.relative_to(path).parents
            if item.name.startswith(".") or any(folder.suffix in ours for folder in inside):
                continue
            if item.suffix == ".h5" and item.is_file():
                found.add(item)
            elif item.suffix in ours and item.is_dir():
                found.add(item.with_suffix(".h5"))
    return sorted(found)


def size_of(path: Path) -> int:
    """Return the bytes on disk of a cache file, its shard files and the remains of an unfinished run."""
    folders = (path.with_suffix(suffix) for suffix in (SET_SUFFIX, PARTS_SUFFIX, REWRITTEN_SUFFIX))
    files = [path, *(item for folder in folders for item in folder.rglob("*"))]
    return sum(file.stat().st_size for file in files if file.is_file())


def _counted(table: store.EmbeddingTable, keep: Container[str]) -> Pruned:
    """Count what pruning would remove from a table."""
    gone = np.array([clip not in keep for clip in table.ids], dtype=bool)
    failures = sum(clip not in keep for clip in table.failures)
    frames = table.cache_spec["frames"]
    layer_bytes = np.dtype(table.cache_spec["dtype"]).itemsize * table.spec.dim
    row_bytes = layer_bytes * len(table.poolings) * len(table.spec.layers)
    frame_bytes = np.dtype(frames["dtype"]).itemsize * len(frames["layers"]) * table.spec.dim if frames else 0
    size = row_bytes * int(gone.sum()) + frame_bytes * int(table.n_frames[gone].sum(dtype=np.int64))
    return Pruned(int(gone.sum()), int((~gone).sum()), failures, size)


def _write_without(table: store.EmbeddingTable, keep: Container[str]) -> None:
    """Rewrite the cache with only some of its clips."""
    failures = [(clip, *why) for clip, why in sorted(table.failures.items()) if clip in keep]
    rows = np.array([row for row, clip in enumerate(table.ids) if clip in keep], dtype=np.int64)
    if not len(rows) and not failures:
        _unlink(table.path)
    elif table.locations.is_set:
        _prune_set(table, rows, failures)
    else:
        merged = Merged([rows], failures, table.cost)
        parts = copies([table], merged.chosen, merged.failures)
        write_file(table.path, table.cache_spec, parts, merged.totals([table]), table.cost, verify=True)


def _prune_set(table: store.EmbeddingTable, rows: np.ndarray, failures: list[tuple[str, str, str]]) -> None:
    """Rewrite the shard files that lose some of their rows; files that lose all are no longer listed."""
    folder = table.path.with_suffix(REWRITTEN_SUFFIX)
    _remove_folder(folder)  # left by a killed process; no index lists it
    folder.mkdir()
    untouched: list[np.ndarray] = []
    rewritten: list[store.EmbeddingTable] = []
    stays = np.zeros(len(table), dtype=bool)
    stays[rows] = True
    try:
        for number, held in table.locations.rows_by_shard_file():
            shard_file, kept = table.locations.shard_files[number], held[stays[held]]
            if len(kept) == len(held) or (len(kept) and shard_file.absence()):
                untouched.append(kept)
            elif len(kept):
                shard = verify.verify_table(shard_file.path)
                chosen = np.sort(table.locations.row[kept])
                totals = Totals(len(chosen), int(shard.n_frames[chosen].sum()))
                new = folder / f"shard-{len(rewritten):06d}.h5"
                write_file(new, shard.cache_spec, copies([shard], [chosen], []), totals, shard.cost, verify=True)
                rewritten.append(store.open_table(new))
        if rewritten:
            (folder / shard_set.COPIED).touch()
        untouched_rows = np.sort(np.concatenate([np.empty(0, np.int64), *untouched]))
        chosen_rows = [untouched_rows, *(np.arange(len(shard)) for shard in rewritten)]
        shard_set.write_index(
            table.path, table.cache_spec, [table, *rewritten], Merged(chosen_rows, failures, table.cost)
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(table: store.EmbeddingTable) -> None:
    """Remove shard files that no index lists and that no interrupted `finalize` left there."""
    listed = {file.path for file in table.locations.shard_files}
    folder = set_folder(table.path)
    for batch in folder.iterdir() if folder.exists() else ():
        if batch.is_symlink() or (batch / shard_set.MARK).exists():
            continue
        for item in batch.glob("*.h5"):
            if item not in listed:
                item.unlink()
        with contextlib.suppress(OSError):  # not empty
            batch.rmdir()


def _unlink(path: Path) -> None:
    """Remove a cache file; the index of a set is removed before its shard files."""
    if path.exists():
        path.unlink()
        sync_folder(path.parent)
    _remove_folder(set_folder(path))


def _remove_folder(folder: Path) -> None:
    if folder.is_symlink():
        folder.unlink()  # never what it points to
    elif folder.exists():
        shutil.rmtree(folder)
