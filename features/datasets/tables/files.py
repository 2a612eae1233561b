"""Find the audio files that a table names: as written, below another folder, without extension, by base name."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from features.audio.containers import SEPARATOR, file_of
from features.datasets.listing import AUDIO_SUFFIXES, audio_files, entries
from features.errors import ManifestError

SHOWN = 3


@dataclass
class FoundFiles:
    """Where the files of a table are.

    Attributes:
        paths: One path per row, relative to the base folder, absolute, or as written if there is no such file.
        as_written: Number of rows whose path is right as it is, after `suffix` is added.
        by_name: Number of rows found by base name, with or without extension.
        missing: Number of rows without a file.
        folders: Folders in which files were found by name, with the number of rows.
    """

    paths: list[str]
    as_written: int = 0
    by_name: int = 0
    missing: int = 0
    folders: Counter[str] = field(default_factory=Counter)

    def summary(self) -> str:
        """Describe how many files were found how."""
        places = ", ".join(f"{place}/ ({count})" for place, count in self.folders.most_common(SHOWN))
        more = f" and {len(self.folders) - SHOWN} more folders" if len(self.folders) > SHOWN else ""
        parts = (
            [f"{self.as_written} of {len(self.paths)} files are at the paths of the table"] if self.as_written else []
        )
        parts.append(f"{self.by_name} of {len(self.paths)} found by name in {places}{more}")
        if self.missing:
            parts.append(f"{self.missing} not found")
        return ", ".join(parts)


def find_files(
    where: str, base: Path, places: Sequence[str], names: Sequence[object], suffix: str | None = None
) -> FoundFiles:
    """Find the file of each row.

    A path is used as written if it exists below `base`. Otherwise, the files below `base` are searched by base name:
    one with the same name, or the same name and an audio extension. A path with folders must end alike, unless no
    row's path exists as written.

    Args:
        where: The table, for messages.
        base: Folder to which paths refer.
        places: The name of each row, for messages.
        names: Paths as written in the table.
        suffix: Extension of the files, added to names that end otherwise; an audio extension is replaced.

    Raises:
        ManifestError: A name fits several files.
    """
    written = [_with_suffix(_posix(base, name), suffix) for name in names]
    known = _Existing(base)
    exists = [known(path) for path in written]
    found = FoundFiles(list(written), as_written=sum(exists))
    if all(exists) or not base.is_dir():
        found.missing = len(written) - found.as_written
        return found
    tree = _Tree(base)
    taken = {path for path, there in zip(written, exists, strict=True) if there}
    for row, (path, there) in enumerate(zip(written, exists, strict=True)):
        if there:
            continue
        fitting = [one for one in tree.fitting(path, strict=found.as_written > 0) if one not in taken]
        if len(fitting) > 1:
            raise _ambiguous(where, places[row], path, base, fitting)
        if fitting:
            found.paths[row] = fitting[0]
            found.by_name += 1
            found.folders[str(PurePosixPath(fitting[0]).parent)] += 1
        else:
            found.missing += 1
    return found


class _Existing:
    """Whether paths exist below a folder; each folder is listed once."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.listed: dict[str, frozenset[str]] = {}

    def __call__(self, path: str) -> bool:
        if SEPARATOR in path and (file := file_of(self.base / path)) != self.base / path:
            return file.exists()
        folder, _, name = path.rpartition("/")
        if folder not in self.listed:
            place = self.base / (folder or ("/" if path.startswith("/") else ""))
            try:
                self.listed[folder] = frozenset(entry.name for entry in entries(place))
            except OSError:
                self.listed[folder] = frozenset()
        return name in self.listed[folder] or (self.base / path).exists()


class _Tree:
    """The audio files below a folder by base name and by name without extension."""

    def __init__(self, base: Path) -> None:
        self.by_name: dict[str, list[str]] = defaultdict(list)
        for file in audio_files(base):
            path = file.relative_to(base).as_posix()
            name = path.rpartition("/")[2]
            self.by_name[name].append(path)
            stem = PurePosixPath(name).stem
            if stem != name:
                self.by_name[stem].append(path)

    def fitting(self, path: str, *, strict: bool) -> list[str]:
        """Return the files that can be meant: those with the most folders in common, counted from the file up."""
        parts = path.strip("/").split("/")
        candidates = self.by_name.get(parts[-1], [])
        if len(parts) == 1 or not candidates:
            return candidates
        shared = [_shared(parts[:-1], file.split("/")[:-1]) for file in candidates]
        best = max(shared)
        if best == 0 and strict:
            return []
        return [file for file, count in zip(candidates, shared, strict=True) if count == best]


def _shared(one: list[str], other: list[str]) -> int:
    """Return how many folders two paths share, counted from the end."""
    count = 0
    while count < min(len(one), len(other)) and one[-1 - count] == other[-1 - count]:
        count += 1
    return count


def _ambiguous(where: str, place: str, path: str, base: Path, fitting: list[str]) -> ManifestError:
    shown = ", ".join(fitting[:SHOWN]) + (f" and {len(fitting) - SHOWN} more" if len(fitting) > SHOWN else "")
    suffixes = {PurePosixPath(file).suffix for file in fitting}
    folders = {str(PurePosixPath(file).parent) for file in fitting}
    way = (
        "dataset.suffix to the extension of the right ones"
        if len(folders) == 1 and len(suffixes) > 1
        else f"dataset.audio_root to the folder of the right ones, such as {base / sorted(folders)[0]}"
    )
    return ManifestError(f"{where}: {place}: {path!r} fits {len(fitting)} files below {base}: {shown}; set {way}")


def _with_suffix(path: str, suffix: str | None) -> str:
    if not suffix or path.lower().endswith(suffix.lower()):
        return path
    stem, dot, old = path.rpartition(".")
    return (stem if dot and f".{old.lower()}" in AUDIO_SUFFIXES else path) + suffix


def _posix(folder: Path, path: object) -> str:
    """Convert a path to forward slashes; a backslash stays only if it is part of an existing file's name."""
    text = str(path)
    if "\\" in text and not (folder / text).exists():
        text = text.replace("\\", "/")
    return PurePosixPath(text).as_posix()
