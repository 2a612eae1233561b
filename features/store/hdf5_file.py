"""One HDF5 file of the cache, checked while it is read: its structure, its attributes, and each dataset."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa

from features.errors import CacheError
from features.records import Records
from features.store import file_header as header
from features.store import fingerprint as fp
from features.store.array_io import read_array

FORMAT = "audioheads-embeddings"
FORMAT_VERSION = 1
SET_VERSION = 2  # an index of shard files, see `features.store.shard_set`
DIGEST_ATTRIBUTES = ("format", "format_version", "fingerprint", "spec", "versions", "created_utc", "cost")


@dataclass(frozen=True, slots=True)
class StoredClip:
    """What every cache file says of a clip: its content key, seconds and frames."""

    id: str
    key: str
    duration_s: float
    n_frames: int


@contextmanager
def opened_file(path: Path) -> Iterator[h5py.File]:
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
                raise damaged(path, "its structure does not match its digest")
            yield file
    except CacheError:
        raise
    except PermissionError as error:
        raise CacheError(f"{path}: cannot be read ({error.strerror})", path) from error
    except (OSError, KeyError, ValueError, RuntimeError, TypeError, UnicodeError) as error:
        raise damaged(path, f"HDF5 cannot read it: {str(error).splitlines()[0] if str(error) else error!r}") from error


def read_checked(file: h5py.File, name: str, into: np.ndarray | None = None) -> np.ndarray:
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
        raise damaged(Path(file.filename), f"{name} does not match its checksum")
    return values


def read_texts(file: h5py.File, name: str) -> pa.Array:
    """A dataset of texts."""
    values = read_checked(file, name)
    ends = np.zeros(len(values) + 1, np.int64)
    np.cumsum([len(value) for value in values], out=ends[1:])
    return _array(pa.large_binary(), len(values), ends, b"".join(values)).cast(pa.large_string())


def read_clips(file: h5py.File) -> Records[StoredClip]:
    """All clips of a file."""
    numbers = {}
    for name in ("duration_s", "n_frames"):
        values = np.ascontiguousarray(read_checked(file, f"clips/{name}"))
        numbers[name] = _array(pa.from_numpy_dtype(values.dtype), len(values), values)
    texts = {name: read_texts(file, f"clips/{name}") for name in ("id", "key")}
    return Records(StoredClip, pa.table({**texts, **numbers}))


def _array(kind: pa.DataType, length: int, *buffers: Any) -> pa.Array:
    """An array without empty cells over its own buffers; `pa.array` would import pandas."""
    return pa.Array.from_buffers(kind, length, [None, *map(pa.py_buffer, buffers)])


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


def damaged(path: Path, why: str) -> CacheError:
    """The error for a file that is not as it was written."""
    return CacheError(
        f"{path}: damaged ({why}); move the file away and run `audioheads features` with its config again to compute "
        "it anew, nothing was deleted",
        path,
    )


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
