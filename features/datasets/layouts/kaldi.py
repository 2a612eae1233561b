"""Kaldi data folders: `wav.scp`, `utt2spk`, `text` or `utt2label`, and `segments`."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from features.datasets.layouts.rows import files_below, laid_out, split_of
from features.datasets.listing import existing_folder, layout_error
from features.datasets.options import DatasetOptions
from features.errors import ManifestError
from features.manifest import Manifest

SOURCE = "the layout is described at https://kaldi-asr.org/doc/data_prep.html"
LIST = "wav.scp"
LABELS = ("utt2label", "text")
_ARCHIVE = re.compile(r".+\.ark:\d+")
_log = logging.getLogger(__name__)


class Options(DatasetOptions):
    """`wav.scp` in a folder, or in folders per split such as `train/` and `test/`, with the files beside it."""

    kind: Literal["kaldi"] = "kaldi"
    labels: str | None = Field(
        default=None, description="file with the class of each utterance (default: `utt2label`, else `text`)"
    )


def index(root: Path, *, name: str | None = None, labels: str | None = None) -> Manifest:
    """List the utterances; `group` is the speaker of `utt2spk`.

    Relative paths in `wav.scp` are relative to its folder; a file that is not there is looked for below the working
    folder.

    Raises:
        ManifestError: There is no `wav.scp`, it contains a command, or labels are missing.
    """
    root = existing_folder(root, SOURCE)
    folders = kaldi_folders(root)
    if not folders:
        raise layout_error(root, f"{LIST} here or in folders such as train/ and data/train/", SOURCE)
    rows = [row for folder in folders for row in _utterances(root, folder, labels)]
    return laid_out(name, root, rows)


def kaldi_folders(root: Path) -> list[Path]:
    """Return the folders with a `wav.scp`: the root, or those up to two levels below."""
    if (root / LIST).is_file():
        return [root]
    return sorted(path.parent for path in files_below(root, depth=2) if path.name == LIST)


def _utterances(root: Path, folder: Path, labels: str | None) -> Iterator[dict[str, object]]:
    recordings = {key: _audio(root, folder, line, key, rest) for line, key, rest in _lines(folder / LIST)}
    classes = {key: rest for _, key, rest in _lines(_label_file(folder, labels)) if rest}
    speakers = {key: rest for _, key, rest in _optional(folder / "utt2spk")}
    if all(speaker == utterance for utterance, speaker in speakers.items()):
        speakers = {}  # Kaldi's convention for unknown speakers
    split = split_of(folder.name) if folder != root else None
    found = list(_segments(folder, recordings))
    if missing := [utterance for utterance, *_ in found if utterance not in classes]:
        _log.warning(
            *("%s: %d of %d utterances have no label and are left out, first %r", folder, len(missing), len(found)),
            missing[0],
        )
    if len(missing) == len(found):
        raise ManifestError(
            f"{folder}: no utterance of {LIST} or segments has a label in {_label_file(folder, labels).name}"
        )
    for utterance, path, start_s, duration_s in found:
        if utterance in classes:
            row = {"id": utterance, "path": path, "label": classes[utterance], "split": split}
            yield row | {"group": speakers.get(utterance), "start_s": start_s, "duration_s": duration_s}


def _audio(root: Path, folder: Path, line: int, key: str, rest: str) -> str:
    """Return the path of a recording as a manifest stores it.

    Raises:
        ManifestError: It is a command, or a place in a Kaldi archive.
    """
    where = f"{folder / LIST}: line {line}"
    if not rest:
        raise ManifestError(f"{where} has no path after {key!r}")
    if rest.endswith("|") or rest.startswith("|"):
        raise ManifestError(
            f"{where}: {key!r} is the command {rest[:60]!r}, and commands are not run; "
            "write its output to a file and list that file"
        )
    if rest == "-" or _ARCHIVE.fullmatch(rest):
        raise ManifestError(f"{where}: {key!r} is {rest!r}, not an audio file; convert it to one")
    near = folder / rest
    there = near if near.exists() or not Path(rest).exists() else Path(rest)
    absolute, base = there.absolute(), root.absolute()
    return (absolute.relative_to(base) if absolute.is_relative_to(base) else absolute).as_posix()


def _segments(folder: Path, recordings: dict[str, str]) -> Iterator[tuple[str, str, float | None, float | None]]:
    """Yield utterance, path, start and duration of each utterance."""
    path = folder / "segments"
    if not path.is_file():
        yield from ((key, file, None, None) for key, file in recordings.items())
        return
    for line, key, rest in _lines(path):
        parts = rest.split()
        try:
            recording, start_s, end_s = parts[0], float(parts[1]), float(parts[2])
        except (IndexError, ValueError):
            raise ManifestError(
                f"{path}: line {line} is {key + ' ' + rest!r}, expected utterance, recording, start and end in seconds"
            ) from None
        if recording not in recordings:
            raise ManifestError(f"{path}: line {line}: the recording {recording!r} is not in {LIST}")
        if end_s != -1 and end_s <= start_s:
            raise ManifestError(f"{path}: line {line}: {key!r} ends at {end_s:g} s, but starts at {start_s:g} s")
        yield key, recordings[recording], start_s, None if end_s == -1 else round(end_s - start_s, 9)


def _label_file(folder: Path, labels: str | None) -> Path:
    names = LABELS if labels is None else (labels,)
    for name in names:
        if (folder / name).is_file():
            return folder / name
    others = ", ".join(sorted(path.name for path in folder.iterdir() if path.is_file())) or "none"
    raise ManifestError(
        f"{folder}: no labels, looked for {' and '.join(names)}; the files are {others}; "
        "set dataset.labels to the one with a class per utterance"
    )


def _optional(path: Path) -> Iterator[tuple[int, str, str]]:
    return _lines(path) if path.is_file() else iter(())


def _lines(path: Path) -> Iterator[tuple[int, str, str]]:
    """Yield number, first word and rest of each line that is not blank."""
    seen: set[str] = set()
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            key, _, rest = line.strip().replace("\t", " ", 1).partition(" ")
            if key in seen:
                raise ManifestError(f"{path}: line {number} has {key!r} a second time")
            seen.add(key)
            yield number, key, rest.strip()
