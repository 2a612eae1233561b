"""Reuse rows of the same audio that the cache holds under another dataset's name or another id.

The content key decides: a row with the same key and fingerprint has the same values. Such rows are copied into the
dataset's own file, so that everything after stage 1 reads one file.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from features.errors import CacheError
from features.planning.worklist import Worklist
from features.store import file_header as header
from features.store import fingerprint as fp
from features.store import table as store
from features.store import verify
from features.store.finalize import finalize
from features.store.merge import SUMMED_COSTS, copies
from features.store.writer import CacheRows, Totals, write_file


@dataclass(frozen=True)
class Elsewhere:
    """Rows of another place in the cache that hold the audio of clips to compute.

    Attributes:
        path: The cache file.
        ids: Ids of the clips to compute.
        rows: Row of each in the cache file.
    """

    path: Path
    ids: list[str]
    rows: np.ndarray

    @property
    def dataset(self) -> str:
        """The name of the dataset whose file it is."""
        return self.path.parent.name


def held_elsewhere(work: Worklist) -> list[Elsewhere]:
    """Return where the cache holds the audio of clips to compute. Only ids and keys are read.

    Every cache file with the same settings is considered, first the dataset's own, where a clip may have another id.
    Files that cannot be read are ignored.
    """
    wanted: dict[str, list[str]] = defaultdict(list)
    ids = work.corpus.manifest.clips["id"].iloc[work.todo]
    for clip, content in zip(ids, work.corpus.contents.take(work.todo), strict=True):
        if content.key and not content.failure:
            wanted[content.key].append(str(clip))
    found = []
    for path in _files(work) if wanted else ():
        with suppress(CacheError, OSError):
            table = store.open_table(path)
            if table.fingerprint == fp.fingerprint(work.spec) and (held := _held(table, wanted)) is not None:
                found.append(held)
    return found


def adopt(work: Worklist, note: Callable[[str], None]) -> bool:
    """Copy rows that the cache holds elsewhere into the dataset's file; return whether there were any.

    Call it only while holding the exclusive lock, and not if an unfinished run left a plan. A source that is damaged,
    or that another run replaces meanwhile, is not used.

    Args:
        work: The clips to compute.
        note: Called with one message per source.

    Raises:
        RunError: The rows cannot be written.
    """
    shards: list[Path] = []
    for held in held_elsewhere(work):
        shard = work.parts / f"shard-{len(shards):06d}.h5"
        work.parts.mkdir(parents=True, exist_ok=True)
        if _copy(held, shard, work.spec, own=held.path == work.path):
            shards.append(shard)
            what = "under other ids" if held.path == work.path else f"of the dataset {held.dataset!r}"
            note(f"reusing {len(held.ids)} row(s) {what}: the same audio with the same settings")
    if shards:
        finalize(work.path, work.spec, shards, ())
    if work.parts.exists():  # finalizing a set moves this folder
        shutil.rmtree(work.parts)
    return bool(shards)


def _files(work: Worklist) -> list[Path]:
    """Return the cache files that may have the same settings; the name of a backbone is not one of them."""
    cache = work.path.parent.parent
    others = sorted(cache.glob(f"*/*-{fp.fingerprint(work.spec)[:12]}.h5"))
    return [path for path in (work.path, *(path for path in others if path != work.path)) if path.is_file()]


def _held(table: store.EmbeddingTable, wanted: dict[str, list[str]]) -> Elsewhere | None:
    """Return the wanted rows of a table, and remove them from `wanted`."""
    ids: list[str] = []
    rows: list[int] = []
    for row, key in enumerate(table.keys.tolist()):
        for clip in wanted.pop(key, ()):
            ids.append(clip)
            rows.append(row)
    return Elsewhere(table.path, ids, np.array(rows, np.int64)) if ids else None


def _copy(held: Elsewhere, shard: Path, spec: dict[str, Any], *, own: bool) -> bool:
    """Write rows of another file to a shard under the ids of this dataset; return whether that succeeded."""
    before = header.stated_digest(held.path)
    try:
        table = verify.check_table(held.path)
        if len(table) <= held.rows.max():
            return False
        totals = Totals(len(held.ids), int(table.n_frames[held.rows].sum()))
        write_file(shard, spec, _relabelled(table, held), totals, _share(table, held.rows, own=own))
    except (CacheError, OSError):
        shard.unlink(missing_ok=True)
        return False
    if not before or header.stated_digest(held.path) != before:  # replaced while it was copied
        shard.unlink(missing_ok=True)
        return False
    return True


def _relabelled(table: store.EmbeddingTable, held: Elsewhere) -> Iterator[CacheRows]:
    """Yield rows of a table under new ids."""
    places, ids = table.locations, np.array(held.ids, object)
    for number in np.unique(places.shard_number[held.rows]).tolist():
        here = np.flatnonzero(places.shard_number[held.rows] == number)
        source, rows = table, held.rows[here]
        if places.is_set:
            with table.opened(number):
                source, rows = verify.verify_table(places.shard_files[number].path), places.row[rows]
        order = np.argsort(rows, kind="stable")
        names = ids[here[order]].tolist()
        for part in copies([source], [rows[order]], []):
            yield replace(part, ids=names[: len(part.ids)])
            names = names[len(part.ids) :]


def _share(table: store.EmbeddingTable, rows: np.ndarray, *, own: bool) -> dict[str, Any]:
    """Return what computing some rows cost; nothing for rows whose cost is in the file already."""
    audio_s = float(table.durations_s[rows].sum())
    share = 0.0 if own or not table.cost.get("audio_s") else min(1.0, audio_s / table.cost["audio_s"])
    known = {name: share * table.cost[name] for name in SUMMED_COSTS if name in table.cost}
    return table.cost | known | {"clips": 0 if own else len(rows), "audio_s": 0.0 if own else audio_s}
