"""Reading the HDF5 cache: open, check, hand out embeddings by id. Writing is `features.store.finalize`'s job."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from features.errors import CacheError
from features.spec import BackboneSpec
from features.store import file_header as header
from features.store import fingerprint as fp
from features.store.array_io import in_parallel
from features.store.hdf5_file import (
    SET_VERSION,
    attribute_digest,
    damaged,
    opened_file,
    read_checked,
    read_clips,
    read_texts,
)
from features.store.layout import RowLocations, ShardFile, read_row_locations


class EmbeddingTable:
    """A sealed cache (or one shard of it): what stage 2 reads. Nothing stays open between calls.

    Its arrays lie in the file itself or, where the file is the index of a set, in shard files; who reads
    through this class need not know.

    Attributes:
        path: The file.
        clips: N of them, in the file's order.
        failures: id -> (content key, reason) of clips that could not be embedded.
        spec: The backbone's.
        cache_spec: Everything the fingerprint covers.
        fingerprint: SHA-256 of that.
        versions: Library versions of the runs that wrote it.
        locations: Where each clip's row and frames lie.
        cost: What went into it: `clips`, `audio_s` and `compute_s`; the backbone's `parameters` (None if
            unknown) and the `device` of the last run.
    """

    def __init__(self, path: Path) -> None:
        """Open and check ids and spec; see `open_table`."""
        self.path = path
        with opened_file(path) as file:
            self.cache_spec: dict[str, Any] = json.loads(file.attrs["spec"])
            self.fingerprint = str(file.attrs["fingerprint"])
            self.versions: dict[str, str] = json.loads(file.attrs["versions"])
            self.cost: dict[str, Any] = json.loads(file.attrs["cost"])
            self.created_utc = str(file.attrs["created_utc"])
            if file.attrs["digest"] != attribute_digest(file):
                raise damaged(path, "its spec or its checksums do not match its digest")
            if fp.fingerprint(self.cache_spec) != self.fingerprint:
                raise damaged(path, "its spec does not match its fingerprint")
            self.clips = read_clips(file)
            failed = (read_texts(file, f"failures/{name}").to_pylist() for name in ("id", "key", "reason"))
            self.failures = {clip: (key, reason) for clip, key, reason in zip(*failed, strict=True)}
            if file.attrs["format_version"] == SET_VERSION:
                columns = {name: read_checked(file, name) for name in RowLocations.COLUMNS}
                self.locations = read_row_locations(path, columns)
            else:
                self.locations = RowLocations.of_file(path, self.n_frames)
        self.spec: BackboneSpec = fp.backbone_of(self.cache_spec)

    @cached_property
    def ids(self) -> np.ndarray:
        """(N,) clip ids; their order means nothing, join by id."""
        return self.clips.texts("id").to_numpy(zero_copy_only=False)

    @cached_property
    def keys(self) -> np.ndarray:
        """(N,) content keys, see `features.store.content_keys`."""
        return self.clips.texts("key").to_numpy(zero_copy_only=False)

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {clip: row for row, clip in enumerate(self.ids)}

    @property
    def durations_s(self) -> np.ndarray:
        """(N,) float32, seconds."""
        return self.clips.numbers("duration_s").astype(np.float32)

    @property
    def n_frames(self) -> np.ndarray:
        """(N,) int32."""
        return self.clips.numbers("n_frames").astype(np.int32)

    def __len__(self) -> int:
        """Number of embedded clips."""
        return len(self.clips)

    @property
    def size_bytes(self) -> int:
        """Bytes on disk, of all its files that are there."""
        files = {self.path, *(member.path for member in self.locations.shard_files)}
        return sum(file.stat().st_size for file in files if file.is_file())

    @property
    def poolings(self) -> list[str]:
        """The pooled embeddings it holds."""
        return list(self.cache_spec["pooling"])

    def rows(self, ids: Sequence[str], keys: Sequence[str] | None = None) -> np.ndarray:
        """Rows of clips, in the order of `ids`.

        Args:
            ids: Clip ids.
            keys: Their present content keys, when these are to be checked too.

        Raises:
            CacheError: A clip is missing, or its audio has changed since.
        """
        missing = [clip for clip in ids if clip not in self._row_of]
        if missing:
            raise CacheError(f"{self.path}: {len(missing)} clip(s) are missing, first {missing[0]!r}")
        rows = np.array([self._row_of[clip] for clip in ids], dtype=np.int64)
        if keys is not None:
            changed = [clip for clip, row, key in zip(ids, rows, keys, strict=True) if self.keys[row] != key]
            if changed:
                raise CacheError(
                    f"{self.path}: the audio of {len(changed)} clip(s) has changed since they were embedded, "
                    f"first {changed[0]!r}"
                )
        return rows

    def embeddings(self, pooling: str = "mean") -> np.ndarray:
        """All clip vectors of one pooling, (N, L, D) float32, rows as in `ids`.

        Raises:
            CacheError: No such pooling here, or the data do not match their checksum.
        """
        if pooling not in self.poolings:
            raise CacheError(f"{self.path} holds no pooling {pooling!r}; it holds {', '.join(self.poolings) or 'none'}")
        if not self.locations.is_set:
            return self._array(0, f"embeddings/{pooling}")
        values = np.empty((len(self), len(self.spec.layers), self.spec.dim), np.float32)
        for number, rows in self.locations.rows_by_shard_file():
            place, first = self.locations.row[rows], int(rows[0])
            part = values[first : first + len(rows)]
            with self.opened(number) as file:
                stored = file[f"embeddings/{pooling}"]
                all_in_order = len(stored) == len(rows) == rows[-1] - first + 1 and (np.diff(place) == 1).all()
                if all_in_order and stored.dtype == part.dtype:
                    read_checked(file, f"embeddings/{pooling}", part)
                else:
                    values[rows] = read_checked(file, f"embeddings/{pooling}")[place]
        return values

    def frames(self, clip: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Frame embeddings of one clip, or frames start…stop-1 of it, where the cache was made with pooling `frames`.

        Returns:
            (F, L, D) in the type they are stored in.

        Raises:
            CacheError: No frames here, or no such clip.
        """
        self.check_holds_frames()
        row = int(self.rows([clip])[0])
        length, first = int(self.n_frames[row]), int(self.locations.first_frame[row])
        start, stop, _ = slice(start, stop).indices(length)
        with self.opened(int(self.locations.shard_number[row])) as file:
            return file["frames/values"][first + start : first + max(start, stop)]

    def check_holds_frames(self) -> None:
        """Raise `CacheError` where it was made without pooling `frames`."""
        if self.cache_spec["frames"] is None:
            raise CacheError(f"{self.path} holds no frames; add `frames` to features.pooling")

    def present(self) -> dict[str, str]:
        """Content keys by id, of the clips whose arrays are there: a shard file of a set can go missing."""
        there = np.ones(len(self), bool)
        for number, rows in self.locations.rows_by_shard_file():
            there[rows] = not self.locations.shard_files[number].absence()
        return dict(zip(self.ids[there], self.keys[there], strict=True))

    @contextmanager
    def opened(self, member: int) -> Iterator[h5py.File]:
        """One of the files that hold its arrays, open for reading; its structure is checked.

        Raises:
            CacheError: It is missing or damaged.
        """
        place = self.locations.shard_files[member]
        if why := place.absence():
            clips = int((self.locations.shard_number == member).sum())
            raise CacheError(
                f"{place.path}: {why}, {clips} clip(s) of {self.path.name} lay there; "
                f"run `audioheads features` with its config again to compute them anew",
                place.path,
            )
        with opened_file(place.path) as file:
            if place.sha256 and header.stated_digest(place.path) != place.sha256:
                raise damaged(place.path, "it is not the file that the index lists")
            yield file

    def _array(self, member: int, name: str) -> np.ndarray:
        with self.opened(member) as file:
            return read_checked(file, name)


def open_table(path: str | Path) -> EmbeddingTable:
    """Open a cache file; its ids and spec are checked against their digests.

    Raises:
        CacheError: Not there, not such a file, from another version, or damaged.
    """
    path = Path(path)
    if path.is_dir():
        raise CacheError(f"{path}: is a folder where a cache file should be; move it away", path)
    if not path.is_file():
        raise CacheError(f"no cache file {path}", path)
    return EmbeddingTable(path)


def verify_table(path: str | Path) -> EmbeddingTable:
    """`open_table`, and every byte of the file, and of the shard files it lists, is checked against its digest.

    Raises:
        CacheError: As `open_table`, or any byte differs from what was written.
    """
    table = check_table(path)
    if table.locations.is_set:
        for _ in in_parallel(lambda number: _verify_member(table, number), range(len(table.locations.shard_files))):
            pass
    return table


def check_table(path: str | Path) -> EmbeddingTable:
    """`verify_table`, but of a set only the index: its shard files are checked when they are read.

    Raises:
        CacheError: As `verify_table`.
    """
    table = open_table(path)
    if not header.is_whole(table.path):
        raise damaged(table.path, "its bytes do not match its digest")
    return table


def _verify_member(table: EmbeddingTable, number: int) -> None:
    """Check every byte of one shard file of a set."""
    with table.opened(number):
        pass
    member: ShardFile = table.locations.shard_files[number]
    if not header.is_whole(member.path):
        raise damaged(member.path, "its bytes do not match its digest")
