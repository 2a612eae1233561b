"""Recognise a folder or file as a known corpus, a manifest, split folders, or a folder per class."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from features.audio.containers import file_of
from features.datasets import load_manifest
from features.datasets.listing import audio_files, base_name, manifest_of, relative, subfolders
from features.datasets.tabular import column_names
from features.errors import ManifestError, UserError
from features.manifest import SPLIT_ALIASES, SPLITS, Manifest
from pipeline.init.layouts import archives_in, recognise_layout

# Each with the options to try; the first that fits is used.
CORPORA: dict[str, tuple[dict[str, str], ...]] = {
    "esc50": ({"subset": "esc50"},),
    "urbansound8k": ({},),
    "speech_commands": ({},),
    "ravdess": ({"channel": "speech"}, {"channel": "song"}, {"channel": "both"}),
    "fsdd": ({},),
    "gtzan": ({},),
}
COVERED = 0.8  # fraction of the audio in a folder that a reader must list to recognise it
TABLES = {".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".parquet": "parquet"}
TABLE_PLACES = (".", "meta", "metadata")
# Common names of manifest columns, the project's own first.
COLUMNS: dict[str, tuple[str, ...]] = {
    "path": ("path", "file", "filename", "file_name", "filepath", "file_path", "audio", "audio_path", "wav", "fname"),
    "label": ("label", "labels", "class", "category", "target", "emotion", "genre", "species", "y"),
    "fold": ("fold", "folds"),
    "split": ("split", "subset", "partition"),
    "group": ("group", "speaker", "speaker_id", "actor", "subject", "recording", "session", "client_id", "src_file"),
}


@dataclass
class Found:
    """The recognised dataset.

    Attributes:
        options: The config's `dataset` section.
        manifest: The clips.
        what: Description for the config's comments.
        notes: Hints on what to check, for the config's comments.
        table: A manifest to write to `options["root"]` first; None: nothing to write.
    """

    options: dict[str, Any]
    manifest: Manifest
    what: str
    notes: list[str] = field(default_factory=list)
    table: Manifest | None = None


def recognise(path: Path, csv_path: Path) -> Found:
    """Recognise the dataset at `path`.

    Args:
        path: A folder or a manifest file.
        csv_path: Where to write a manifest if no reader accepts the folder.

    Raises:
        UserError: No labelled audio was found; the message lists what was looked for.
    """
    if not path.exists():
        raise UserError(f"{path}: no such folder or manifest file")
    if (layout := recognise_layout(path)) is not None:
        return Found(layout.options, layout.manifest, layout.what, layout.notes)
    if path.is_file():
        return _table(path)
    audio = audio_files(path)
    archives = archives_in(path)
    if not audio and archives:
        raise UserError(
            f"{path}: contains no audio files, but {len(archives)} archive(s), first {archives[0].name}; "
            "unpack them, and run init on the folder again"
        )
    if not audio:
        raise UserError(f"{path}: contains no audio files")
    found = _recognise_files(path, audio, csv_path)
    if archives:
        found.notes.append(
            f"{len(archives)} archive(s) are not read, first {archives[0].name}; unpack them if they hold clips"
        )
    return found


def _recognise_files(path: Path, audio: list[Path], csv_path: Path) -> Found:
    """Recognise a folder of audio files."""
    if (found := _corpus(path, len(audio))) is not None:
        return found
    if (found := _own_table(path, len(audio))) is not None:
        return found
    if (found := _split_folders(path, csv_path)) is not None:
        return found
    try:
        manifest = load_manifest({"kind": "folder", "root": path})
    except ManifestError as error:
        raise UserError(
            f"{path}: {len(audio)} audio file(s), but no labels: looked for a known corpus, a table with a path and a "
            "label column, and a folder per class; write a CSV with the columns path and label, and run init on that"
        ) from error
    return Found({"kind": "folder", "root": str(path)}, manifest, "a folder per class")


def _corpus(path: Path, n_audio: int) -> Found | None:
    """Return a known corpus that covers nearly all audio of the folder, or None."""
    for kind, variants in CORPORA.items():
        for options in variants:
            try:
                manifest = load_manifest({"kind": kind, "root": path, **options})
            except ManifestError:
                continue
            if len(manifest) < COVERED * n_audio:
                continue
            notes = []
            if kind == "esc50":
                options = dict(options)
                if len(_subset(path)) == len(manifest):
                    options = {"subset": "esc10", "name": "esc10"}
                manifest = load_manifest({"kind": kind, "root": path, **options})
            if kind == "fsdd":
                notes.append("the official test set shares its speakers with the training set, by design")
            if kind == "gtzan":
                notes.append("artists repeat but are not recorded, so scores on random folds are too optimistic")
            given = {name: value for name, value in options.items() if (name, value) != ("subset", "esc50")}
            return Found({"kind": kind, **given, "root": str(path)}, manifest, f"the layout of `{kind}`", notes)
    return None


def _subset(path: Path) -> list[object]:
    """Return the ESC-10 clips of an ESC-50 folder, or an empty list."""
    try:
        return list(load_manifest({"kind": "esc50", "subset": "esc10", "root": path}).clips["id"])
    except ManifestError:
        return []


def _own_table(path: Path, n_audio: int) -> Found | None:
    """Return the one table in a folder that lists most of its audio, or None."""
    fitting = []
    for file in _tables(path):
        try:
            found = _table(file)
        except UserError:
            continue
        if len(found.manifest) >= COVERED * n_audio:
            fitting.append(found)
    if len(fitting) != 1:
        return None
    fitting[0].what = f"the table {fitting[0].options['root']}, which lists the audio"
    return fitting[0]


def _tables(path: Path) -> Iterator[Path]:
    for place in TABLE_PLACES:
        if (path / place).is_dir():
            yield from sorted(file for file in (path / place).iterdir() if file.suffix.lower() in TABLES)


def _table(path: Path) -> Found:
    """Recognise a manifest file, with options for columns that have other names than the default ones.

    Raises:
        UserError: It is not a manifest, has no path or label column, or lists missing files.
    """
    kind = TABLES.get(path.suffix.lower())
    if kind is None:
        raise UserError(f"{path}: neither a folder nor a manifest file ({', '.join(TABLES)})")
    names = {name.lower(): name for name in column_names(path)}
    found = {column: next((names[n] for n in known if n in names), None) for column, known in COLUMNS.items()}
    for column in ("path", "label"):
        if found[column] is None:
            raise UserError(
                f"{path}: no column that looks like the {column} (columns: {', '.join(names.values())}); rename one to "
                f"{column!r}, or write the config by hand with dataset.{column}_column"
            )
    options: dict[str, Any] = {"kind": kind, "root": str(path)}
    options |= {f"{column}_column": name for column, name in found.items() if name not in (None, column)}
    try:
        manifest = load_manifest(options)
    except ManifestError as error:
        raise UserError(str(error)) from error
    missing = [row for row in range(len(manifest)) if not file_of(manifest.path_of(row)).is_file()]
    if len(missing) * 2 > len(manifest):
        raise UserError(
            f"{path}: {len(missing)} of {len(manifest)} files are missing, first {manifest.path_of(missing[0])}; "
            "paths are relative to the folder of the manifest"
        )
    return Found(options, manifest, f"a manifest of kind {kind}")


def _split_folders(path: Path, csv_path: Path) -> Found | None:
    """Recognise train/, test/ … with a folder per class in each, and list them in a manifest."""
    folders = [folder for folder in subfolders(path) if audio_files(folder)]
    named = [SPLIT_ALIASES.get(folder.name.lower(), folder.name.lower()) for folder in folders]
    if len(folders) < 2 or not set(named) <= set(SPLITS):
        return None
    rows = [
        {"path": relative(clip, path), "label": label.name, "split": split}
        for folder, split in zip(folders, named, strict=True)
        for label in subfolders(folder)
        for clip in audio_files(label)
    ]
    if not rows:
        return None
    manifest = manifest_of(base_name(path), path, rows)
    options = {"kind": "csv", "root": str(csv_path)}
    what = f"folders {', '.join(folder.name for folder in folders)} with a folder per class, listed in {csv_path}"
    return Found(options, manifest, what, table=manifest)
