"""The files of a corpus' folder: finding them, naming them, and saying so when they are not there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from features.errors import ManifestError
from features.manifest import Manifest

AUDIO_SUFFIXES = (
    *(".wav", ".wave", ".w64", ".rf64", ".flac", ".ogg", ".oga", ".opus", ".mp3"),
    *(".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".m4a", ".aac", ".wma", ".webm"),
)


def existing_folder(root: Path, source: str) -> Path:
    """`root`, when it is a folder.

    Args:
        root: Where the corpus should lie.
        source: Where to get it: one short phrase with an address.

    Raises:
        ManifestError: It is missing or not a folder; says where to get the corpus.
    """
    root = Path(root)
    if not root.is_dir():
        state = "is not a folder" if root.exists() else "no such folder"
        raise ManifestError(f"{root}: {state}; {source} (point elsewhere with --set dataset.root=PATH)")
    return root


def layout_error(root: Path, looked_for: str, source: str) -> ManifestError:
    """The error for a folder that is there but is not laid out like the corpus."""
    return ManifestError(f"{root}: not this corpus' layout, looked for {looked_for}; {source}")


def is_hidden(path: Path) -> bool:
    """Whether an entry is no part of a corpus: dot files and what macOS adds to archives."""
    return path.name.startswith(".") or path.name == "__MACOSX"


def audio_files(folder: Path) -> list[Path]:
    """Every entry below a folder with an audio suffix, sorted.

    A dangling link or a directory with such a name is listed too: reading it fails later and is
    recorded as that clip's failure, where leaving it out would go unnoticed. Linked folders are followed.
    """
    return sorted(_walk(folder, frozenset({folder.resolve()})))


def _walk(folder: Path, above: frozenset[Path]) -> Iterator[Path]:
    for entry in folder.iterdir():
        if is_hidden(entry):
            continue
        if entry.suffix.lower() in AUDIO_SUFFIXES:
            yield entry
        elif entry.is_dir() and (real := entry.resolve()) not in above:
            yield from _walk(entry, above | {real})


def subfolders(root: Path) -> list[Path]:
    """The folders directly in `root`, sorted, hidden ones left out."""
    return sorted(entry for entry in root.iterdir() if entry.is_dir() and not is_hidden(entry))


def relative(path: Path, root: Path) -> str:
    """A clip's id: its path from the root, with forward slashes and extension."""
    return path.relative_to(root).as_posix()


def base_name(path: Path) -> str:
    """The last part of a path, also of `.` and `..`."""
    return path.name if path.name not in ("", "..") else path.resolve().name


def manifest_of(name: str, root: Path, rows: Iterable[Mapping[str, object]]) -> Manifest:
    """A manifest of rows that have `path` and `label`; `id` is the path. Sorted by id."""
    import pandas as pd

    ordered = sorted(({"id": row["path"], **row} for row in rows), key=lambda row: str(row["id"]))
    if not ordered:
        raise ManifestError(f"{root}: no audio files found")
    return Manifest(name, root, pd.DataFrame(ordered, dtype=object))
