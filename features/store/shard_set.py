"""A large cache: shard files as they were written, under one index that lists them with their digests.

    <backbone>-<fingerprint12>.h5                       the index: ids, keys, and in which file each row lies
    <backbone>-<fingerprint12>.shards/<batch>/*.h5      the folders of finished plans, as they were

So sealing copies nothing. The index is written beside its place, then the folder of the shards is moved, then the
index takes its place; a folder that was moved without that holds a mark, and the next run moves it back.
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
from features.store.hdf5_file import StoredClip
from features.store.layout import set_folder
from features.store.writer import write_attributes, write_clips, write_column, write_hdf5
from features.system.atomic_write import atomic_write, sync_folder

if TYPE_CHECKING:
    from features.store.merge import Merged

SET_BYTES = 4 << 30  # caches up to this size are one file
MARK = "unsealed"  # in a folder that no index lists yet
COPIED = "copied"  # beside the mark, where the set holds all these rows already, see `features.store.prune`
EARLIER = "earlier.h5"  # what was sealed as one file before the cache became a set


def is_due(path: Path, old: store.EmbeddingTable | None, shards: Sequence[Path]) -> bool:
    """Whether a cache has to be sealed as a set: it is one already, or would be too large for one file."""
    if old is not None and old.places.is_set:
        return True
    size = path.stat().st_size if old is not None else 0
    return bool(shards) and size + sum(shard.stat().st_size for shard in shards) > SET_BYTES


def with_old(old: store.EmbeddingTable | None, shards: list[store.EmbeddingTable]) -> list[store.EmbeddingTable]:
    """The sources of a set, the old state first; what was one file joins the folder of the shards."""
    if old is None or old.places.is_set:
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
    """Make the shards part of the set.

    Args:
        path: The index.
        spec: The cache spec.
        sources: See `with_old`; all but a set among them lie in one folder.
        merged: What of them belongs to the new state.

    Raises:
        RunError: The index cannot be written, or the folder not be moved.
    """
    folder = set_folder(path)
    new = [table.path for table in sources if not table.places.is_set]
    batch = _batch_name(folder, new)
    names: list[tuple[str, int, str]] = []
    clips: list[Records[StoredClip]] = []
    columns: dict[str, list[np.ndarray]] = {"member": [], "place": [], "first_frame": []}
    for table, rows in zip(sources, merged.chosen, strict=True):
        for number in np.unique(table.places.member[rows]).tolist():
            live = rows[table.places.member[rows] == number]
            columns["member"].append(np.full(len(live), len(names)))
            columns["place"].append(table.places.place[live])
            columns["first_frame"].append(table.places.first_frame[live])
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
        store.check_table(written)
        if new:
            (new[0].parent / MARK).touch()
            folder.mkdir(exist_ok=True)
            new[0].parent.rename(folder / batch)
            sync_folder(folder)

    before = {member.path for table in sources if table.places.is_set for member in table.places.members}
    write_hdf5(path, contents, before=move_shards)
    for gone in before - {folder / name for name, _, _ in names}:
        gone.unlink(missing_ok=True)  # none of its rows is anybody's newest
    _tidy(folder / batch, {name for name, _, _ in names})


def recover(path: Path, parts: Path) -> None:
    """Undo or finish what a kill left of sealing; only to be called when no other run is at work.

    Args:
        path: The index, or where it shall be.
        parts: Where the shards lay before they were moved.
    """
    marks = sorted(set_folder(path).glob(f"*/{MARK}"))
    if not marks:
        return
    members = store.open_table(path).places.members if path.exists() else ()
    listed = {f"{member.path.parent.name}/{member.path.name}" for member in members}
    for mark in marks:
        if any(name.startswith(f"{mark.parent.name}/") for name in listed):
            _tidy(mark.parent, listed)
        elif (mark.parent / COPIED).exists():
            shutil.rmtree(mark.parent)
        elif not parts.exists():
            mark.parent.rename(parts)
            (parts / MARK).unlink()


def files_of(path: Path) -> list[Path]:
    """All files that make up a cache: the one file, or the index and the shard files it lists."""
    return [path, *(member.path for member in store.open_table(path).places.members if member.path != path)]


def _listed(table: store.EmbeddingTable, number: int, folder: Path, batch: str) -> tuple[str, int, str]:
    """Name below `folder`, size and digest of a member."""
    member = table.places.members[number]
    if member.size is not None:
        return str(member.path.relative_to(folder)), member.size, member.sha256
    return f"{batch}/{member.path.name}", member.path.stat().st_size, header.stated_digest(member.path)


def _batch_name(folder: Path, shards: Sequence[Path]) -> str:
    """A folder name for these shards that is not taken."""
    digest = hashlib.sha256("".join(map(header.stated_digest, shards)).encode()).hexdigest()[:12]
    names = [digest, *(f"{digest}-{number}" for number in range(1, 1000))]
    return next(name for name in names if not (folder / name).exists())


def _tidy(batch: Path, listed: set[str]) -> None:
    """Leave only listed files in a folder that is part of the set now; the mark goes last."""
    if not batch.exists():
        return
    left = [item for item in batch.iterdir() if f"{batch.name}/{item.name}" not in listed and item.name != MARK]
    for item in left:
        shutil.rmtree(item) if item.is_dir() else item.unlink()
    (batch / MARK).unlink(missing_ok=True)
