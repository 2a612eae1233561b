"""What a cache file may contain. A digest shows damage, not who wrote a file, so this is checked before it is used.

`check_objects` runs whenever a file is opened and reads no array: only groups of plain datasets that are stored in the
file itself, without compression, so that reading one never needs more memory than the file has bytes.
`check_values` reads every embedding.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

PLAIN_KINDS = "fiuS"
FLOATS = ("float16", "float32")  # types in which embeddings and frames can be stored
REFERENCE = np.dtype([("bytes", "<u4"), ("address", "<u8"), ("number", "<u4")])  # of a stored text, in HDF5's format
MOST_LAYERS, MOST_DIM = 10_000, 10_000_000
PIECE_BYTES = 1 << 26


class InvalidCacheError(ValueError):
    """A cache file contains what no run writes; the message says what."""


def check_objects(file: h5py.File, size: int) -> None:
    """Check the structure of an open file without reading its arrays.

    Args:
        file: The open file.
        size: Its size in bytes.

    Raises:
        InvalidCacheError: It contains something that no cache file contains; the message names it.
    """
    _check_attributes(file)
    for name in file:
        group = _linked(file, name, name)
        if not isinstance(group, h5py.Group):
            raise InvalidCacheError(f"{name} is not a group")
        for inner in group:
            path = f"{name}/{inner}"
            dataset = _linked(group, inner, path)
            if not isinstance(dataset, h5py.Dataset):
                raise InvalidCacheError(f"{path} is not a dataset")
            _check_dataset(file, dataset, path, size)


def _linked(group: h5py.Group, name: str, path: str) -> Any:
    """Return a member of a group; soft and external links could lead anywhere."""
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise InvalidCacheError(f"{path} is a link to something else")
    return group[name]


def _check_dataset(file: h5py.File, dataset: h5py.Dataset, path: str, size: int) -> None:
    made = dataset.id.get_create_plist()
    if made.get_layout() == h5py.h5d.VIRTUAL or dataset.is_virtual:
        raise InvalidCacheError(f"{path} is stored in other datasets")
    if made.get_external_count():
        raise InvalidCacheError(f"{path} is stored in another file")
    filters = [made.get_filter(number)[0] for number in range(made.get_nfilters())]
    if filters not in ([], [h5py.h5z.FILTER_FLETCHER32]):
        raise InvalidCacheError(f"{path} is compressed or filtered")
    if dataset.shape is None or any(length < 0 for length in dataset.shape):
        raise InvalidCacheError(f"{path} has no shape")
    text = h5py.check_string_dtype(dataset.dtype)
    if dataset.dtype.kind not in PLAIN_KINDS and text is None:
        raise InvalidCacheError(f"{path} has values of an unexpected type {dataset.dtype}")
    n_bytes = int(np.prod([int(length) for length in dataset.shape], dtype=object)) * dataset.id.get_type().get_size()
    if n_bytes > size:
        raise InvalidCacheError(f"{path} has shape {dataset.shape}, more than the file's {size} bytes can hold")
    if text is not None and text.length is None and n_bytes:
        _check_texts(file, dataset, path, size)
    _check_attributes(dataset)


def _check_texts(file: h5py.File, dataset: h5py.Dataset, path: str, size: int) -> None:
    """Check that texts of any length together fit into the file: many of them may refer to the same bytes."""
    start, count = dataset.id.get_offset(), len(dataset)
    if start is None or dataset.ndim != 1 or dataset.id.get_storage_size() != count * REFERENCE.itemsize:
        raise InvalidCacheError(f"{path} is stored in an unexpected way")
    held = int(np.fromfile(file.filename, REFERENCE, count, offset=int(start))["bytes"].sum(dtype=np.uint64))
    if held > size:
        raise InvalidCacheError(f"{path} has {held} bytes of text, more than the file's {size} bytes can hold")


def _check_attributes(item: Any) -> None:
    for name in item.attrs:
        if item.attrs.get_id(name).shape != ():
            raise InvalidCacheError(f"attribute {name} is an array")


def check_spec(spec: Any, where: str = "spec") -> None:
    """Check the parts of a cache spec that say which arrays there are.

    Raises:
        InvalidCacheError: A part is missing, or its value is of the wrong kind; the message names it.
    """
    backbone = _mapping(spec, where, "backbone")
    layers = backbone.get("layers")
    if not isinstance(layers, list) or not 1 <= len(layers) <= MOST_LAYERS or not all(map(_is_count, layers)):
        raise InvalidCacheError(f"{where}.backbone.layers is not a list of numbers")
    if not _is_count(backbone.get("dim")) or not 1 <= backbone["dim"] <= MOST_DIM:
        raise InvalidCacheError(f"{where}.backbone.dim is {backbone.get('dim')!r}")
    for name in ("name", "family", "weights", "weights_sha256"):
        if not isinstance(backbone.get(name), str):
            raise InvalidCacheError(f"{where}.backbone.{name} is not text")
    for name in ("sample_rate", "frame_rate", "min_duration_s", "max_duration_s"):
        if not _is_number(backbone.get(name)):
            raise InvalidCacheError(f"{where}.backbone.{name} is not a number")
    pooling = spec.get("pooling")
    if not isinstance(pooling, list) or not all(isinstance(name, str) for name in pooling):
        raise InvalidCacheError(f"{where}.pooling is not a list of names")
    if spec.get("dtype") not in FLOATS:
        raise InvalidCacheError(f"{where}.dtype is not {' or '.join(FLOATS)}")
    if (frames := spec.get("frames")) is not None:
        if not isinstance(frames, Mapping) or frames.get("dtype") not in FLOATS:
            raise InvalidCacheError(f"{where}.frames has no dtype {' or '.join(FLOATS)}")
        if not isinstance(frames.get("layers"), list):
            raise InvalidCacheError(f"{where}.frames.layers is not a list")


def check_cost(cost: Any) -> None:
    """Check the cost of a cache; keys may be missing, and others may be there.

    Raises:
        InvalidCacheError: A value is of the wrong kind.
    """
    if not isinstance(cost, Mapping):
        raise InvalidCacheError("cost is not a mapping")
    for name in ("clips", "audio_s", "compute_s", "read_s", "forward_s", "pool_s", "write_s"):
        if not _is_number(cost.get(name, 0)):
            raise InvalidCacheError(f"cost.{name} is not a number")


def check_arrays(
    file: h5py.File, spec: Mapping[str, Any], clips: int, frames: int, *, by_layer: bool, exactly: bool = False
) -> None:
    """Check that a file holds the arrays that its spec announces, with their shapes.

    Args:
        file: An open file, not the index of a set.
        spec: Its cache spec.
        clips: Number of rows of its embeddings.
        frames: Number of its frames.
        by_layer: Whether its embeddings have a checksum for each layer.
        exactly: Whether it may hold no more than that.

    Raises:
        InvalidCacheError: An array is missing, too short, or has another shape or type.
    """
    layers, dim = len(spec["backbone"]["layers"]), spec["backbone"]["dim"]
    for name in spec["pooling"]:
        _check_shape(file, f"embeddings/{name}", clips, (layers, dim), spec["dtype"], exactly)
        if by_layer:
            _check_checksums(file, f"checksums/{name}", layers)
    if spec["frames"] is not None:
        _check_shape(
            file, "frames/values", frames, (len(spec["frames"]["layers"]), dim), spec["frames"]["dtype"], exactly
        )


def _check_shape(file: h5py.File, path: str, rows: int, rest: tuple[int, int], dtype: str, exactly: bool) -> None:
    if path not in file:
        raise InvalidCacheError(f"{path} is missing")
    dataset = file[path]
    fits = dataset.ndim == 3 and (dataset.shape[0] == rows if exactly else dataset.shape[0] >= rows)
    if not fits or dataset.shape[1:] != rest:
        raise InvalidCacheError(f"{path} has shape {dataset.shape} instead of {(rows, *rest)}")
    if dataset.dtype != np.dtype(dtype):
        raise InvalidCacheError(f"{path} has type {dataset.dtype} instead of {dtype}")


def _check_checksums(file: h5py.File, path: str, layers: int) -> None:
    if path not in file:
        raise InvalidCacheError(f"{path} is missing")
    if file[path].shape != (layers,) or file[path].dtype != np.dtype("S64"):
        raise InvalidCacheError(f"{path} is not a checksum for each of {layers} layers")


def check_clips(ids: pa.Array, durations_s: np.ndarray, n_frames: np.ndarray) -> None:
    """Check the columns that describe clips.

    Raises:
        InvalidCacheError: An id occurs twice, or a duration or a number of frames is impossible.
    """
    if pc.count_distinct(ids).as_py() != len(ids):
        raise InvalidCacheError("a clip id occurs twice")
    if not np.isfinite(durations_s).all() or (durations_s < 0).any():
        raise InvalidCacheError("a duration is negative or not a number")
    if (n_frames < 0).any():
        raise InvalidCacheError("a number of frames is negative")


def check_values(file: h5py.File) -> None:
    """Check that every embedding and every stored frame is a finite number; reads all of them.

    Raises:
        InvalidCacheError: A value is NaN or infinite.
    """
    for group in ("embeddings", "frames"):
        for name, dataset in file[group].items() if group in file else ():
            if dataset.dtype.kind != "f" or not dataset.size:
                continue
            step = max(1, PIECE_BYTES // (dataset.dtype.itemsize * int(np.prod(dataset.shape[1:]))))
            for first in range(0, len(dataset), step):
                if not np.isfinite(dataset[first : first + step]).all():
                    raise InvalidCacheError(f"{group}/{name} contains a value that is NaN or infinite")


def _mapping(value: Any, where: str, key: str) -> Mapping[str, Any]:
    inner = value.get(key) if isinstance(value, Mapping) else None
    if not isinstance(inner, Mapping):
        raise InvalidCacheError(f"{where}.{key} is not a mapping")
    return inner


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
