"""Unpack untrusted zip and tar archives: only plain files and folders, all inside one folder."""

from __future__ import annotations

import gzip
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

from features.errors import RunError

DAMAGE = (
    *(zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError),
    *(NotImplementedError, RuntimeError),  # an unknown compression, a password
)
MOST_TARGET = 4096  # bytes of a link's target; Linux allows no more
MOST_NAME, MOST_PATH = 255, 4096  # bytes of a name and of a path that file systems allow
JUNK = ("__MACOSX", ".DS_Store")  # added to archives by macOS


@dataclass
class Unpacked:
    """The result of unpacking an archive.

    Attributes:
        files: Number of plain files written.
        size_bytes: Their total size.
        links: Names of the links in the archive, which are skipped.
    """

    files: int = 0
    size_bytes: int = 0
    links: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Member:
    """One entry of an archive."""

    name: str
    kind: str  # file, folder, link or device
    size: int
    target: str
    open: Callable[[], IO[bytes] | None]


def unpack(archive: Path, folder: Path, *, strip: bool) -> Unpacked:
    """Unpack an archive into a folder.

    Links are never created. An archive with a link that leads out of the folder is refused; other links are skipped
    and listed.

    Args:
        archive: Zip, or tar in any compression that Python reads.
        folder: Target folder; created if it does not exist.
        strip: Omit the top-level folder if it contains everything else.

    Raises:
        RunError: The archive is damaged, not an archive, too large for the disk, or contains absolute paths, paths or
            links that lead out of the folder, or devices.
        OSError: The disk is full.
    """
    try:
        with _opened(archive) as members:
            _check(archive, members)
            needed, free = sum(member.size for member in members), shutil.disk_usage(_existing(folder)).free
            if needed > free:
                raise RunError(
                    f"{archive.name} unpacks to {needed / 1e9:.1f} GB, but {folder.parent} has {free / 1e9:.1f} GB "
                    "free; free some space or choose another folder with --to"
                )
            top = _top(members) if strip else None
            _check_names(archive, members, folder, top)
            return _write(archive, members, folder, top)
    except DAMAGE as error:
        raise RunError(f"{archive}: damaged or not an archive ({error})") from error


@contextmanager
def _opened(path: Path) -> Iterator[list[_Member]]:
    """Yield the members of an archive, readable inside the block."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as zipped:
            yield [_zip_member(zipped, info) for info in zipped.infolist()]
        return
    with tarfile.open(path) as file:
        yield [_tar_member(file, info) for info in file.getmembers()]


def _zip_member(file: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Member:
    mode = info.external_attr >> 16
    kind = "folder" if info.is_dir() else "file"
    target = ""
    if stat.S_ISLNK(mode):
        with file.open(info) as body:
            kind, target = "link", body.read(MOST_TARGET + 1).decode("utf-8", "replace")
    elif stat.S_IFMT(mode) and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        kind = "device"
    return _Member(info.filename, kind, info.file_size, target, lambda: file.open(info))


def _tar_member(file: tarfile.TarFile, info: tarfile.TarInfo) -> _Member:
    kind = (
        "file" if info.isreg() else "folder" if info.isdir() else "link" if info.issym() or info.islnk() else "device"
    )
    # Symbolic links are relative to their own folder, hard links to the archive's root.
    target = info.linkname if info.islnk() else f"{PurePosixPath(info.name).parent}/{info.linkname}"
    if info.issym() and info.linkname.startswith("/"):
        target = info.linkname
    return _Member(info.name, kind, info.size if kind == "file" else 0, target, lambda: file.extractfile(info))


def _check(archive: Path, members: list[_Member]) -> None:
    """Refuse an archive that would write outside its folder, before anything is written."""
    for member in members:
        if _leads_out(member.name):
            raise RunError(f"{archive.name}: refused, {member.name!r} would be written outside the folder")
        if member.kind == "device":
            raise RunError(f"{archive.name}: refused, {member.name!r} is a device or a pipe, not a file")
        if member.kind == "link" and len(member.target.encode()) > MOST_TARGET:
            raise RunError(f"{archive.name}: refused, the link {member.name!r} has more than {MOST_TARGET} bytes")
        if member.kind == "link" and _leads_out(member.target):
            raise RunError(
                f"{archive.name}: refused, {member.name!r} is a link out of the folder, to {member.target!r}"
            )


def _check_names(archive: Path, members: list[_Member], folder: Path, top: str | None) -> None:
    """Refuse names that cannot exist together on a file system, before anything is written."""
    files: set[tuple[str, ...]] = set()
    for member in members:
        parts = _target_parts(member.name, top)
        if any(len(part.encode("utf-8", "surrogatepass")) > MOST_NAME for part in parts) or (
            len(str(folder.absolute().joinpath(*parts)).encode("utf-8", "surrogatepass")) >= MOST_PATH
        ):
            raise RunError(f"{archive.name}: refused, the name {member.name[:60]!r}… is too long for a file system")
        if member.kind == "file" and not _is_junk(_parts(member.name)):
            files.add(tuple(parts))
    for member in members:
        parts = _target_parts(member.name, top)
        if member.kind == "link" or _is_junk(_parts(member.name)):
            continue
        above = range(1, len(parts) + (member.kind == "folder"))
        if clash := next((parts[:depth] for depth in above if tuple(parts[:depth]) in files), None):
            raise RunError(f"{archive.name}: refused, {'/'.join(clash)!r} is a file and a folder")


def _target_parts(name: str, top: str | None) -> list[str]:
    """Return the parts of a member's path below the target folder."""
    parts = _parts(name)
    return parts[1:] if top is not None and parts[:1] == [top] else parts


def _leads_out(name: str) -> bool:
    """Whether a path relative to the folder leads outside it on any operating system."""
    if name.startswith(("/", "\\")) or "\0" in name or (len(name) > 1 and name[1] == ":"):
        return True
    depth = 0
    for part in name.replace("\\", "/").split("/"):
        depth += -1 if part == ".." else 0 if part in ("", ".") else 1
        if depth < 0:
            return True
    return False


def _parts(name: str) -> list[str]:
    """Split a checked path into parts, with `..` resolved."""
    parts: list[str] = []
    for part in name.replace("\\", "/").split("/"):
        if part == "..":
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return parts


def _top(members: list[_Member]) -> str | None:
    """Return the top-level folder if it contains all members, else None."""
    kept = [parts for member in members if (parts := _parts(member.name)) and not _is_junk(parts)]
    tops = {parts[0] for parts in kept}
    return tops.pop() if len(tops) == 1 and all(len(parts) > 1 for parts in kept if parts != [kept[0][0]]) else None


def _is_junk(parts: list[str]) -> bool:
    return any(part in JUNK or part.startswith("._") for part in parts)


def _write(archive: Path, members: list[_Member], folder: Path, top: str | None) -> Unpacked:
    """Write the plain files."""
    done = Unpacked()
    folder.mkdir(parents=True, exist_ok=True)
    for member in members:
        parts = _parts(member.name)
        if _is_junk(parts) or member.kind == "folder":
            continue
        parts = _target_parts(member.name, top)
        if member.kind == "link":
            done.links.append(member.name)
            continue
        if not parts:
            raise RunError(f"{archive.name}: refused, {member.name!r} is a file without a name")
        path = folder.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        source = member.open()
        if source is None:
            raise RunError(f"{archive.name}: {member.name!r} cannot be read")
        with source, path.open("wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
        done.files += 1
        done.size_bytes += member.size
    return done


def _existing(folder: Path) -> Path:
    """Return the folder itself or its nearest existing parent."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
