"""Content keys: which bytes a clip was when it was embedded. A sidecar spares reading unchanged files again."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from features.audio import AudioInfo, probe
from features.errors import AudioError, RunError
from features.locks import CacheLock
from features.manifest import Manifest

SIDECAR = "files.parquet"


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


def clip_contents(manifest: Manifest, folder: Path, rehash: bool = False, *, save: bool = True) -> list[ClipContent]:
    """Keys and lengths of a manifest's clips, in its order.

    Args:
        manifest: The clips.
        folder: Where the sidecar lives (`cache/<dataset name>`).
        rehash: Read every file even where size and modification time are unchanged.
        save: Write what was learnt to the sidecar.

    Raises:
        RunError: The sidecar cannot be written.
    """
    paths = [os.path.abspath(manifest.path_of(row)) for row in range(len(manifest))]  # noqa: PTH100 (keeps links)
    known = {} if rehash else _read_sidecar(folder / SIDECAR)
    unique = list(dict.fromkeys(paths))
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        files = dict(zip(unique, pool.map(lambda path: _file_content(path, known.get(path)), unique), strict=True))
    if save and any(files[path] != known.get(path) for path in unique):
        _update_sidecar(folder / SIDECAR, files)
    return [_clip_content(files[path], *manifest.segment_of(row)) for row, path in enumerate(paths)]


def _file_content(path: str, known: FileContent | None) -> FileContent:
    """A file's digest and header; `known` itself where nothing changed."""
    try:
        stat = Path(path).stat()
    except OSError:
        stat = None
    size, mtime_ns = (stat.st_size, stat.st_mtime_ns) if stat else (-1, -1)
    if known is not None and not known.failure and stat and (known.size, known.mtime_ns) == (size, mtime_ns):
        return known
    try:
        info = probe(Path(path))
        with Path(path).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except AudioError as error:
        return FileContent(path, size, mtime_ns, "", 0, 0, str(error))
    except OSError as error:
        return FileContent(path, size, mtime_ns, "", 0, 0, f"cannot be read ({error.strerror or error})")
    return FileContent(path, size, mtime_ns, digest, info.frames, info.sample_rate, "")


def _clip_content(file: FileContent, start_s: float, duration_s: float | None) -> ClipContent:
    """What one row sees of its file."""
    failure, frames, key = file.failure, file.frames, file.sha256
    if not failure and (start_s or duration_s is not None):
        key = f"{file.sha256}#{start_s:.9g}+{'' if duration_s is None else format(duration_s, '.9g')}"
        try:
            start, stop = AudioInfo(file.frames, file.sample_rate).segment(start_s, duration_s)
            frames = stop - start
        except AudioError as error:
            failure, frames = str(error), 0
    return ClipContent(key, frames, file.sample_rate, file.size, file.mtime_ns, failure)


def _read_sidecar(path: Path) -> dict[str, FileContent]:
    """Known files by path; an unreadable sidecar is as good as none."""
    try:
        columns = pq.read_table(path, page_checksum_verification=True).to_pydict()
        return {file.path: file for file in map(FileContent, *(columns[field.name] for field in fields(FileContent)))}
    except Exception:  # a damaged file can raise anything
        return {}


def _update_sidecar(path: Path, files: dict[str, FileContent]) -> None:
    """Add what was learnt of `files` to the sidecar, in one step."""
    temporary = path.with_name(f".{path.name}.tmp")
    with CacheLock(path, lambda message: None):
        known = {**_read_sidecar(path), **files}
        try:
            pq.write_table(pa.Table.from_pylist(list(map(asdict, known.values()))), temporary, write_page_checksum=True)
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise RunError(f"cannot write {path} ({error.strerror or error}); nothing has changed") from error
