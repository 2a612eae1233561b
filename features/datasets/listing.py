"""Find and name the audio files of a corpus folder, with errors for missing folders and other layouts."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from features.errors import ManifestError
from features.manifest import Manifest

AUDIO_SUFFIXES = (
    *(".wav", ".wave", ".w64", ".rf64", ".flac", ".ogg", ".oga", ".opus", ".mp3"),
    *(".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".m4a", ".aac", ".wma", ".webm"),
    *(".bwf", ".sph", ".nist", ".voc", ".mp2", ".mpga"),
)
_AUDIO = frozenset(AUDIO_SUFFIXES)
NOT_CORPUS = (
    *("__MACOSX", "@eaDir", "#recycle", "#snapshot", "@Recycle", "$RECYCLE.BIN"),
    *("System Volume Information", "lost+found"),
)
# Suffixes of files that accompany audio; nobody misses them among the clips.
COMPANIONS = (
    *(".txt", ".md", ".rst", ".csv", ".tsv", ".json", ".jsonl", ".yaml", ".yml", ".xml", ".html", ".htm", ".pdf"),
    *(".doc", ".docx", ".odt", ".xls", ".xlsx", ".ods", ".ini", ".cfg", ".toml", ".bib", ".log", ".py", ".ipynb"),
    *(".sh", ".m", ".r", ".png", ".jpg", ".jpeg", ".gif", ".svg", ".bmp", ".webp", ".tif", ".tiff", ".ico"),
    *(".lab", ".textgrid", ".eaf", ".trs", ".ctm", ".rttm", ".srt", ".vtt", ".lrc", ".cue", ".m3u", ".phn", ".wrd"),
    *(".npy", ".npz", ".h5", ".hdf5", ".parquet", ".arrow", ".pkl", ".pt", ".db", ".sqlite", ".zip", ".tar", ".gz"),
    *(".7z", ".rar", ".bz2", ".xz", ".md5", ".sha1", ".sha256", ".sfk", ".pkf", ".asd", ".reapeaks", ".part", ".lock"),
)
_log = logging.getLogger(__name__)


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
    """Whether an entry is not part of a corpus: dot files, and folders of archives and network storage."""
    return _is_hidden(path.name)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in NOT_CORPUS


class Entry(NamedTuple):
    """One entry of a folder: its name, and whether it is a folder or a link."""

    name: str
    is_folder: bool
    is_link: bool


@dataclass
class _Kept:
    """Lists that were read before: those of single folders, and those of all audio below them; links already noted."""

    entries: dict[str, list[Entry]] = field(default_factory=dict)
    audio: dict[str, list[Path]] = field(default_factory=dict)
    links: set[str] = field(default_factory=set)


_kept: ContextVar[_Kept | None] = ContextVar("kept", default=None)


@contextmanager
def listed_once() -> Iterator[None]:
    """Keep the list of every folder within the block, so that several readers read each folder once."""
    if _kept.get() is not None:
        yield
        return
    token = _kept.set(_Kept())
    try:
        yield
    finally:
        _kept.reset(token)


def entries(folder: str | Path) -> list[Entry]:
    """List a folder without hidden entries, sorted by name."""
    kept, key = _kept.get(), str(folder)
    if kept is not None and key in kept.entries:
        return kept.entries[key]
    with os.scandir(key) as found:
        listed = sorted(Entry(one.name, one.is_dir(), one.is_symlink()) for one in found if not _is_hidden(one.name))
    if kept is not None:
        kept.entries[key] = listed
    return listed


def audio_files(folder: Path) -> list[Path]:
    """List every entry below a folder with an audio suffix, sorted.

    A dangling link or a directory with such a name is listed too. Reading it fails later and is recorded as that
    clip's failure; leaving it out would go unnoticed. Linked folders are followed, but not to the folder itself or to
    one above it.
    """
    kept = _kept.get()
    if kept is not None and str(folder) in kept.audio:
        return kept.audio[str(folder)]
    files = sorted((Path(path) for path in _walk(folder) if is_audio(path)), key=lambda path: path.parts)
    if kept is not None:
        kept.audio[str(folder)] = files
    return files


def other_files(folder: Path) -> Counter[str]:
    """Count the files below a folder that have neither an audio suffix nor one of texts, pictures and the like."""
    others = Counter(map(_suffix, _walk(folder)))
    return Counter({suffix: others[suffix] for suffix in {*others} - {"", *AUDIO_SUFFIXES, *COMPANIONS}})


def all_files(folder: Path) -> list[str]:
    """List every entry below a folder that is not hidden and no folder, with its path from the working folder."""
    return list(_walk(folder))


def is_audio(path: str) -> bool:
    """Whether a file name has an audio suffix."""
    return _suffix(path) in _AUDIO


def _suffix(path: str) -> str:
    """Return the suffix of a path in lower case; `Path` would be slow for every file of a corpus."""
    name = path.rpartition(os.sep)[2]
    stem, dot, suffix = name.rpartition(".")
    return f".{suffix.lower()}" if dot and stem and suffix else ""


def _walk(folder: Path) -> Iterator[str]:
    """Yield the path of every file and of every folder with an audio suffix."""
    real = folder.resolve()
    pending = [(str(folder), str(real), frozenset(map(str, (real, *real.parents))))]
    while pending:
        path, real_path, above = pending.pop()
        for entry in entries(path):
            inside = entry.name if path == "." else f"{path.rstrip(os.sep)}{os.sep}{entry.name}"
            if is_audio(entry.name) or not entry.is_folder:
                yield inside
                continue
            target = f"{real_path.rstrip(os.sep)}{os.sep}{entry.name}"
            target = os.path.realpath(target) if entry.is_link else target
            if target in above:
                _note_link(inside)
            else:
                pending.append((inside, target, above | {target}))


def _note_link(path: str) -> None:
    """Report once that a link is not followed."""
    kept = _kept.get()
    if kept is None or path not in kept.links:
        _log.info("%s: this link to a folder above it is not followed", path)
    if kept is not None:
        kept.links.add(path)


def subfolders(root: Path) -> list[Path]:
    """List the folders directly in `root`, sorted, without hidden ones and links to `root` or a folder above it."""
    real = root.resolve()
    folders = []
    for entry in entries(root):
        if entry.is_link and entry.is_folder and (root / entry.name).resolve() in (real, *real.parents):
            _note_link(str(root / entry.name))
        elif entry.is_folder:
            folders.append(root / entry.name)
    return folders


def relative(path: Path, root: Path) -> str:
    """Return a clip's id: its path relative to the root, with forward slashes and extension."""
    base = root.as_posix()
    if path == root:
        return "."
    return path.as_posix() if base == "." else path.as_posix().removeprefix(f"{base.rstrip('/')}/")


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
