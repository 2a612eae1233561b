"""Reading the HDF5 cache: open, check, hand out embeddings by id. Writing is `features.seal`'s job."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from features import fingerprint as fp
from features import header
from features.bulk import in_parallel, read_array
from features.errors import CacheError
from features.members import Member, Places, read_places
from features.spec import BackboneSpec

FORMAT = "audioheads-embeddings"
FORMAT_VERSION = 1
SET_VERSION = 2  # an index of shard files, see `features.shard_set`
DIGEST_ATTRIBUTES = ("format", "format_version", "fingerprint", "spec", "versions", "created_utc", "cost")


class EmbeddingTable:
    """A sealed cache (or one shard of it): what stage 2 reads. Nothing stays open between calls.

    Its arrays lie in the file itself or, where the file is the index of a set, in shard files; who reads
    through this class need not know.

    Attributes:
        path: The file.
        ids: (N,) clip ids; their order means nothing, join by id.
        keys: (N,) content keys, see `features.content`.
        durations_s: (N,) float32, seconds.
        n_frames: (N,) int32.
        failures: id -> (content key, reason) of clips that could not be embedded.
        spec: The backbone's.
        cache_spec: Everything the fingerprint covers.
        fingerprint: SHA-256 of that.
        versions: Library versions of the runs that wrote it.
        places: Where each clip's row and frames lie.
        cost: What went into it: `clips`, `audio_s` and `compute_s`; the backbone's `parameters` (None if
            unknown) and the `device` of the last run.
    """

    def __init__(self, path: Path) -> None:
        """Open and check ids and spec; see `open_table`."""
        self.path = path
        with _opened(path) as file:
            self.cache_spec: dict[str, Any] = json.loads(file.attrs["spec"])
            self.fingerprint = str(file.attrs["fingerprint"])
            self.versions: dict[str, str] = json.loads(file.attrs["versions"])
            self.cost: dict[str, Any] = json.loads(file.attrs["cost"])
            self.created_utc = str(file.attrs["created_utc"])
            if file.attrs["digest"] != attribute_digest(file):
                raise _damaged(path, "its spec or its checksums do not match its digest")
            if fp.fingerprint(self.cache_spec) != self.fingerprint:
                raise _damaged(path, "its spec does not match its fingerprint")
            self.ids = _texts(file, "clips/id")
            self.keys = _texts(file, "clips/key")
            self.durations_s = _read_checked(file, "clips/duration_s")
            self.n_frames = _read_checked(file, "clips/n_frames")
            failed = (_texts(file, f"failures/{name}") for name in ("id", "key", "reason"))
            self.failures = {clip: (key, reason) for clip, key, reason in zip(*failed, strict=True)}
            if file.attrs["format_version"] == SET_VERSION:
                columns = {name: _read_checked(file, name) for name in Places.COLUMNS}
                self.places = read_places(path, columns)
            else:
                self.places = Places.of_file(path, self.n_frames)
        self.spec: BackboneSpec = fp.backbone_of(self.cache_spec)
        self._row_of = {clip: row for row, clip in enumerate(self.ids)}

    def __len__(self) -> int:
        """Number of embedded clips."""
        return len(self.ids)

    @property
    def size_bytes(self) -> int:
        """Bytes on disk, of all its files that are there."""
        files = {self.path, *(member.path for member in self.places.members)}
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
        if not self.places.is_set:
            return self._array(0, f"embeddings/{pooling}")
        values = np.empty((len(self), len(self.spec.layers), self.spec.dim), np.float32)
        for number, rows in self.places.rows_by_member():
            place, first = self.places.place[rows], int(rows[0])
            part = values[first : first + len(rows)]
            with self.opened(number) as file:
                stored = file[f"embeddings/{pooling}"]
                all_in_order = len(stored) == len(rows) == rows[-1] - first + 1 and (np.diff(place) == 1).all()
                if all_in_order and stored.dtype == part.dtype:
                    _read_checked(file, f"embeddings/{pooling}", part)
                else:
                    values[rows] = _read_checked(file, f"embeddings/{pooling}")[place]
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
        length, first = int(self.n_frames[row]), int(self.places.first_frame[row])
        start, stop, _ = slice(start, stop).indices(length)
        with self.opened(int(self.places.member[row])) as file:
            return file["frames/values"][first + start : first + max(start, stop)]

    def check_holds_frames(self) -> None:
        """Raise `CacheError` where it was made without pooling `frames`."""
        if self.cache_spec["frames"] is None:
            raise CacheError(f"{self.path} holds no frames; add `frames` to features.pooling")

    def present(self) -> dict[str, str]:
        """Content keys by id, of the clips whose arrays are there: a shard file of a set can go missing."""
        there = np.ones(len(self), bool)
        for number, rows in self.places.rows_by_member():
            there[rows] = not self.places.members[number].absence()
        return dict(zip(self.ids[there], self.keys[there], strict=True))

    @contextmanager
    def opened(self, member: int) -> Iterator[h5py.File]:
        """One of the files that hold its arrays, open for reading; its structure is checked.

        Raises:
            CacheError: It is missing or damaged.
        """
        place = self.places.members[member]
        if why := place.absence():
            clips = int((self.places.member == member).sum())
            raise CacheError(
                f"{place.path}: {why}, {clips} clip(s) of {self.path.name} lay there; "
                f"run `audioheads features` with its config again to compute them anew",
                place.path,
            )
        with _opened(place.path) as file:
            if place.sha256 and header.stated_digest(place.path) != place.sha256:
                raise _damaged(place.path, "it is not the file that the index lists")
            yield file

    def _array(self, member: int, name: str) -> np.ndarray:
        with self.opened(member) as file:
            return _read_checked(file, name)


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
    if table.places.is_set:
        for _ in in_parallel(lambda number: _verify_member(table, number), range(len(table.places.members))):
            pass
    return table


def check_table(path: str | Path) -> EmbeddingTable:
    """`verify_table`, but of a set only the index: its shard files are checked when they are read.

    Raises:
        CacheError: As `verify_table`.
    """
    table = open_table(path)
    if not header.is_whole(table.path):
        raise _damaged(table.path, "its bytes do not match its digest")
    return table


def _verify_member(table: EmbeddingTable, number: int) -> None:
    """Check every byte of one shard file of a set."""
    with table.opened(number):
        pass
    member: Member = table.places.members[number]
    if not header.is_whole(member.path):
        raise _damaged(member.path, "its bytes do not match its digest")


def attribute_digest(file: h5py.File) -> str:
    """SHA-256 over the file's attributes and the stated checksum of each dataset, ids included."""
    stated: dict[str, Any] = {name: _plain(file.attrs[name]) for name in DIGEST_ATTRIBUTES}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            stated[name] = [item.attrs["sha256"], list(item.shape), str(item.dtype)]

    file.visititems(visit)
    return hashlib.sha256(fp.canonical_json(stated).encode()).hexdigest()


def array_digest(values: np.ndarray, digest: Any = None) -> Any:
    """SHA-256 of an array's values (texts each ended by a zero byte), added to `digest` where given."""
    digest = digest or hashlib.sha256()
    if values.dtype.kind == "O":
        digest.update(b"".join((v if isinstance(v, bytes) else str(v).encode()) + b"\0" for v in values))
    else:
        digest.update(np.ascontiguousarray(values).view(np.uint8).data if values.size else b"")
    return digest


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _read_checked(file: h5py.File, name: str, into: np.ndarray | None = None) -> np.ndarray:
    """A whole dataset, checked against its checksum; texts come as an object array of bytes."""
    dataset = file[name]
    stated = dataset.attrs["sha256"]
    if dataset.chunks:
        for past_hdf5 in (True, False):  # where the two differ, HDF5 knows better
            values, digest = read_array(dataset, into=into, past_hdf5=past_hdf5)
            if digest == stated:
                return values
    values = dataset[()]
    if into is not None:
        into[...] = values
    if values.dtype.kind == "S":
        values = values.astype(object)
    if array_digest(values).hexdigest() != stated:
        raise _damaged(Path(file.filename), f"{name} does not match its checksum")
    return values


def _texts(file: h5py.File, name: str) -> np.ndarray:
    """A dataset of texts as an object array of str."""
    values = [text.decode() for text in _read_checked(file, name)]
    return np.array(values, dtype=object)


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """The file, open for reading, of the right format and version; HDF5's own errors become one line."""
    try:
        whole = header.structure_is_whole(path)
        with h5py.File(path, "r") as file:
            version = file.attrs.get("format_version")
            if version is None:
                raise CacheError(f"{path}: not an audioheads cache file", path)
            if version not in (FORMAT_VERSION, SET_VERSION):
                raise CacheError(
                    f"{path}: cache format {version}, this program reads {FORMAT_VERSION} and {SET_VERSION}; "
                    "move the file away to compute it anew, or use the version that wrote it",
                    path,
                )
            if not whole:
                raise _damaged(path, "its structure does not match its digest")
            yield file
    except CacheError:
        raise
    except PermissionError as error:
        raise CacheError(f"{path}: cannot be read ({error.strerror})", path) from error
    except (OSError, KeyError, ValueError, RuntimeError, TypeError, UnicodeError) as error:
        raise _damaged(path, f"HDF5 cannot read it: {str(error).splitlines()[0] if str(error) else error!r}") from error


def _damaged(path: Path, why: str) -> CacheError:
    return CacheError(
        f"{path}: damaged ({why}); move the file away and run `audioheads features` with its config again to compute "
        "it anew, nothing was deleted",
        path,
    )
