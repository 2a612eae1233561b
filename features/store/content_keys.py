"""Content keys: digests of the audio that was embedded. A sidecar file avoids reading unchanged files again."""

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

from features.audio.containers import file_of, open_audio
from features.audio.decoding import probe
from features.audio.file import AudioInfo
from features.errors import AudioError, RunError, decoder_error
from features.manifest import Manifest
from features.records import Records
from features.system.atomic_write import atomic_write, remove_leftovers
from features.system.attempts import Attempts
from features.system.locks import CacheLock

SIDECAR = "files.parquet"
PIECE = 256  # files per task of a thread
LEFTOVER_AGE_S = 86_400.0  # locks do not work on all network folders: another machine may be writing


@dataclass(frozen=True, slots=True)
class FileContent:
    """One audio file: its identity on disk, the digest of its bytes, and its header or the reason it is unusable.

    Size and modification time of a member of a container are those of the container.
    """

    path: str
    size: int
    mtime_ns: int
    sha256: str
    frames: int
    sample_rate: int
    failure: str


@dataclass(frozen=True, slots=True)
class ClipContent:
    """The audio of one manifest row.

    Attributes:
        key: SHA-256 of the file's bytes, with `#start+duration` for a segment; empty if unreadable.
        frames: Length in samples at the file's sample rate; 0 if unreadable.
        sample_rate: The file's sample rate in Hz.
        size: Size of the file, or of the container that holds it, in bytes.
        mtime_ns: Modification time of that file.
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

    @property
    def file_key(self) -> str:
        """The key of the whole file."""
        return self.key.partition("#")[0]


def clip_contents(manifest: Manifest, folder: Path, rehash: bool = False, *, save: bool = True) -> Records[ClipContent]:
    """Return keys and lengths of a manifest's clips, in its order.

    Args:
        manifest: The clips.
        folder: The folder of the sidecar file (`cache/<dataset name>`).
        rehash: Read every file, even if its size and modification time are unchanged.
        save: Update the sidecar file.

    Raises:
        RunError: The sidecar cannot be written.
    """
    return clips_of_files(manifest, file_contents(manifest, folder, rehash, save=save))


def file_contents(manifest: Manifest, folder: Path, rehash: bool = False, *, save: bool = True) -> Records[FileContent]:
    """Return digest and header of each file that a manifest refers to; only changed files are read.

    Args:
        manifest: The clips.
        folder: The folder of the sidecar file.
        rehash: Read every file, even if its size and modification time are unchanged.
        save: Update the sidecar file.

    Returns:
        One record per file, even if it holds several clips.

    Raises:
        RunError: The sidecar cannot be written.
    """
    paths = _absolute_paths(manifest).unique()
    stored = Records.of(FileContent, ()) if rehash else _read_sidecar(folder / SIDECAR)
    known = stored.table.take(pc.index_in(paths, stored.texts("path")))  # nulls where nothing is known

    def look(first: int) -> Records[FileContent]:
        """Examine `PIECE` files."""
        pairs = zip(*(column.slice(first, PIECE).to_pylist() for column in (paths, known)), strict=True)
        return Records.of(FileContent, (_file_content(path, before, attempts) for path, before in pairs))

    with Attempts(folder, mark=save) as attempts, ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        files = Records.concat(FileContent, pool.map(look, range(0, len(paths), PIECE)))
    if save and not files.table.equals(known):
        _update_sidecar(folder / SIDECAR, files)
    return files


def clips_of_files(manifest: Manifest, files: Records[FileContent]) -> Records[ClipContent]:
    """Return keys and lengths of clips from known file contents; no file is read.

    Args:
        manifest: The clips.
        files: The result of `file_contents` for the same files.

    Returns:
        N records in the manifest's order.
    """
    at = pc.index_in(_absolute_paths(manifest), files.texts("path"))
    held = (files.take(at.slice(first, PIECE)) for first in range(0, len(manifest), PIECE))
    segments = zip(chain.from_iterable(held), *manifest.segments(), strict=True)
    return Records.of(ClipContent, (_clip_content(*segment) for segment in segments))


def _absolute_paths(manifest: Manifest) -> pa.Array:
    """Return the absolute path of each row's file."""
    return pa.array(map(os.path.abspath, manifest.paths()), pa.large_string())


def readable(contents: Records[ClipContent]) -> np.ndarray:
    """Return which clips are usable according to their files' headers, (N,) bool."""
    return pc.equal(contents.texts("failure"), "").to_numpy(zero_copy_only=False)


def _file_content(path: str, known: dict[str, Any], attempts: Attempts) -> FileContent:
    """Return a file's digest and header; the `known` record (values None if unknown) if the file is unchanged."""
    try:
        stat = file_of(path).stat()
    except OSError:
        stat = None
    size, mtime_ns = (stat.st_size, stat.st_mtime_ns) if stat else (-1, -1)
    if stat and not known["failure"] and (known["size"], known["mtime_ns"]) == (size, mtime_ns):
        return FileContent(**known)
    try:
        with attempts.attempt(f"{path}\0{size}\0{mtime_ns}") as isolated:
            info = probe(Path(path), isolated=isolated)
        with open_audio(Path(path)) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except AudioError as error:
        return FileContent(path, size, mtime_ns, "", 0, 0, str(error))
    except OSError as error:
        return FileContent(path, size, mtime_ns, "", 0, 0, f"cannot be read ({error.strerror or error})")
    except Exception as error:  # a crashing decoder fails one file, not the run
        return FileContent(path, size, mtime_ns, "", 0, 0, str(decoder_error(error)))
    return FileContent(path, size, mtime_ns, digest, info.frames, info.sample_rate, "")


def _clip_content(file: FileContent, start_s: float, duration_s: float) -> ClipContent:
    """Return the content of one row's segment; a NaN duration extends to the end of the file."""
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
    """Return the known files; an unreadable sidecar counts as empty."""
    try:
        table = pq.read_table(path, page_checksum_verification=True)
        table.validate(full=True)
        return Records(FileContent, table)
    except Exception:  # a damaged file can raise anything
        return Records.of(FileContent, ())


def _update_sidecar(path: Path, files: Records[FileContent]) -> None:
    """Merge `files` into the sidecar atomically."""
    with CacheLock(path, lambda message: None):
        known = _read_sidecar(path)
        others = known.table.filter(pc.invert(pc.is_in(known.texts("path"), files.texts("path"))))
        try:
            remove_leftovers(path.parent, path.name, min_age_s=LEFTOVER_AGE_S)
            with atomic_write(path) as temporary:
                pq.write_table(pa.concat_tables([others, files.table]), temporary, write_page_checksum=True)
        except OSError as error:
            raise RunError(f"cannot write {path} ({error.strerror or error}); nothing has changed") from error
