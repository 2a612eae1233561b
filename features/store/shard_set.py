"""A large cache: the shard files of finished runs, and one index that lists them with their digests.

    <backbone>-<fingerprint12>.h5                       the index: ids, keys, and the file of each row
    <backbone>-<fingerprint12>.shards/<batch>/*.h5      the folders of finished plans, unchanged

Finalizing a set therefore copies no arrays. The new index is written to a temporary file, then the folder of shards is
moved, then the index is renamed. A moved folder contains a mark until the index lists it; if a run is killed in
between, the next run moves the folder back.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from features.records import Records
from features.store import file_header as header
from features.store import hdf5_file as checked_file
from features.store import table as store
from features.store import verify
from features.store.hdf5_file import StoredClip
from features.store.layout import check_folders, set_folder
from features.store.writer import write_attributes, write_clips, write_column, write_hdf5
from features.system.atomic_write import atomic_write, sync_folder

if TYPE_CHECKING:
    from features.store.merge import Merged

SET_BYTES = 4 << 30  # caches up to this size are one file
MARK = "unsealed"  # file in a folder that no index lists yet
COPIED = "copied"  # file next to the mark if the set holds all these rows already, see `features.store.prune`
EARLIER = "earlier.h5"  # the single cache file from before the cache became a set


def is_due(path: Path, old: store.EmbeddingTable | None, shards: Sequence[Path]) -> bool:
    """Whether a cache must be finalized as a set: it is one already, or would be too large for one file.

    Args:
        path: The cache file.
        old: Its present state; None if there is none.
        shards: The shard files to add.
    """
    if old is not None and old.locations.is_set:
        return True
    size = path.stat().st_size if old is not None else 0
    return bool(shards) and size + sum(shard.stat().st_size for shard in shards) > SET_BYTES


def with_old(old: store.EmbeddingTable | None, shards: list[store.EmbeddingTable]) -> list[store.EmbeddingTable]:
    """Return the sources of a set, oldest first; a former single cache file is linked into the shards' folder."""
    if old is None or old.locations.is_set:
        return [*([old] if old else []), *shards]
    joined = shards[0].path.with_name(EARLIER)
    joined.unlink(missing_ok=True)
    try:
        os.link(old.path, joined)
    except OSError:  # a file system without links
        with atomic_write(joined) as copy:
            shutil.copyfile(old.path, copy)
    return [store.open_table(joined), *shards]


def write_index(path: Path, spec: dict[str, Any], sources: Sequence[store.EmbeddingTable], merged: Merged) -> None:
    """Add shards to a set: move their folder and write the new index.

    Args:
        path: The index.
        spec: The cache spec.
        sources: The result of `with_old`; all sources that are not a set are in one folder.
        merged: Which of their rows belong to the new state.

    Raises:
        RunError: The index cannot be written, or the folder cannot be moved.
    """
    folder = set_folder(path)
    new = [table.path for table in sources if not table.locations.is_set]
    batch = _batch_name(folder, new)
    names: list[tuple[str, int, str]] = []
    clips: list[Records[StoredClip]] = []
    columns: dict[str, list[np.ndarray]] = {"member": [], "place": [], "first_frame": []}
    for table, rows in zip(sources, merged.chosen, strict=True):
        for number in np.unique(table.locations.shard_number[rows]).tolist():
            live = rows[table.locations.shard_number[rows] == number]
            columns["member"].append(np.full(len(live), len(names)))
            columns["place"].append(table.locations.row[live])
            columns["first_frame"].append(table.locations.first_frame[live])
            clips.append(table.clips.take(live))
            names.append(_listed(table, number, folder, batch))

    def contents(file: h5py.File, check: Callable[[], None]) -> header.Ranges:
        write_clips(file, Records.concat(StoredClip, clips), merged.failures)
        for name, values in columns.items():
            write_column(file, f"clips/{name}", np.concatenate([np.empty(0, np.int64), *values]), "i8")
        write_column(file, "members/name", [name for name, _, _ in names], h5py.string_dtype())
        write_column(file, "members/bytes", [size for _, size, _ in names], "i8")
        write_column(file, "members/sha256", [sha256 for _, _, sha256 in names], "S64")
        write_attributes(file, spec, merged.cost, checked_file.SET_VERSION)
        check()
        return []

    def move_shards(written: Path) -> None:
        verify.check_table(written)
        if new:
            (new[0].parent / MARK).touch()
            folder.mkdir(exist_ok=True)
            new[0].parent.rename(folder / batch)
            sync_folder(folder)

    before = {file.path for table in sources if table.locations.is_set for file in table.locations.shard_files}
    write_hdf5(path, contents, before=move_shards)
    for unlisted in before - {folder / name for name, _, _ in names}:
        unlisted.unlink(missing_ok=True)  # every row of it was replaced by a newer one
    _tidy(folder / batch, {name for name, _, _ in names})


def recover(path: Path, parts: Path) -> None:
    """Undo or complete an interrupted `write_index`. Call it only while holding the exclusive lock.

    Args:
        path: The index, which need not exist.
        parts: The folder of the shards before they were moved.

    Raises:
        CacheError: One of these folders is a symbolic link; nothing has changed.
    """
    check_folders(path, parts)
    marks = sorted(set_folder(path).glob(f"*/{MARK}"))
    if not marks:
        return
    shard_files = store.open_table(path).locations.shard_files if path.exists() else ()
    listed = {f"{file.path.parent.name}/{file.path.name}" for file in shard_files}
    for mark in marks:
        if any(name.startswith(f"{mark.parent.name}/") for name in listed):
            _tidy(mark.parent, listed)
        elif (mark.parent / COPIED).exists():
            shutil.rmtree(mark.parent)
        elif not parts.exists():
            mark.parent.rename(parts)
            (parts / MARK).unlink()


def files_of(path: Path) -> list[Path]:
    """Return all files of a cache: the single file, or the index and the shard files it lists."""
    return [path, *(file.path for file in store.open_table(path).locations.shard_files if file.path != path)]


def _listed(table: store.EmbeddingTable, number: int, folder: Path, batch: str) -> tuple[str, int, str]:
    """Return a shard file's name relative to `folder`, its size in bytes and its digest."""
    file = table.locations.shard_files[number]
    if file.size is not None:
        return str(file.path.relative_to(folder)), file.size, file.sha256
    return f"{batch}/{file.path.name}", file.path.stat().st_size, header.stated_digest(file.path)


def _batch_name(folder: Path, shards: Sequence[Path]) -> str:
    """Return an unused folder name for these shards."""
    digest = hashlib.sha256("".join(map(header.stated_digest, shards)).encode()).hexdigest()[:12]
    names = [digest, *(f"{digest}-{number}" for number in range(1, 1000))]
    return next(name for name in names if not (folder / name).exists())


def _tidy(batch: Path, listed: set[str]) -> None:
    """Remove unlisted files from a folder of the set; the mark is removed last."""
    if not batch.exists():
        return
    left = [item for item in batch.iterdir() if f"{batch.name}/{item.name}" not in listed and item.name != MARK]
    for item in left:
        shutil.rmtree(item) if item.is_dir() and not item.is_symlink() else item.unlink()
    (batch / MARK).unlink(missing_ok=True)
