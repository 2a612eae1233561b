"""Content keys: which bytes a clip was when it was embedded. A sidecar spares reading unchanged files again."""

from __future__ import annotations

import hashlib
import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.audio.decoding import probe
from features.audio.file import AudioInfo
from features.errors import AudioError, RunError
from features.manifest import Manifest
from features.records import Records
from features.system.atomic_write import atomic_write, remove_leftovers
from features.system.locks import CacheLock

SIDECAR = "files.parquet"
PIECE = 256  # files that a thread looks at before it takes others
LEFTOVER_AGE_S = 86_400.0  # the lock does not reach all network folders: another machine may be writing


@dataclass(frozen=True, slots=True)
class FileContent:
    """What is known of one file: identity on disk, digest of its bytes, and its header or what is wrong with it."""

    path: str
    size: int
    mtime_ns: int
    sha256: str
    frames: int
    sample_rate: int
    failure: str


@dataclass(frozen=True, slots=True)
class ClipContent:
    """One manifest row's audio.

    Attributes:
        key: SHA-256 of the file's bytes, with `#start+duration` for a segment; empty if unreadable.
        frames: Length at the file's own rate; 0 if unreadable.
        sample_rate: The file's own rate in Hz.
        size: Of the file, in bytes.
        mtime_ns: Of the file.
        failure: Why the clip cannot be used, or empty.
    """

    key: str
    frames: int
    sample_rate: int
    size: int
    mtime_ns: int
    failure: str

    @property
    def duration_s(self) -> float:
        """Length in seconds; 0 if unreadable."""
        return self.frames / self.sample_rate if self.sample_rate else 0.0


def clip_contents(manifest: Manifest, folder: Path, rehash: bool = False, *, save: bool = True) -> Records[ClipContent]:
    """Keys and lengths of a manifest's clips, in its order.

    Args:
        manifest: The clips.
        folder: Where the sidecar lives (`cache/<dataset name>`).
        rehash: Read every file even where size and modification time are unchanged.
        save: Write what was learnt to the sidecar.

    Raises:
        RunError: The sidecar cannot be written.
    """
    paths = pa.array(map(os.path.abspath, manifest.paths()), pa.large_string()).dictionary_encode()
    files = _file_contents(paths.dictionary, folder / SIDECAR, rehash, save)
    held = (files.take(paths.indices.slice(first, PIECE)) for first in range(0, len(manifest), PIECE))
    segments = zip(chain.from_iterable(held), *manifest.segments(), strict=True)
    return Records.of(ClipContent, (_clip_content(*segment) for segment in segments))


def _file_contents(paths: pa.Array, sidecar: Path, rehash: bool, save: bool) -> Records[FileContent]:
    """What is known of some files, each looked at; what has changed since it was is read again."""
    stored = Records.of(FileContent, ()) if rehash else _read_sidecar(sidecar)
    known = stored.table.take(pc.index_in(paths, stored.texts("path")))  # nulls where nothing is known

    def look(first: int) -> Records[FileContent]:
        """A piece of the files, as they are now."""
        pairs = zip(*(column.slice(first, PIECE).to_pylist() for column in (paths, known)), strict=True)
        return Records.of(FileContent, (_file_content(path, before) for path, before in pairs))

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        files = Records.concat(FileContent, pool.map(look, range(0, len(paths), PIECE)))
    if save and not files.table.equals(known):
        _update_sidecar(sidecar, files)
    return files


def readable(contents: Records[ClipContent]) -> np.ndarray:
    """(N,) bool: which clips can be used, as far as their files' headers tell."""
    return pc.equal(contents.texts("failure"), "").to_numpy(zero_copy_only=False)


def _file_content(path: str, known: dict[str, Any]) -> FileContent:
    """A file's digest and header; what is `known` (None where nothing is) itself where nothing changed."""
    try:
        stat = Path(path).stat()
    except OSError:
        stat = None
    size, mtime_ns = (stat.st_size, stat.st_mtime_ns) if stat else (-1, -1)
    if stat and not known["failure"] and (known["size"], known["mtime_ns"]) == (size, mtime_ns):
        return FileContent(**known)
    try:
        info = probe(Path(path))
        with Path(path).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except AudioError as error:
        return FileContent(path, size, mtime_ns, "", 0, 0, str(error))
    except OSError as error:
        return FileContent(path, size, mtime_ns, "", 0, 0, f"cannot be read ({error.strerror or error})")
    return FileContent(path, size, mtime_ns, digest, info.frames, info.sample_rate, "")


def _clip_content(file: FileContent, start_s: float, duration_s: float) -> ClipContent:
    """What one row sees of its file; NaN is no duration."""
    failure, frames, key = file.failure, file.frames, file.sha256
    length_s = None if math.isnan(duration_s) else duration_s
    if not failure and (start_s or length_s is not None):
        key = f"{file.sha256}#{start_s:.9g}+{'' if length_s is None else format(length_s, '.9g')}"
        try:
            start, stop = AudioInfo(file.frames, file.sample_rate).segment(start_s, length_s)
            frames = stop - start
        except AudioError as error:
            failure, frames = str(error), 0
    return ClipContent(key, frames, file.sample_rate, file.size, file.mtime_ns, failure)


def _read_sidecar(path: Path) -> Records[FileContent]:
    """Known files; an unreadable sidecar is as good as none."""
    try:
        table = pq.read_table(path, page_checksum_verification=True)
        table.validate(full=True)
        return Records(FileContent, table)
    except Exception:  # a damaged file can raise anything
        return Records.of(FileContent, ())


def _update_sidecar(path: Path, files: Records[FileContent]) -> None:
    """Add what was learnt of `files` to the sidecar, in one step."""
    with CacheLock(path, lambda message: None):
        known = _read_sidecar(path)
        others = known.table.filter(pc.invert(pc.is_in(known.texts("path"), files.texts("path"))))
        try:
            remove_leftovers(path.parent, path.name, min_age_s=LEFTOVER_AGE_S)
            with atomic_write(path) as temporary:
                pq.write_table(pa.concat_tables([others, files.table]), temporary, write_page_checksum=True)
        except OSError as error:
            raise RunError(f"cannot write {path} ({error.strerror or error}); nothing has changed") from error
