"""What a folder or a file is: a corpus that a reader knows, a manifest, split folders, or a folder per class."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from features.datasets import load_manifest
from features.datasets.listing import audio_files, base_name, manifest_of, relative, subfolders
from features.datasets.tabular import column_names
from features.errors import ManifestError, UserError
from features.manifest import SPLIT_ALIASES, SPLITS, Manifest

# Each with the options to try, the first that fits wins.
CORPORA: dict[str, tuple[dict[str, str], ...]] = {
    "esc50": ({"subset": "esc50"},),
    "urbansound8k": ({},),
    "speech_commands": ({},),
    "ravdess": ({"channel": "speech"}, {"channel": "song"}, {"channel": "both"}),
    "fsdd": ({},),
    "gtzan": ({},),
}
COVERED = 0.8  # of a folder's audio that a reader has to list for the folder to be its corpus
TABLES = {".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".parquet": "parquet"}
TABLE_PLACES = (".", "meta", "metadata")
# Names that people give the columns of a manifest, the project's own first.
COLUMNS: dict[str, tuple[str, ...]] = {
    "path": ("path", "file", "filename", "file_name", "filepath", "file_path", "audio", "audio_path", "wav", "fname"),
    "label": ("label", "labels", "class", "category", "target", "emotion", "genre", "species", "y"),
    "fold": ("fold", "folds"),
    "split": ("split", "subset", "partition"),
    "group": ("group", "speaker", "speaker_id", "actor", "subject", "recording", "session", "client_id", "src_file"),
}


@dataclass
class Found:
    """What was recognised.

    Attributes:
        options: The config's `dataset` section.
        manifest: The clips.
        what: In words, for the config's comments.
        notes: What a person should check, for the comments.
        table: A manifest that has to be written first, to `options["root"]`; None: nothing to write.
    """

    options: dict[str, Any]
    manifest: Manifest
    what: str
    notes: list[str] = field(default_factory=list)
    table: Manifest | None = None


def recognise(path: Path, csv_path: Path) -> Found:
    """Say what lies at `path`.

    Args:
        path: A folder or a manifest file.
        csv_path: Where a manifest would be written for a folder that no reader takes as it is.

    Raises:
        UserError: Nothing there that could be labelled audio; says what was looked for.
    """
    if path.is_file():
        return _table(path)
    if not path.is_dir():
        raise UserError(f"{path}: no such folder or manifest file")
    audio = audio_files(path)
    if not audio:
        raise UserError(f"{path}: no audio files in it or below it")
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
    """A corpus that a reader knows and that is nearly all there is."""
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
                notes.append("the official test set shares its speakers with training, by design")
            if kind == "gtzan":
                notes.append("no artist is known here, and artists repeat: scores on drawn folds flatter")
            given = {name: value for name, value in options.items() if (name, value) != ("subset", "esc50")}
            return Found({"kind": kind, **given, "root": str(path)}, manifest, f"the layout of `{kind}`", notes)
    return None


def _subset(path: Path) -> list[object]:
    """ESC-10's clips in a folder of ESC-50; none where it has none."""
    try:
        return list(load_manifest({"kind": "esc50", "subset": "esc10", "root": path}).clips["id"])
    except ManifestError:
        return []


def _own_table(path: Path, n_audio: int) -> Found | None:
    """The one table in a folder that lists most of its audio."""
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
    """A manifest file, its columns named where they have other names than ours.

    Raises:
        UserError: Not such a file, no column of paths or labels, or files that are not there.
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
    missing = [row for row in range(len(manifest)) if not manifest.path_of(row).is_file()]
    if len(missing) * 2 > len(manifest):
        raise UserError(
            f"{path}: {len(missing)} of {len(manifest)} files are not there, first {manifest.path_of(missing[0])}; "
            "paths start from the manifest's own folder"
        )
    return Found(options, manifest, f"a manifest of kind {kind}")


def _split_folders(path: Path, csv_path: Path) -> Found | None:
    """Folders train/, test/ … with a folder per class in each: written down as a manifest."""
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
