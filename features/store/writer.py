"""Writing files of the HDF5 cache. A file appears whole or not at all."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
import pyarrow.compute as pc

from features.errors import RunError
from features.records import Records
from features.store import file_header as header
from features.store import fingerprint as fp
from features.store import hdf5_file as checked_file
from features.store import table as store
from features.store.guarded_file import Sink
from features.store.hdf5_file import StoredClip
from features.system.atomic_write import atomic_write, remove_leftovers
from features.system.signals import interrupts_held

CHUNK_BYTES = 1 << 20
PIECE_BYTES = 1 << 25  # of frames written at a time
PIECE_ROWS = 4096  # of a column written at a time
LIBRARY_FORMAT = ("v110", "v110")  # of HDF5; with checksums in its own structures
LIBRARIES = ("audioheads", "torch", "transformers", "librosa", "soundfile", "soxr", "h5py", "numpy", "ai-edge-litert")


class LongFrames(Protocol):
    """Frames of one clip that are not all in memory."""

    def pieces(self, most_bytes: int) -> Iterator[np.ndarray]:
        """(f, L, D) arrays, in order."""


@dataclass
class Rows:
    """Embedded clips on their way to disk.

    Attributes:
        ids: N clip ids.
        keys: N content keys.
        durations_s: N lengths in seconds.
        n_frames: N frame counts.
        pooled: pooling -> (N, L, D) float32.
        frames: N arrays (F, L, D), or what gives one in pieces; None where no frames are kept.
        failures: (id, key, reason) of clips that could not be embedded.
    """

    ids: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    durations_s: list[float] = field(default_factory=list)
    n_frames: list[int] = field(default_factory=list)
    pooled: dict[str, np.ndarray] = field(default_factory=dict)
    frames: list[np.ndarray | LongFrames] | None = None
    failures: list[tuple[str, str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Totals:
    """Sizes of a file about to be written."""

    clips: int
    frames: int

    @classmethod
    def of(cls, rows: Rows) -> Totals:
        """Those of rows that are all there."""
        return cls(len(rows.ids), sum(rows.n_frames))


def write_file(
    path: Path,
    spec: dict[str, Any],
    parts: Iterable[Rows],
    totals: Totals,
    cost: dict[str, Any],
    *,
    verify: bool = False,
) -> None:
    """Write a cache file or shard, whole or not at all.

    Args:
        path: Where the whole file shall appear.
        spec: The cache spec.
        parts: The rows, in pieces that fit in memory.
        totals: How many there will be.
        cost: What went into them, see `EmbeddingTable.cost`.
        verify: Read the new file back before it takes the place of the old.

    Raises:
        RunError: The disk is full or the folder not writable; nothing at `path` has changed.
    """

    def contents(file: h5py.File, check: Callable[[], None]) -> header.Ranges:
        return _write_contents(file, spec, _checked(parts, check), totals, cost)

    write_hdf5(path, contents, before=store.verify_table if verify else None)


def write_hdf5(
    path: Path,
    contents: Callable[[h5py.File, Callable[[], None]], header.Ranges],
    *,
    before: Callable[[Path], object] | None = None,
) -> None:
    """Write an HDF5 file and its header, whole or not at all.

    Args:
        path: Where the whole file shall appear, in a folder that is there: one that went away must not be made anew.
        contents: Fills the file and tells where the bulk of it lies; calls its second argument now and then, which
            raises what went wrong.
        before: Called with the finished file just before it takes its place; what it raises prevents that.

    Raises:
        RunError: The disk is full or the folder not writable; nothing at `path` has changed.
    """
    try:
        with atomic_write(path, sync="folder", before=before) as temporary:
            with interrupts_held() as check_interrupt, Sink(temporary) as sink:

                def check() -> None:
                    sink.check()
                    check_interrupt()

                with h5py.File(sink, "w", userblock_size=header.HEADER_BYTES, libver=LIBRARY_FORMAT) as file:
                    bulk = contents(file, check)
                sink.check()
            with temporary.open("r+b") as raw:
                raw.write(header.make_header(temporary, bulk))
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise RunError(
            f"cannot write {path} ({reason}); what was finished before is kept, run again to go on"
        ) from error


def _write_contents(
    file: h5py.File, spec: dict[str, Any], parts: Iterable[Rows], totals: Totals, cost: dict[str, Any]
) -> header.Ranges:
    """Everything inside the HDF5 file, each dataset with its checksum; tells where the bulk of it lies."""
    layers, dim = len(spec["backbone"]["layers"]), spec["backbone"]["dim"]
    columns: dict[str, h5py.Dataset] = {}
    for method in spec["pooling"]:
        columns[f"embeddings/{method}"] = _matrix(file, f"embeddings/{method}", (totals.clips, layers, dim), "f4")
    if spec["frames"] is not None:
        shape = (totals.frames, len(spec["frames"]["layers"]), dim)
        columns["frames/values"] = _matrix(file, "frames/values", shape, np.dtype(spec["frames"]["dtype"]))
    file.require_group("embeddings")
    digests: dict[str, Any] = dict.fromkeys(columns)
    clips: list[Records[StoredClip]] = []
    failures: list[tuple[str, str, str]] = []
    clip_at = frame_at = 0
    for part in parts:
        count = len(part.ids)
        if count:
            for method in spec["pooling"]:
                name = f"embeddings/{method}"
                columns[name][clip_at : clip_at + count] = part.pooled[method]
                digests[name] = checked_file.array_digest(np.asarray(part.pooled[method], "f4"), digests[name])
            for values in (piece for frames in part.frames or () for piece in _pieces(frames)):
                values = np.asarray(values, columns["frames/values"].dtype)
                columns["frames/values"][frame_at : frame_at + len(values)] = values
                digests["frames/values"] = checked_file.array_digest(values, digests["frames/values"])
                frame_at += len(values)
        clips.append(Records.of(StoredClip, map(StoredClip, part.ids, part.keys, part.durations_s, part.n_frames)))
        failures.extend(part.failures)
        clip_at += count
    for name, dataset in columns.items():
        dataset.attrs["sha256"] = (digests[name] or checked_file.array_digest(np.empty(0))).hexdigest()
    written = Records.concat(StoredClip, clips)
    clips.clear()
    write_clips(file, written, failures)
    if spec["frames"] is not None:
        write_column(file, "frames/offsets", np.concatenate([[0], np.cumsum(written.numbers("n_frames"))]), "i8")
    write_attributes(file, spec, cost, checked_file.FORMAT_VERSION)
    return header.bulk_ranges(list(columns.values()))


def write_clips(file: h5py.File, clips: Records[StoredClip], failures: Sequence[tuple[str, str, str]]) -> None:
    """What every cache file says of its clips, and of those that could not be embedded."""
    keys = clips.texts("key")
    write_column(file, "clips/id", clips.texts("id"), h5py.string_dtype())
    write_column(file, "clips/key", keys, f"S{pc.max(pc.binary_length(keys)).as_py() or 1}")
    write_column(file, "clips/duration_s", clips.numbers("duration_s"), "f4")
    write_column(file, "clips/n_frames", clips.numbers("n_frames"), "i4")
    for position, name in enumerate(("id", "key", "reason")):
        write_column(file, f"failures/{name}", [failure[position] for failure in failures], h5py.string_dtype())


def write_attributes(file: h5py.File, spec: dict[str, Any], cost: dict[str, Any], version: int) -> None:
    """What the file is; to be written last, as it states the digests of all else."""
    file.attrs["format"] = checked_file.FORMAT
    file.attrs["format_version"] = version
    file.attrs["fingerprint"] = fp.fingerprint(spec)
    file.attrs["spec"] = fp.canonical_json(spec)
    file.attrs["versions"] = fp.canonical_json(library_versions())
    file.attrs["created_utc"] = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    file.attrs["cost"] = json.dumps(cost, sort_keys=True)
    file.attrs["digest"] = checked_file.attribute_digest(file)
    file.flush()


def _pieces(frames: np.ndarray | LongFrames) -> Iterator[np.ndarray]:
    """A clip's frames, a few at a time where they are not in memory."""
    yield from [frames] if isinstance(frames, np.ndarray) else frames.pieces(PIECE_BYTES)


def _checked(parts: Iterable[Rows], check: Callable[[], None]) -> Iterator[Rows]:
    """The parts, until something goes wrong in writing them."""
    for part in parts:
        yield part
        check()


def library_versions() -> dict[str, str]:
    """Versions of the libraries that decide values; recorded, not fingerprinted."""
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _matrix(file: h5py.File, name: str, shape: tuple[int, int, int], dtype: Any) -> h5py.Dataset:
    """A chunked dataset with HDF5's own checksum besides ours."""
    if shape[0] == 0:
        return file.create_dataset(name, shape, dtype)
    row_bytes = shape[1] * shape[2] * np.dtype(dtype).itemsize
    chunk = (max(1, min(shape[0], CHUNK_BYTES // row_bytes)), shape[1], shape[2])
    return file.create_dataset(name, shape, dtype, chunks=chunk, fletcher32=True)


def write_column(file: h5py.File, name: str, values: Any, dtype: Any) -> None:
    """A small dataset with its checksum."""
    fixed_width = isinstance(dtype, str) and dtype.startswith("S")
    text = fixed_width or h5py.check_string_dtype(np.dtype(dtype)) is not None
    dataset = file.create_dataset(name, (len(values),), dtype)
    digest = checked_file.array_digest(np.empty(0))
    for first in range(0, len(values), PIECE_ROWS):
        piece = values[first : first + PIECE_ROWS]
        array = np.array([str(value).encode() for value in piece], object) if text else np.asarray(piece, dtype)
        dataset[first : first + len(array)] = array.astype(dtype) if fixed_width else array
        digest = checked_file.array_digest(array, digest)
    dataset.attrs["sha256"] = digest.hexdigest()


def remove_temporaries(path: Path, parts: Path) -> None:
    """Remove what a killed run was writing; only to be called when no other run is at work."""
    remove_leftovers(path.parent, path.name)
    remove_leftovers(parts)
