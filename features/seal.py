"""Writing the HDF5 cache: shards, and the sealed file made of them. A file appears whole or not at all."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from features import fingerprint as fp
from features import header, store
from features.errors import RunError
from features.interrupts import interrupts_held
from features.sink import Sink

CHUNK_BYTES = 1 << 20
COPY_BYTES = 1 << 26
LIBRARY_FORMAT = ("v110", "v110")  # of HDF5; with checksums in its own structures
SUMMED_COSTS = ("clips", "audio_s", "compute_s")
LIBRARIES = ("audioheads", "torch", "transformers", "librosa", "soundfile", "soxr", "h5py", "numpy", "ai-edge-litert")


@dataclass
class Rows:
    """Embedded clips on their way to disk.

    Attributes:
        ids: N clip ids.
        keys: N content keys.
        durations_s: N lengths in seconds.
        n_frames: N frame counts.
        pooled: pooling -> (N, L, D) float32.
        frames: N arrays (F, L, D), or None where no frames are kept.
        failures: (id, key, reason) of clips that could not be embedded.
    """

    ids: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    durations_s: list[float] = field(default_factory=list)
    n_frames: list[int] = field(default_factory=list)
    pooled: dict[str, np.ndarray] = field(default_factory=dict)
    frames: list[np.ndarray] | None = None
    failures: list[tuple[str, str, str]] = field(default_factory=list)


def write_file(
    path: Path,
    spec: dict[str, Any],
    parts: Iterable[Rows],
    totals: Totals,
    cost: dict[str, Any],
    *,
    verify: bool = False,
) -> None:
    """Write a cache file or shard: temporary file, digest, fsync, rename.

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
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with interrupts_held() as check_interrupt, Sink(temporary) as sink:
            with h5py.File(sink, "w", userblock_size=header.HEADER_BYTES, libver=LIBRARY_FORMAT) as file:
                bulk = _write_contents(file, spec, _checked(parts, sink.check, check_interrupt), totals, cost)
            sink.check()
        with temporary.open("r+b") as raw:
            raw.write(header.make_header(temporary, bulk))
            raw.flush()
            os.fsync(raw.fileno())
        if verify:
            store.verify_table(temporary)
        temporary.replace(path)
        _sync_folder(path.parent)
    except (OSError, RuntimeError) as error:
        if isinstance(error, RunError):
            raise
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise RunError(
            f"cannot write {path} ({reason}); what was finished before is kept, run again to go on"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


@dataclass(frozen=True)
class Totals:
    """Sizes of a file about to be written."""

    clips: int
    frames: int

    @classmethod
    def of(cls, rows: Rows) -> Totals:
        """Those of rows that are all there."""
        return cls(len(rows.ids), sum(rows.n_frames))


def seal(path: Path, spec: dict[str, Any], shards: Sequence[Path], failures: Iterable[tuple[str, str, str]]) -> None:
    """Merge finished shards, and the old file's rows, into a new file in place of the old.

    A clip's row in a shard replaces its row in the old file; a failure is recorded beside an older row,
    never instead of it. Rows pass through memory in pieces, so that their number does not matter.

    Args:
        path: The cache file.
        spec: The cache spec.
        shards: Shard files of one plan; each is verified on the way.
        failures: (id, key, reason) found while planning.

    Raises:
        CacheError: A shard or the old file is damaged; nothing has changed.
        RunError: The new file cannot be written.
    """
    sources = [store.verify_table(shard) for shard in shards]
    if path.exists():
        sources.insert(0, store.verify_table(path))
    newest = {clip: number for number, table in enumerate(sources) for clip in table.ids}
    failed: dict[str, tuple[str, str]] = {}
    for table in sources:
        embedded = set(table.ids)
        failed = {clip: failure for clip, failure in failed.items() if clip not in embedded} | table.failures
    failed |= {clip: (key, reason) for clip, key, reason in failures}
    chosen = [
        np.array([row for row, clip in enumerate(table.ids) if newest[clip] == number], dtype=np.int64)
        for number, table in enumerate(sources)
    ]
    totals = Totals(
        sum(len(rows) for rows in chosen),
        sum(int(table.n_frames[rows].sum()) for table, rows in zip(sources, chosen, strict=True)),
    )
    cost: dict[str, Any] = {}
    for table in sources:
        cost = table.cost | {name: cost.get(name, 0) + table.cost.get(name, 0) for name in SUMMED_COSTS}
    parts = _copies(sources, chosen, [(clip, *failure) for clip, failure in sorted(failed.items())])
    write_file(path, spec, parts, totals, cost, verify=True)


def _copies(
    sources: Sequence[store.EmbeddingTable], chosen: Sequence[np.ndarray], failures: list[tuple[str, str, str]]
) -> Iterator[Rows]:
    """The chosen rows of each source, piece by piece."""
    for table, rows in zip(sources, chosen, strict=True):
        with h5py.File(table.path, "r") as file:
            row_bytes = 4 * len(table.spec.layers) * table.spec.dim
            longest = int(table.n_frames.max(initial=1)) if "frames" in file else 1
            step = max(1, COPY_BYTES // (row_bytes * longest))
            for first in range(0, len(table), step):
                piece = rows[np.searchsorted(rows, first) : np.searchsorted(rows, first + step)]
                if not len(piece):
                    continue
                start, stop = int(piece[0]), int(piece[-1]) + 1
                yield Rows(
                    ids=list(table.ids[piece]),
                    keys=list(table.keys[piece]),
                    durations_s=list(table.durations_s[piece]),
                    n_frames=list(table.n_frames[piece]),
                    pooled={name: values[start:stop][piece - start] for name, values in file["embeddings"].items()},
                    frames=_ragged(file, piece) if "frames" in file else None,
                )
    yield Rows(failures=failures)


def _ragged(file: h5py.File, rows: np.ndarray) -> list[np.ndarray]:
    offsets = file["frames/offsets"][()]
    return [file["frames/values"][offsets[row] : offsets[row + 1]] for row in rows]


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
    clips, failures = Rows(), []
    clip_at = frame_at = 0
    for part in parts:
        count = len(part.ids)
        if count:
            for method in spec["pooling"]:
                name = f"embeddings/{method}"
                columns[name][clip_at : clip_at + count] = part.pooled[method]
                digests[name] = store.array_digest(np.asarray(part.pooled[method], "f4"), digests[name])
            for frames in part.frames or ():
                values = np.asarray(frames, columns["frames/values"].dtype)
                columns["frames/values"][frame_at : frame_at + len(values)] = values
                digests["frames/values"] = store.array_digest(values, digests["frames/values"])
                frame_at += len(values)
        for name in ("ids", "keys", "durations_s", "n_frames"):
            getattr(clips, name).extend(getattr(part, name))
        failures.extend(part.failures)
        clip_at += count
    for name, dataset in columns.items():
        dataset.attrs["sha256"] = (digests[name] or store.array_digest(np.empty(0))).hexdigest()
    _column(file, "clips/id", clips.ids, h5py.string_dtype())
    _column(file, "clips/key", clips.keys, f"S{max((len(key.encode()) for key in clips.keys), default=1)}")
    _column(file, "clips/duration_s", clips.durations_s, "f4")
    _column(file, "clips/n_frames", clips.n_frames, "i4")
    if spec["frames"] is not None:
        _column(file, "frames/offsets", np.concatenate([[0], np.cumsum(clips.n_frames, dtype=np.int64)]), "i8")
    for position, name in enumerate(("id", "key", "reason")):
        _column(file, f"failures/{name}", [failure[position] for failure in failures], h5py.string_dtype())
    file.attrs["format"] = store.FORMAT
    file.attrs["format_version"] = store.FORMAT_VERSION
    file.attrs["fingerprint"] = fp.fingerprint(spec)
    file.attrs["spec"] = fp.canonical_json(spec)
    file.attrs["versions"] = fp.canonical_json(library_versions())
    file.attrs["created_utc"] = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    file.attrs["cost"] = json.dumps(cost, sort_keys=True)
    file.attrs["digest"] = store.attribute_digest(file)
    file.flush()
    return header.bulk_ranges(list(columns.values()))


def _checked(parts: Iterable[Rows], *checks: Callable[[], None]) -> Iterator[Rows]:
    """The parts, until something goes wrong in writing them."""
    for part in parts:
        yield part
        for check in checks:
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


def _column(file: h5py.File, name: str, values: Any, dtype: Any) -> None:
    """A small dataset with its checksum."""
    fixed_width = isinstance(dtype, str) and dtype.startswith("S")
    text = fixed_width or h5py.check_string_dtype(np.dtype(dtype)) is not None
    array = np.array([str(value).encode() for value in values], dtype=object) if text else np.asarray(values, dtype)
    dataset = file.create_dataset(name, data=array.astype(dtype) if fixed_width else array, dtype=dtype)
    dataset.attrs["sha256"] = store.array_digest(array).hexdigest()


def _sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
