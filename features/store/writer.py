"""Write files of the HDF5 cache atomically: a file appears complete or not at all."""

from __future__ import annotations

import datetime
import functools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
import pyarrow.compute as pc

from features import backbones
from features.errors import RunError
from features.records import Records
from features.store import file_header as header
from features.store import fingerprint as fp
from features.store import hdf5_file as checked_file
from features.store.hdf5_file import StoredClip
from features.store.layered import CHUNK_BYTES, LayeredWriter, checksums_name
from features.store.verify import verify_table
from features.system.atomic_write import atomic_write, remove_leftovers
from features.system.guarded_file import GuardedFile
from features.system.signals import interrupts_held

PIECE_BYTES = 1 << 25  # frames written at a time
PIECE_ROWS = 4096  # rows of a column written at a time
LIBRARY_FORMAT = ("v110", "v110")  # HDF5 file format that has checksums for its metadata
LIBRARIES = ("audioheads", "torch", "soundfile", "soxr", "h5py", "numpy")  # always recorded; families add their own


class LongFrames(Protocol):
    """Frames of one clip that need not all be in memory."""

    def pieces(self, most_bytes: int) -> Iterator[np.ndarray]:
        """Yield the frames in order, as (f, L, D) arrays of about `most_bytes` at most."""


@dataclass
class CacheRows:
    """Embedded clips to be written to disk.

    Attributes:
        ids: N clip ids.
        keys: N content keys.
        durations_s: N lengths in seconds.
        n_frames: N frame counts.
        pooled: pooling -> (N, L, D) in the type to store.
        frames: N arrays (F, L, D) or `LongFrames`; None if no frames are stored.
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
    def of(cls, rows: CacheRows) -> Totals:
        """Count the clips and frames of some rows."""
        return cls(len(rows.ids), sum(rows.n_frames))


def write_file(
    path: Path,
    spec: dict[str, Any],
    parts: Iterable[CacheRows],
    totals: Totals,
    cost: dict[str, Any],
    *,
    verify: bool = False,
) -> None:
    """Write a cache file or shard atomically.

    Args:
        path: The file to write.
        spec: The cache spec.
        parts: The rows, in parts that fit in memory.
        totals: The number of clips and frames in all parts.
        cost: The cost of computing them, see `EmbeddingTable.cost`.
        verify: Read the new file back before it replaces the old one.

    Raises:
        RunError: The disk is full or the folder is not writable; nothing at `path` has changed.
    """

    def contents(file: h5py.File, check: Callable[[], None]) -> header.Ranges:
        return _write_contents(file, spec, _checked(parts, check), totals, cost)

    write_hdf5(path, contents, before=verify_table if verify else None)


def write_hdf5(
    path: Path,
    contents: Callable[[h5py.File, Callable[[], None]], header.Ranges],
    *,
    before: Callable[[Path], object] | None = None,
) -> None:
    """Write an HDF5 file and its header atomically.

    Args:
        path: The file to write. Its folder must exist; it is not created, as it may be an unmounted network folder.
        contents: Fills the file and returns the byte ranges of its large arrays. It calls its second argument
            regularly, which raises pending write errors.
        before: Called with the finished file just before it is renamed; an exception prevents the renaming.

    Raises:
        RunError: The disk is full or the folder is not writable; nothing at `path` has changed.
    """
    try:
        with atomic_write(path, sync="folder", before=before) as temporary:
            with interrupts_held() as check_interrupt, GuardedFile(temporary) as guarded:

                def check() -> None:
                    guarded.check()
                    check_interrupt()

                with h5py.File(guarded, "w", userblock_size=header.HEADER_BYTES, libver=LIBRARY_FORMAT) as file:
                    arrays = contents(file, check)
                guarded.check()
            with temporary.open("r+b") as raw:
                raw.write(header.make_header(temporary, arrays))
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise RunError(f"cannot write {path} ({reason}); finished work is kept, run again to continue") from error


def _write_contents(
    file: h5py.File, spec: dict[str, Any], parts: Iterable[CacheRows], totals: Totals, cost: dict[str, Any]
) -> header.Ranges:
    """Write all datasets with their checksums and return the byte ranges of the large arrays."""
    layers, dim = len(spec["backbone"]["layers"]), spec["backbone"]["dim"]
    names = {method: f"embeddings/{method}" for method in spec["pooling"]}
    shape = (totals.clips, layers, dim)
    pooled = {method: LayeredWriter(file, name, shape, spec["dtype"]) for method, name in names.items()}
    frames = None if spec["frames"] is None else _frames_dataset(file, spec["frames"], totals.frames, dim)
    file.require_group("embeddings")
    frames_digest = checked_file.array_digest(np.empty(0))
    clips: list[Records[StoredClip]] = []
    failures: list[tuple[str, str, str]] = []
    frame_at = 0
    for part in parts:
        if part.ids:
            for method, writer in pooled.items():
                writer.add(part.pooled[method])
        if frames is not None:
            for values in (piece for clip in part.frames or () for piece in _pieces(clip)):
                values = np.asarray(values, frames.dtype)
                frames[frame_at : frame_at + len(values)] = values
                checked_file.array_digest(values, frames_digest)
                frame_at += len(values)
        clips.append(Records.of(StoredClip, map(StoredClip, part.ids, part.keys, part.durations_s, part.n_frames)))
        failures.extend(part.failures)
    for method, writer in pooled.items():
        write_column(file, checksums_name(names[method]), writer.finish(), "S64")
    written = Records.concat(StoredClip, clips)
    clips.clear()
    write_clips(file, written, failures)
    if frames is not None:
        frames.attrs["sha256"] = frames_digest.hexdigest()
        write_column(file, "frames/offsets", np.concatenate([[0], np.cumsum(written.numbers("n_frames"))]), "i8")
    write_attributes(file, spec, cost, checked_file.FORMAT_VERSION)
    return header.array_ranges([*(writer.dataset for writer in pooled.values()), *([] if frames is None else [frames])])


def write_clips(file: h5py.File, clips: Records[StoredClip], failures: Sequence[tuple[str, str, str]]) -> None:
    """Write the columns that describe clips, and the failures as (id, key, reason)."""
    keys = clips.texts("key")
    write_column(file, "clips/id", clips.texts("id"), h5py.string_dtype())
    write_column(file, "clips/key", keys, f"S{pc.max(pc.binary_length(keys)).as_py() or 1}")
    write_column(file, "clips/duration_s", clips.numbers("duration_s"), "f4")
    write_column(file, "clips/n_frames", clips.numbers("n_frames"), "i4")
    for position, name in enumerate(("id", "key", "reason")):
        write_column(file, f"failures/{name}", [failure[position] for failure in failures], h5py.string_dtype())


def write_attributes(file: h5py.File, spec: dict[str, Any], cost: dict[str, Any], version: int) -> None:
    """Write the file's attributes. Call it last: they include a digest of everything else."""
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
    """Yield a clip's frames, in pieces if they are not in memory."""
    yield from [frames] if isinstance(frames, np.ndarray) else frames.pieces(PIECE_BYTES)


def _checked(parts: Iterable[CacheRows], check: Callable[[], None]) -> Iterator[CacheRows]:
    """Yield the parts; raise pending write errors after each."""
    for part in parts:
        yield part
        check()


def library_versions() -> dict[str, str]:
    """Return the versions of libraries that affect values; they are recorded but not part of the fingerprint."""
    found = {name: _installed_version(name) for name in [*LIBRARIES, *backbones.libraries()]}
    return {name: version for name, version in found.items() if version is not None}


@functools.cache  # each look parses the package's whole description, and every shard file records the versions
def _installed_version(distribution: str) -> str | None:
    """Return the version of an installed package; None without one."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _frames_dataset(file: h5py.File, kept: dict[str, Any], n_frames: int, dim: int) -> h5py.Dataset:
    """Create the dataset of frames, in chunks of whole frames, with HDF5's checksum in addition to ours."""
    shape, dtype = (n_frames, len(kept["layers"]), dim), np.dtype(kept["dtype"])
    if not n_frames:
        return file.create_dataset("frames/values", shape, dtype)
    rows = max(1, min(n_frames, CHUNK_BYTES // (shape[1] * dim * dtype.itemsize)))
    return file.create_dataset("frames/values", shape, dtype, chunks=(rows, *shape[1:]), fletcher32=True)


def write_column(file: h5py.File, name: str, values: Any, dtype: Any) -> None:
    """Write a small dataset and its checksum.

    Args:
        file: The open file.
        name: The dataset to create.
        values: (N,) numbers or text.
        dtype: The type to store, `S<n>` for fixed-width text.
    """
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
    """Remove temporary files of a killed run. Call it only while holding the exclusive lock.

    Args:
        path: The cache file.
        parts: The folder of an unfinished run.
    """
    remove_leftovers(path.parent, path.name)
    remove_leftovers(parts)
