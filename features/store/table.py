"""Read the HDF5 cache: open files, look up embeddings by id. See `verify` for whole files, `finalize` for writing."""

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
from features.store.checks import check_arrays, check_clips, check_cost, check_spec
from features.store.hdf5_file import (
    SET_VERSION,
    attribute_digest,
    damaged,
    opened_file,
    read_checked,
    read_clips,
    read_texts,
)
from features.store.layered import is_by_layer, read_blocks
from features.store.layout import RowLocations, read_row_locations


class EmbeddingTable:
    """A finalized cache, or one shard of it. No file stays open between calls.

    The arrays are stored in the file itself or, if it is the index of a set, in shard files. Both are read in the same
    way.

    Attributes:
        path: The file.
        clips: N clips, in the file's order.
        failures: id -> (content key, reason) of clips that could not be embedded.
        spec: The backbone's spec.
        cache_spec: Everything the fingerprint covers.
        fingerprint: SHA-256 (hex) of the cache spec.
        versions: Library versions of the runs that wrote it.
        created_utc: When the file was written, ISO 8601.
        locations: Where each clip's row and frames are stored.
        cost: The cost of computing it: `clips`, `audio_s` and `compute_s`, the backbone's `parameters` (None if
            unknown) and the `device` of the last run.
    """

    def __init__(self, path: Path) -> None:
        """Open the file and check its ids and spec, see `open_table`."""
        self.path = path
        with opened_file(path) as file:
            self.cache_spec: dict[str, Any] = json.loads(file.attrs["spec"])
            self.fingerprint = str(file.attrs["fingerprint"])
            self.versions: dict[str, str] = json.loads(file.attrs["versions"])
            self.cost: dict[str, Any] = json.loads(file.attrs["cost"])
            check_spec(self.cache_spec)
            check_cost(self.cost)
            self.created_utc = str(file.attrs["created_utc"])
            self._digest = file.attrs["digest"]
            if self._digest != attribute_digest(file):
                raise damaged(path, "its spec or its checksums do not match its digest")
            if fp.fingerprint(self.cache_spec) != self.fingerprint:
                raise damaged(path, "its spec does not match its fingerprint")
            self.clips = read_clips(file)
            check_clips(self.clips.texts("id"), self.durations_s, self.n_frames)
            failed = (read_texts(file, f"failures/{name}").to_pylist() for name in ("id", "key", "reason"))
            self.failures = {clip: (key, reason) for clip, key, reason in zip(*failed, strict=True)}
            if file.attrs["format_version"] == SET_VERSION:
                columns = {name: read_checked(file, name) for name in RowLocations.COLUMNS}
                try:
                    self.locations = read_row_locations(path, columns)
                except ValueError as error:
                    raise damaged(path, str(error)) from error
            else:
                n_frames = int(self.n_frames.sum(dtype=np.int64))
                check_arrays(file, self.cache_spec, len(self), n_frames, by_layer=is_by_layer(file), exactly=True)
                self.locations = RowLocations.of_file(path, self.n_frames)
            self.spec: BackboneSpec = fp.backbone_of(self.cache_spec)

    @cached_property
    def ids(self) -> np.ndarray:
        """(N,) clip ids. Their order carries no meaning; join by id."""
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
        """(N,) float32, durations in seconds."""
        return self.clips.numbers("duration_s").astype(np.float32)

    @property
    def n_frames(self) -> np.ndarray:
        """(N,) int32, number of frames of each clip."""
        return self.clips.numbers("n_frames").astype(np.int32)

    def __len__(self) -> int:
        """Number of embedded clips."""
        return len(self.clips)

    @property
    def size_bytes(self) -> int:
        """Bytes on disk of all its files that exist."""
        files = {self.path, *(file.path for file in self.locations.shard_files)}
        return sum(file.stat().st_size for file in files if file.is_file())

    @property
    def poolings(self) -> list[str]:
        """The pooling methods whose vectors it stores."""
        return list(self.cache_spec["pooling"])

    def rows(self, ids: Sequence[str], keys: Sequence[str] | None = None) -> np.ndarray:
        """Return the rows of clips, in the order of `ids`.

        Args:
            ids: Clip ids.
            keys: Their present content keys; None skips this check.

        Raises:
            CacheError: A clip is missing, or its audio has changed since it was embedded.
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
        """Return all clip vectors of one pooling, (N, L, D) float32, rows as in `ids`.

        Raises:
            CacheError: The pooling is not stored, or the data do not match their checksum.
        """
        values = np.empty((len(self), len(self.spec.layers), self.spec.dim), np.float32)
        for rows, block in self.blocks(pooling):
            values[rows] = block
        return values

    def layer(self, pooling: str, layer: int, rows: np.ndarray | None = None) -> np.ndarray:
        """Return the clip vectors of one layer, (n, D) float32; of a file by layer, nothing else is read.

        Args:
            pooling: The pooling method.
            layer: Position of the layer in `spec.layers`.
            rows: The rows to return, in any order; None for all, as in `ids`.

        Raises:
            CacheError: As `embeddings`.
        """
        values = np.empty((len(self) if rows is None else len(rows), self.spec.dim), np.float32)
        for at, block in self.blocks(pooling, layer, rows):
            values[at] = block
        return values

    def blocks(
        self, pooling: str, layer: int | None = None, rows: np.ndarray | None = None, *, verify: bool = True
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield clip vectors in blocks, in the order in which they are stored.

        Args:
            pooling: The pooling method.
            layer: Position of the layer in `spec.layers`; None reads all layers.
            rows: The rows to read, in any order; None for all.
            verify: Compare the SHA-256 of what is read; the files that hold the rows are then read whole.

        Yields:
            Positions in `rows`, and their values in the stored type, (b, D), or (b, L, D) for all layers.

        Raises:
            CacheError: As `embeddings`. That data do not match their checksum is raised after the last block of a file.
        """
        self._check_pooling(pooling)
        for number, at in self.locations.rows_by_shard_file(rows):
            places = self.locations.row[at if rows is None else rows[at]]
            with self.opened(number) as file:
                for first, block in read_blocks(file, f"embeddings/{pooling}", layer, None if verify else places):
                    low, high = np.searchsorted(places, [first, first + len(block)])
                    if low < high:
                        yield at[low:high], block[places[low:high] - first]

    def frames(self, clip: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Return the stored frames of one clip. The cache must have pooling `frames`.

        Args:
            clip: Clip id.
            start: First frame.
            stop: One past the last frame; None for the end.

        Returns:
            (F, L, D) in the stored type.

        Raises:
            CacheError: The cache stores no frames, or the clip is missing.
        """
        self.check_holds_frames()
        row = int(self.rows([clip])[0])
        length, first = int(self.n_frames[row]), int(self.locations.first_frame[row])
        start, stop, _ = slice(start, stop).indices(length)
        with self.opened(int(self.locations.shard_number[row])) as file:
            return file["frames/values"][first + start : first + max(start, stop)]

    def check_holds_frames(self) -> None:
        """Raise `CacheError` if the cache has no pooling `frames`."""
        if self.cache_spec["frames"] is None:
            raise CacheError(f"{self.path} holds no frames; add `frames` to features.pooling")

    def present(self) -> dict[str, str]:
        """Return id -> content key of the clips whose arrays exist; a shard file of a set can be missing."""
        there = np.ones(len(self), bool)
        for number, rows in self.locations.rows_by_shard_file():
            there[rows] = not self.locations.shard_files[number].absence()
        return dict(zip(self.ids[there], self.keys[there], strict=True))

    @contextmanager
    def opened(self, number: int) -> Iterator[h5py.File]:
        """Open one of the files that hold the arrays and check its structure.

        Args:
            number: Position in `locations.shard_files`.

        Raises:
            CacheError: The file is missing or damaged.
        """
        shard_file = self.locations.shard_files[number]
        if why := shard_file.absence():
            clips = int((self.locations.shard_number == number).sum())
            raise CacheError(
                f"{shard_file.path}: {why}; it held {clips} clip(s) of {self.path.name}; "
                f"run `audioheads features` with its config to compute them again",
                shard_file.path,
            )
        with opened_file(shard_file.path) as file:
            if shard_file.sha256 and header.stated_digest(shard_file.path) != shard_file.sha256:
                raise damaged(shard_file.path, "it is not the file that the index lists")
            if self.locations.is_set:
                needed = (int(most[number]) for most in self._needed)
                check_arrays(file, self.cache_spec, *needed, by_layer=is_by_layer(file))
            elif file.attrs["digest"] != self._digest:
                raise CacheError(f"{self.path}: another run replaced it while it was read; run again", self.path)
            yield file

    @cached_property
    def _needed(self) -> tuple[np.ndarray, np.ndarray]:
        """The rows and the frames that each shard file must hold, two arrays of one number per file."""
        where, needed = self.locations, []
        for ends in (where.row + 1, where.first_frame + self.n_frames):
            most = np.zeros(len(where.shard_files), np.int64)
            np.maximum.at(most, where.shard_number, ends)
            needed.append(most)
        return needed[0], needed[1]

    def _check_pooling(self, pooling: str) -> None:
        if pooling not in self.poolings:
            raise CacheError(f"{self.path} holds no pooling {pooling!r}; it holds {', '.join(self.poolings) or 'none'}")


def open_table(path: str | Path) -> EmbeddingTable:
    """Open a cache file and check its ids and spec against their digests.

    Raises:
        CacheError: The file is missing, not a cache file, from another version, or damaged.
    """
    path = Path(path)
    if path.is_dir():
        raise CacheError(f"{path}: is a folder where a cache file should be; move it away", path)
    if not path.is_file():
        raise CacheError(f"no cache file {path}", path)
    return EmbeddingTable(path)
