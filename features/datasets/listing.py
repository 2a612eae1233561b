"""Find and name the audio files of a corpus folder, with errors for missing folders and other layouts."""

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
    """Return `root` if it is a folder.

    Args:
        root: Expected folder of the corpus.
        source: Where to get the corpus: one short phrase with an address.

    Raises:
        ManifestError: It is missing or not a folder; the message states where to get the corpus.
    """
    root = Path(root)
    if not root.is_dir():
        state = "is not a folder" if root.exists() else "no such folder"
        raise ManifestError(f"{root}: {state}; {source} (point elsewhere with --set dataset.root=PATH)")
    return root


def layout_error(root: Path, looked_for: str, source: str) -> ManifestError:
    """Return the error for a folder that exists but does not have the layout of the corpus."""
    return ManifestError(f"{root}: not this corpus' layout, looked for {looked_for}; {source}")


def is_hidden(path: Path) -> bool:
    """Whether an entry is not part of a corpus: dot files and the `__MACOSX` folders of macOS archives."""
    return path.name.startswith(".") or path.name == "__MACOSX"


def audio_files(folder: Path) -> list[Path]:
    """List every entry below a folder with an audio suffix, sorted.

    A dangling link or a directory with such a name is listed too. Reading it fails later and is recorded as that
    clip's failure; leaving it out would go unnoticed. Linked folders are followed.
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
    """List the folders directly in `root`, sorted, without hidden ones."""
    return sorted(entry for entry in root.iterdir() if entry.is_dir() and not is_hidden(entry))


def relative(path: Path, root: Path) -> str:
    """Return a clip's id: its path relative to the root, with forward slashes and extension."""
    return path.relative_to(root).as_posix()


def base_name(path: Path) -> str:
    """Return the last part of a path, resolved for `.` and `..`."""
    return path.name if path.name not in ("", "..") else path.resolve().name


def manifest_of(name: str, root: Path, rows: Iterable[Mapping[str, object]]) -> Manifest:
    """Return a manifest of rows with `path` and `label`, sorted by id; the default `id` is the path.

    Raises:
        ManifestError: There are no rows.
    """
    import pandas as pd

    ordered = sorted(({"id": row["path"], **row} for row in rows), key=lambda row: str(row["id"]))
    if not ordered:
        raise ManifestError(f"{root}: no audio files found")
    return Manifest(name, root, pd.DataFrame(ordered, dtype=object))
