"""Read one HDF5 file of the cache and check its structure, its attributes and each dataset."""

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
from features.store.checks import InvalidCacheError, check_objects

FORMAT = "audioheads-embeddings"
FORMAT_VERSION = 3
WHOLE_ROWS_VERSION = 1  # written before arrays could be read by layer, see `features.store.layered`
SET_VERSION = 2  # the index of a set of shard files, see `features.store.shard_set`
DIGEST_ATTRIBUTES = ("format", "format_version", "fingerprint", "spec", "versions", "created_utc", "cost")


@dataclass(frozen=True, slots=True)
class StoredClip:
    """What every cache file stores about a clip: its content key, duration in seconds and number of frames."""

    id: str
    key: str
    duration_s: float
    n_frames: int


@contextmanager
def opened_file(path: Path) -> Iterator[h5py.File]:
    """Open a cache file for reading and check its format and version.

    Raises:
        CacheError: The file is not a cache file, has another version, cannot be read, or is damaged.
    """
    try:
        whole = header.structure_is_whole(path)
        with h5py.File(path, "r") as file:
            version = file.attrs.get("format_version")
            if version is None:
                raise CacheError(f"{path}: not an audioheads cache file", path)
            if version not in (WHOLE_ROWS_VERSION, SET_VERSION, FORMAT_VERSION):
                raise CacheError(
                    f"{path}: cache format {version}, this program reads 1 to {FORMAT_VERSION}; "
                    "move the file away to compute it again, or use the version that wrote it",
                    path,
                )
            if not whole:
                raise damaged(path, "its structure does not match its digest")
            check_objects(file, path.stat().st_size)
            yield file
    except CacheError:
        raise
    except InvalidCacheError as error:
        raise damaged(path, str(error)) from error
    except PermissionError as error:
        raise CacheError(f"{path}: cannot be read ({error.strerror})", path) from error
    except (OSError, KeyError, ValueError, RuntimeError, TypeError, UnicodeError) as error:
        raise damaged(path, f"HDF5 cannot read it: {str(error).splitlines()[0] if str(error) else error!r}") from error


def read_checked(file: h5py.File, name: str) -> np.ndarray:
    """Read a whole dataset and compare it with its checksum.

    Args:
        file: An open cache file.
        name: The dataset, which is not one of those in `embeddings`.

    Returns:
        The values; text comes as an object array of bytes.

    Raises:
        CacheError: The values do not match the checksum.
    """
    dataset = file[name]
    values = dataset[()]
    if values.dtype.kind == "S":
        values = values.astype(object)
    if array_digest(values).hexdigest() != dataset.attrs["sha256"]:
        raise damaged(Path(file.filename), f"{name} does not match its checksum")
    return values


def read_texts(file: h5py.File, name: str) -> pa.Array:
    """Read a dataset of text as a large_string array."""
    values = read_checked(file, name)
    ends = np.zeros(len(values) + 1, np.int64)
    np.cumsum([len(value) for value in values], out=ends[1:])
    return _array(pa.large_binary(), len(values), ends, b"".join(values)).cast(pa.large_string())


def read_clips(file: h5py.File) -> Records[StoredClip]:
    """Read the clips of a file, in its order."""
    numbers = {}
    for name in ("duration_s", "n_frames"):
        values = np.ascontiguousarray(read_checked(file, f"clips/{name}"))
        numbers[name] = _array(pa.from_numpy_dtype(values.dtype), len(values), values)
    texts = {name: read_texts(file, f"clips/{name}") for name in ("id", "key")}
    return Records(StoredClip, pa.table({**texts, **numbers}))


def _array(kind: pa.DataType, length: int, *buffers: Any) -> pa.Array:
    """Build an array without nulls from its buffers; `pa.array` would import pandas."""
    return pa.Array.from_buffers(kind, length, [None, *map(pa.py_buffer, buffers)])


def attribute_digest(file: h5py.File) -> str:
    """Return the SHA-256 (hex) of the file's attributes and the recorded checksum of each dataset."""
    recorded: dict[str, Any] = {name: _plain(file.attrs[name]) for name in DIGEST_ATTRIBUTES}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            recorded[name] = [item.attrs["sha256"], list(item.shape), str(item.dtype)]

    file.visititems(visit)
    return hashlib.sha256(fp.canonical_json(recorded).encode()).hexdigest()


def array_digest(values: np.ndarray, digest: Any = None) -> Any:
    """Add an array's values to a SHA-256 and return it.

    Args:
        values: Numbers, or an object array of text, where each text is followed by a zero byte.
        digest: A hashlib digest to update; None for a new one.
    """
    digest = digest or hashlib.sha256()
    if values.dtype.kind == "O":
        digest.update(b"".join((v if isinstance(v, bytes) else str(v).encode()) + b"\0" for v in values))
    else:
        digest.update(np.ascontiguousarray(values).view(np.uint8).data if values.size else b"")
    return digest


def damaged(path: Path, why: str) -> CacheError:
    """Return the error for a damaged file."""
    return CacheError(
        f"{path}: damaged ({why}); move the file away and run `audioheads features` with its config to compute "
        "it again; nothing was deleted",
        path,
        why,
    )


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
