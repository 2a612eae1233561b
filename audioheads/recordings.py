"""The forms in which Python code has audio: files, arrays with a sample rate, items of Hugging Face datasets."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np

from features.audio import Waveform, read_waveform
from features.audio.mixing import mono
from features.errors import AudioError

FORMS = (
    "a path, a (rate, array) pair, a dict with `array` and `sampling_rate`, or an array or tensor (T,) with "
    "`sample_rate` set"
)


Recording = Path | Waveform


def read_recordings(given: Any, sample_rate: int | None = None) -> list[Recording]:
    """Return the recordings in any of the supported forms.

    Args:
        given: One recording or several: a list or array of paths, arrays, tensors, pairs or dicts; a two-dimensional
            array (N, T) of N recordings; a pandas Series; a DataFrame with a column `path` or `audio`; a
            `datasets.Dataset` with a column `audio`.
        sample_rate: Rate in Hz of arrays that come without one.

    Raises:
        TypeError: An item has another form; the message names the item.
        ValueError: A waveform has no samples, more than one channel or no rate.
    """
    check_dense(given)
    if is_one(given):
        return [_recording(given, sample_rate, "the input")]
    items = _items(given)
    return [_recording(item, sample_rate, f"item {at}") for at, item in enumerate(items)]


def check_dense(given: Any) -> None:
    """Refuse sparse matrices.

    Raises:
        TypeError: This is one.
    """
    if hasattr(given, "tocsr"):
        raise TypeError(f"expected recordings, got a sparse matrix; a recording is {FORMS}")


def is_one(given: Any) -> bool:
    """Whether this is a single recording, such as a path, a pair or a waveform."""
    if isinstance(given, str | os.PathLike | Mapping) or _is_pair(given) or _is_decoder(given):
        return True
    return _is_array(given) and np.ndim(given) == 1 and len(given) > 0 and np.asarray(given).dtype.kind in "fiu"


def _items(given: Any) -> Iterable[Any]:
    """Return the recordings of a collection."""
    names = getattr(given, "column_names", None)
    names = list(given.columns) if names is None and hasattr(given, "columns") else names
    if names is not None:
        column = next((name for name in ("audio", "path") if name in names), None)
        if column is None:
            raise TypeError(f"the table has no column `audio` or `path`; it has {', '.join(map(str, names))}")
        return given[column]
    if isinstance(given, Iterable):
        return given
    raise TypeError(f"expected recordings, got {type(given).__name__}; a recording is {FORMS}")


def _recording(item: Any, rate: int | None, what: str) -> Recording:
    """Return one recording."""
    if isinstance(item, str | os.PathLike):
        return Path(item)
    if _is_pair(item):
        first, second = item
        own, values = (first, second) if _is_whole(first) else (second, first)
        return _samples(values, own, what)
    if isinstance(item, Mapping):
        return _of_mapping(item, what)
    if _is_decoder(item):
        decoded = item.get_all_samples()
        return _samples(mono(np.asarray(decoded.data, np.float32).T), decoded.sample_rate, what)
    if _is_array(item):
        if rate is None:
            raise ValueError(f"{what} is an array without a sample rate; give (rate, array), or set `sample_rate`")
        return _samples(item, rate, what)
    raise TypeError(f"{what} is of type {type(item).__name__}; a recording is {FORMS}")


def _of_mapping(item: Mapping[str, Any], what: str) -> Recording:
    """Return the recording of a dict as Hugging Face datasets have it."""
    if item.get("array") is not None:
        if item.get("sampling_rate") is None:
            raise ValueError(f"{what} has an `array` but no `sampling_rate`")
        return _samples(item["array"], item["sampling_rate"], what)
    if item.get("bytes") is not None:
        return _of_bytes(item["bytes"], str(item.get("path") or ""), what)
    if item.get("path") is not None:
        return Path(item["path"])
    raise TypeError(
        f"{what} is a dict with {', '.join(map(str, item)) or 'no key'}; it needs `array` and "
        "`sampling_rate`, or `path`"
    )


def _of_bytes(encoded: bytes, name: str, what: str) -> Waveform:
    """Decode the bytes of an audio file as if it were on disk.

    Raises:
        AudioError: They cannot be decoded.
    """
    with tempfile.TemporaryDirectory(prefix="audioheads-") as folder:
        path = Path(folder) / f"audio{Path(name).suffix}"
        path.write_bytes(encoded)
        try:
            return read_waveform(path, None)
        except AudioError as error:
            raise AudioError(f"{what}: {error}") from None


def _samples(values: Any, rate: Any, what: str) -> Waveform:
    """Check a waveform and its rate; whole numbers become fractions of full scale."""
    array = np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)
    if not _is_whole(rate) or rate <= 0:
        raise ValueError(f"{what} has the sample rate {rate!r}, not a whole number of Hz above 0")
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{what} has values of type {array.dtype}, not numbers")
    if array.ndim != 1:
        raise ValueError(f"{what} has the shape {array.shape}; a recording is mono, (T,): average its channels")
    if not len(array):
        raise ValueError(f"{what} has no samples")
    if array.dtype.kind == "u":
        array = (array.astype(np.float64) - 2.0 ** (8 * array.itemsize - 1)) / 2.0 ** (8 * array.itemsize - 1)
    elif array.dtype.kind == "i":
        array = array / 2.0 ** (8 * array.itemsize - 1)
    return Waveform(np.ascontiguousarray(array, np.float32), int(rate))


def _is_pair(item: Any) -> bool:
    """Whether this is (rate, array) or (array, rate)."""
    if not isinstance(item, tuple) or len(item) != 2:
        return False
    numbers = [_is_whole(part) for part in item]
    return numbers.count(True) == 1 and _is_array(item[numbers.index(False)])


def _is_whole(value: Any) -> bool:
    """Whether this is a whole number, of any numeric type."""
    if isinstance(value, bool):
        return False
    return isinstance(value, Integral) or (isinstance(value, float) and value.is_integer())


def _is_array(item: Any) -> bool:
    """Whether this is an array, a tensor or a list of numbers."""
    if isinstance(item, np.ndarray) or hasattr(item, "detach"):
        return True
    return isinstance(item, list) and all(isinstance(one, Real) and not isinstance(one, bool) for one in item[:1])


def _is_decoder(item: Any) -> bool:
    """Whether this is a decoder of torchcodec, as newer versions of `datasets` return."""
    return hasattr(item, "get_all_samples")
