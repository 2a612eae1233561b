"""Recognise a folder or file as a known corpus, tables, split folders, a folder per class, or names with a pattern."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from features.datasets import load_manifest
from features.datasets.listing import audio_files, listed_once, other_files
from features.datasets.naming import parse_pattern
from features.errors import ManifestError, UserError
from pipeline.init.corpora import COVERED, find_corpus
from pipeline.init.folders import find_class_folders, find_split_folders
from pipeline.init.found import Found, Proposal, heard
from pipeline.init.label_column import folders_are_groups
from pipeline.init.layouts import archives_in, recognise_layout
from pipeline.init.patterns import Guess, guess_labels, known_scheme
from pipeline.init.tables import find_tables, read_table, table_files
from pipeline.results.group_names import groups_in_names

LISTED = 0.5  # fraction of the audio that a table must list to be preferred to class folders
GUESS = "the labels are a guess: check the classes"


def recognise(path: Path, csv_path: Path, pattern: str | None = None) -> Found:
    """Recognise the dataset at `path`. Every folder is listed once.

    Args:
        path: An existing folder or manifest file.
        csv_path: Where to write a manifest if no reader accepts the folder.
        pattern: Reads label, group, fold and split from file names.

    Raises:
        UserError: No labelled audio was found; the message lists what was looked for.
    """
    with listed_once():
        with heard() as records:
            layout = None if pattern else recognise_layout(path)
        if layout is not None:
            found = replace(layout, records=records)
        elif path.is_file():
            found = read_table(path, path.parent, pattern=pattern)
        elif pattern:
            found = _with_pattern(path, pattern)
        else:
            found = _folder(path, csv_path)
        if found.options["kind"] in ("folder", "csv", "jsonl", "parquet") and found.table is None:
            _propose_groups(found)
        found.say()
        return found


def _folder(path: Path, csv_path: Path) -> Found:
    """Return the best reading of a folder; the others are listed in it."""
    audio, archives = audio_files(path), archives_in(path)
    if not audio and archives:
        raise UserError(
            f"{path}: contains no audio files, but {len(archives)} archive(s), first {archives[0].name}; "
            "unpack them, and run init on the folder again"
        )
    if not audio:
        others = ", ".join(f"{count} {suffix}" for suffix, count in sorted(other_files(path).items()))
        names = [file.name for file in table_files(path)]
        listed = f"; to use {names[0]}, run init on a folder that holds the table and the audio" if names else ""
        raise UserError(f"{path}: contains no audio files{f' (but {others})' if others else ''}{listed}")
    with heard():
        if (found := find_corpus(path, len(audio))) is not None:
            return found
        paths = [file.relative_to(path).as_posix() for file in audio]
        tables = find_tables(path)
        readings = [*tables.readings]
        if (split := find_split_folders(path, csv_path)) is not None:
            readings.append(split)
        folders = find_class_folders(path, paths)
        readings.extend(_by_names(path, paths, guess=folders is None and not readings))
        if folders is not None and split is None:
            readings.append(folders)
        if folders is not None and _are_likelier(folders, tables.readings, len(audio)):
            readings.remove(folders)
            readings.insert(0, folders)
        if not readings and not tables.unusable:
            readings.extend(_single_folder(path))
    if not readings:
        raise _nothing(path, len(audio), tables.unusable)
    best, *rest = readings
    if archives:
        best.notes.append(
            f"{len(archives)} archive(s) are not read, first {archives[0].name}; unpack them if they hold clips"
        )
    best.others.extend(other.reading() for other in rest)
    if best.options["kind"] == "folder":
        best.notes.extend(f"not used: {reason}" for reason in tables.unusable)
    if best.options.get("tables") is None and best.options["root"] != str(path) and "table" in best.what:
        n_files = best.manifest.clips["path"].nunique()
        if n_files >= COVERED * len(audio):
            best.what += ", which lists the audio"
    return best


def _are_likelier(folders: Found, tables: list[Found], n_audio: int) -> bool:
    """Whether class folders give likelier labels than the best table.

    They do if it lists little of the audio, or if its label column is a guess and the folders are not its groups.
    """
    if not tables:
        return False
    best = tables[0]
    if best.manifest.clips["path"].nunique() < LISTED * n_audio:
        return True
    return best.guess and not folders_are_groups(best, folders)


def _by_names(path: Path, paths: list[str], *, guess: bool) -> list[Found]:
    """Return the readings of file names: a naming scheme in use, or guesses if nothing else gives labels."""
    known = known_scheme(paths)
    guesses = [known] if known is not None else guess_labels(paths) if guess else []
    found = []
    for scheme in guesses:
        options: dict[str, Any] = {"kind": "folder", "root": str(path), "pattern": scheme.pattern}
        one = _read(options, scheme)
        if one is not None:
            one.guess = known is None
            if names := {code: scheme.labels[code] for code in one.manifest.labels if code in scheme.labels}:
                one.proposals.append(Proposal("rename", names, "gives the classes names"))
            if one.guess:
                one.notes.append(GUESS)
            found.append(one)
    return found


def _read(options: dict[str, Any], guess: Guess) -> Found | None:
    try:
        with heard() as records:
            return Found(options, load_manifest(options), guess.what, records=records)
    except ManifestError:
        return None


def _single_folder(path: Path) -> list[Found]:
    """Return the reading of a folder with a single class folder, which no protocol can divide."""
    try:
        return [
            Found({"kind": "folder", "root": str(path)}, load_manifest({"kind": "folder", "root": path}), "one class")
        ]
    except ManifestError:
        return []


def _with_pattern(path: Path, pattern: str) -> Found:
    """Read a folder, or its table, with a pattern of file names."""
    options = {"kind": "folder", "root": str(path), "pattern": pattern}
    if not audio_files(path):
        raise UserError(f"{path}: contains no audio files")
    reason = ""
    if "label" not in parse_pattern(pattern).fields:
        with heard():
            tables = find_tables(path, pattern)
        if tables.readings:
            return tables.readings[0]
        reason = "".join(f"; {text}" for text in tables.unusable)
    try:
        return Found(options, load_manifest(options), f"file names of the pattern {pattern}")
    except ManifestError as error:
        raise UserError(f"{error}{reason}") from error


def _nothing(path: Path, n_audio: int, unusable: list[str]) -> UserError:
    tables = f"; the tables cannot be used: {'; '.join(unusable)}" if unusable else ""
    return UserError(
        f"{path}: {n_audio} audio file(s), but no labels: looked for a known corpus, a table with a path and a label "
        f"column, a folder per class, and classes in the file names{tables}; write a CSV with the columns path and "
        "label and run init on that, or say what the names hold: --pattern '{group}_{label}_{}.wav'"
    )


def _propose_groups(found: Found) -> None:
    """Propose a pattern if file names suggest groups and none are known."""
    if "pattern" in found.options or any(one.key == "pattern" for one in found.proposals):
        return
    for one in groups_in_names(found.manifest):
        if one.pattern is not None:
            found.proposals.append(Proposal("pattern", one.pattern, one.text().removesuffix(".")))
