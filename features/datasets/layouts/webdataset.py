"""WebDataset: tar archives of audio with labels in members of the same name (`.cls`, `.json` or `.txt`)."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Literal

from features.audio.containers import SEPARATOR, tar
from features.datasets.layouts.columns import ColumnOptions, choose, no_label
from features.datasets.layouts.rows import existing_root, files_below, laid_out, split_of
from features.datasets.listing import AUDIO_SUFFIXES, layout_error
from features.errors import AudioError, ManifestError
from features.labels import Task
from features.manifest import Manifest

SOURCE = "the layout is described at https://github.com/webdataset/webdataset"
LABELS = (".cls", ".json", ".txt")
NESTED = (".tar", ".gz", ".tgz", ".bz2", ".xz", ".zip", ".7z", ".rar")
_log = logging.getLogger(__name__)


class Options(ColumnOptions):
    """Archives `*.tar` with `KEY.wav` and `KEY.cls`, `KEY.json` or `KEY.txt`; columns are the keys of the JSON."""

    kind: Literal["webdataset"] = "webdataset"


def index(root: Path, *, name: str | None = None, task: Task | None = None, **columns: str | None) -> Manifest:
    """List the clips of all archives in a folder, or of one archive. A split comes from an archive's name.

    Raises:
        ManifestError: There is no archive with audio, an archive is damaged, or a clip has no label.
    """
    root = existing_root(root, SOURCE)
    archives = tar_files(root)
    rows = [row for archive in archives for row in _clips(root, archive, columns)]
    if not rows:
        raise layout_error(root, "tar archives (*.tar) with audio files in them", SOURCE)
    return laid_out(name, root, rows, task)


def tar_files(root: Path) -> list[Path]:
    """Return the archives of a dataset, sorted; one file is a dataset by itself."""
    if root.is_file():
        return [root] if root.suffix.lower() == ".tar" else []
    return sorted(path for path in files_below(root, depth=1) if path.suffix.lower() == ".tar")


def samples(archive: Path) -> dict[str, dict[str, str]]:
    """Return the members of an archive by key and suffix; the key is the name up to the first dot.

    Raises:
        ManifestError: The archive is damaged.
    """
    found: dict[str, dict[str, str]] = {}
    try:
        members = tar.index(archive)
    except (AudioError, OSError) as error:
        raise ManifestError(f"{archive}: {error}") from None
    for member in members:
        folder, _, base = member.rpartition("/")
        if not base.startswith("."):
            stem, dot, suffix = base.partition(".")
            found.setdefault(f"{folder}/{stem}" if folder else stem, {})[(dot + suffix).lower()] = member
    return found


def _clips(root: Path, archive: Path, given: dict[str, str | None]) -> Iterator[dict[str, Any]]:
    place = archive.name if root.is_file() else archive.relative_to(root).as_posix()
    split = split_of(archive.parent.name if archive.parent != root and root.is_dir() else archive.name)
    split = split or split_of(archive.name)
    found = samples(archive)
    _warn_of_nested(archive, found)
    with archive.open("rb") as file:
        text = partial(_text, archive, file)
        for key, members in found.items():
            audio = [suffix for suffix in members if suffix.endswith(AUDIO_SUFFIXES)]
            if not audio:
                continue
            if len(audio) > 1:
                there = ", ".join(audio)
                raise ManifestError(f"{archive}: {key!r} has {len(audio)} audio files ({there}), expected one")
            path = f"{place}{SEPARATOR}{members[audio[0]]}"
            yield {"path": path, "split": split} | _about(archive, key, members, given, text)


def _about(
    archive: Path, key: str, members: dict[str, str], given: dict[str, str | None], text: Callable[[str], str]
) -> dict[str, Any]:
    """Return label and further columns of one clip; `text` reads a member."""
    about: dict[str, Any] = {}
    keys: list[str] = []
    if ".json" in members:
        try:
            stored = json.loads(text(members[".json"]))
        except ValueError:
            raise ManifestError(f"{archive}: {members['.json']} is not JSON") from None
        if isinstance(stored, dict):
            keys = list(stored)
            about = {role: stored[name] for role, name in choose(f"{archive}: {members['.json']}", keys, given).items()}
    if given.get("label_column") is None:
        if ".cls" in members:
            about["label"] = text(members[".cls"]).strip()
        elif "label" not in about and ".txt" in members:
            about["label"] = text(members[".txt"]).strip()
    if about.get("label") in (None, ""):
        if keys:
            raise no_label(f"{archive}: {members['.json']}", keys)
        raise ManifestError(f"{archive}: {key!r} has no label, looked for {', '.join(key + one for one in LABELS)}")
    return about


def _text(archive: Path, file: BinaryIO, member: str) -> str:
    start, size = tar.index(archive)[member]
    file.seek(start)
    try:
        return file.read(size).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ManifestError(f"{archive}: {member} is not UTF-8 text") from None


def _warn_of_nested(archive: Path, found: dict[str, dict[str, str]]) -> None:
    nested = [name for members in found.values() for suffix, name in members.items() if suffix.endswith(NESTED)]
    if nested:
        _log.warning("%s: left out %d archive(s) inside the archive, first %r", archive, len(nested), nested[0])
