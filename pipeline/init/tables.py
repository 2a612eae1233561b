"""Read the tables in a folder, or one table, and find the audio that they name."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.audio.containers import file_of
from features.datasets import load_manifest, options_class
from features.datasets.listing import audio_files, base_name, entries
from features.datasets.naming import parse_pattern
from features.datasets.questions import task_question
from features.datasets.tables.cells import KINDS, read_cells
from features.datasets.tables.columns import NAMES, Columns, Given, choose_columns, option_of
from features.errors import ManifestError, UserError
from features.manifest import Manifest
from heads.splits.feasibility import MIN_GROUPS
from pipeline.init.found import Found, Proposal, Reading, heard
from pipeline.init.label_column import guess_label_column
from pipeline.init.suggest import suggest_protocol

if TYPE_CHECKING:
    import pandas as pd

MOST_TABLES = 40  # in a folder; more are taken for notes on single recordings
MOST_LEVELS = 2  # below the folder in which tables are looked for
FOUND = 0.5  # fraction of a table's files that must be there
Options = dict[str, Any]


@dataclass
class Tables:
    """What the tables of a folder give.

    Attributes:
        readings: Usable ones, best first.
        unusable: One sentence for each other one.
    """

    readings: list[Found]
    unusable: list[str]


def find_tables(path: Path, pattern: str | None = None) -> Tables:
    """Read every table in a folder that lists audio below it."""
    files = table_files(path)
    audio = [file.relative_to(path).as_posix() for file in audio_files(path)]
    found, unusable = [], []
    for file in files if len(files) <= MOST_TABLES else []:
        try:
            found.append(_named(read_table(file, path, audio, pattern), base_name(path)))
        except UserError as error:
            unusable.append(str(error))
    if len(found) > 1 and (joint := _together(path, found)) is not None:
        joint.others.extend(one.reading() for one in found)
        return Tables([joint], unusable)
    found.sort(key=lambda one: (one.guess, -len(one.manifest), len(Path(one.options["root"]).parts)))
    for one in found[1:]:
        if note := _disagreement(found[0], one):
            found[0].notes.append(note)
    if found and (left := len(audio) - len({*found[0].manifest.clips["path"]})) > 0:
        listed = len(audio) - left
        found[0].notes.append(f"the table lists {listed} of {len(audio)} audio files; the others are left out")
    return Tables(found, unusable)


def _named(found: Found, name: str) -> Found:
    """Name the dataset like its folder: half of all tables are called `meta` or `train`."""
    found.options["name"] = name
    found.manifest = replace(found.manifest, name=name)
    return found


def read_table(file: Path, below: Path, audio: Sequence[str] | None = None, pattern: str | None = None) -> Found:
    """Recognise a manifest file, with options for columns and places that differ from the default ones.

    Args:
        file: The table.
        below: Folder to search for its audio.
        audio: The audio files below that folder, relative to it; None: listed only if needed.
        pattern: Reads facts from file names.

    Raises:
        UserError: It is no manifest, has no path or label column, or lists missing files.
    """
    kind, alone = KINDS.get(file.suffix.lower()), audio is None
    if kind is None:
        raise UserError(f"{file}: neither a folder nor a manifest file ({', '.join(KINDS)})")
    try:
        needed = ("path",) if pattern and "label" in parse_pattern(pattern).fields else ("path", "label")
        cells = read_cells(file, kind)
        label = guess_label_column(file, cells) if "label" in needed else None
        columns = _columns(file, cells, {"label": label.column} if label else {}, needed, below, audio)
        options: Options = {"kind": kind, "root": str(file)}
        options |= {option_of(role): name for role, name in columns.names.items() if name != role}
        if pattern:
            options["pattern"] = pattern
        names = [str(name).replace("\\", "/") for name in cells[columns.names["path"]]]
        places = _places(file, below, names, audio)
        readings = [{**options, **place} for place in places or [{}]]
        with heard() as records:
            manifest = load_manifest(readings[0])
    except ManifestError as error:
        raise UserError(str(error)) from error
    missing = [path for path in manifest.paths() if not (os.path.isfile(path) or file_of(path).is_file())]  # noqa: PTH113
    if len(missing) > FOUND * len(manifest):
        raise UserError(
            f"{file}: {len(missing)} of {len(manifest)} files are missing, first {missing[0]}; "
            f"looked at the paths of column {columns.names['path']!r} and for files of these names below {below}; "
            + (
                "run init on a folder that holds the table and the audio"
                if alone
                else "set dataset.audio_root to their folder"
            )
        )
    found = Found(readings[0], manifest, f"the table {file}", records=records)
    _keep_recordings_whole(found, columns.names["path"])
    found.others.extend(Reading(f"the same table with the audio in {one['audio_root']}", one) for one in readings[1:])
    _propose_columns(found, columns)
    _propose_task(found)
    if label is not None:
        found.guess = True
        found.notes.append(label.note)
        why = "another column that could be the label"
        found.proposals.extend(Proposal("label_column", name, why) for name in label.others)
    return found


def table_files(path: Path, levels: int = MOST_LEVELS) -> list[Path]:
    """List the tables in a folder and in the folders below it, the nearest first, without those of runs."""
    here = entries(path)
    if {"manifest.csv", "config.yaml"} <= {one.name for one in here}:
        return []
    found = [path / one.name for one in here if not one.is_folder and Path(one.name).suffix.lower() in KINDS]
    if levels:
        below = [table_files(path / one.name, levels - 1) for one in here if one.is_folder and not one.is_link]
        found.extend(file for files in below for file in files)
    return sorted(found, key=lambda file: (len(file.parts), file.parts))


def _places(file: Path, below: Path, names: Sequence[str], audio: Sequence[str] | None) -> list[Options]:
    """Return `audio_root` and `suffix` under which most files are, best first; empty if paths are right as written."""
    if all(file_of(file.parent / name).exists() for name in names):
        return []
    audio = [one.relative_to(below).as_posix() for one in audio_files(below)] if audio is None else audio
    by_name: dict[str, list[str]] = defaultdict(list)
    for path in audio:
        name = path.rpartition("/")[2]
        by_name[name].append(path)
        by_name[name.rpartition(".")[0]].append(path)
    fits: Counter[tuple[str, str]] = Counter()
    for name in set(names):
        for path in by_name.get(name.rpartition("/")[2], ()):
            for suffix in ("", path[path.rfind(".") :]):
                if f"/{path}".endswith(f"/{name}{suffix}"):
                    fits[path.removesuffix(f"{name}{suffix}").rstrip("/"), suffix] += 1
    whole = [place for place, count in fits.most_common() if count >= FOUND * len({*names})]
    best = [place for place in whole if fits[place] == fits[whole[0]]] + [p for p in whole if fits[p] < fits[whole[0]]]
    if not best:
        inside = file.parent == below or not any(fits)
        return [] if inside else [{"audio_root": str(below)}]
    return [
        ({} if below / root == file.parent else {"audio_root": str(below / root)}) | ({"suffix": end} if end else {})
        for root, end in best
    ]


def _together(path: Path, found: Sequence[Found]) -> Found | None:
    """Read tables with the same columns that list different files as one."""
    first = found[0].options
    columns = {key: value for key, value in first.items() if key not in ("root", "audio_root", "suffix")}
    listed: set[Path] = set()
    for one in found:
        same = {key: value for key, value in one.options.items() if key not in ("root", "audio_root", "suffix")}
        files = {one.manifest.path_of(row).resolve() for row in range(len(one.manifest))}
        if same != columns or files & listed or Path(one.options["root"]).parent != Path(first["root"]).parent:
            return None
        listed |= files
    order = sorted(found, key=lambda one: (_split_rank(Path(one.options["root"]).stem), one.options["root"]))
    options = {"kind": first["kind"], "root": order[0].options["root"]}
    options |= {"tables": [one.options["root"] for one in order[1:]], "name": base_name(path), **columns}
    places = {(one.options.get("audio_root"), one.options.get("suffix")) for one in found}
    if len(places) == 1:
        options |= {key: first[key] for key in ("audio_root", "suffix") if key in first}
    else:
        options["audio_root"] = str(path)
    try:
        with heard() as records:
            manifest = load_manifest(options)
    except ManifestError:
        return None
    names = ", ".join(Path(one.options["root"]).name for one in order)
    joint = Found(options, manifest, f"the tables {names} together, which list different files", records=records)
    joint.guess, joint.notes = found[0].guess, [*found[0].notes]
    joint.proposals = [one for one in found[0].proposals if one.key not in ("suffix", "audio_root")]
    return joint


def _split_rank(stem: str) -> int:
    """Order tables: training before validation before test."""
    for rank, names in enumerate((("train", "dev"), ("val",), ("test", "eval"))):
        if any(name in stem.lower() for name in names):
            return rank
    return 3


def _disagreement(one: Found, other: Found) -> str:
    """Say how many files have different labels in two tables."""
    mine, its = _labels_by_file(one.manifest), _labels_by_file(other.manifest)
    both = mine.keys() & its.keys()
    different = sum(mine[file] != its[file] for file in both)
    if not different:
        return ""
    names = f"{one.options['root']} and {other.options['root']}"
    return f"{names} disagree on the label of {different} of {len(both)} files; the first is used"


def _labels_by_file(manifest: Manifest) -> dict[str, object]:
    return dict(zip(map(os.path.normpath, manifest.paths()), manifest.clips["label"], strict=True))


def _columns(
    file: Path, cells: pd.DataFrame, given: Given, needed: Sequence[str], below: Path, audio: Sequence[str] | None
) -> Columns:
    """Choose the columns by their names; a path column of another name is the one whose cells are audio files."""
    try:
        return choose_columns(str(file), cells, given, needed)
    except ManifestError:
        if audio is None:
            audio = [one.relative_to(below).as_posix() for one in audio_files(below)]
        names = {path.rpartition("/")[2] for path in audio}
        names |= {name.rpartition(".")[0] for name in names}
        found = [
            str(column)
            for column in cells
            if (values := {str(cell).replace("\\", "/").rpartition("/")[2] for cell in cells[column]})
            and len(values) > 1
            and len(values & names) >= FOUND * len(values)
        ]
        if len(found) != 1:
            raise
        return choose_columns(str(file), cells, {**given, "path": found[0]}, needed)


def _keep_recordings_whole(found: Found, path_column: str) -> None:
    """Make each file a group if the rows are parts of files and nothing else says how to divide them."""
    clips = found.manifest.clips
    n_files = clips["path"].nunique()
    if "start_s" not in clips or not MIN_GROUPS <= n_files < len(clips) or {"group", "fold", "split"} & {*clips}:
        return
    options = {**found.options, "group_column": path_column}
    try:
        with heard():
            manifest = load_manifest(options)
        suggest_protocol(manifest)
    except UserError:
        return
    found.options, found.manifest = options, manifest
    found.notes.append("each row is a part of a recording, and the recording is its group")


def _propose_columns(found: Found, columns: Columns) -> None:
    """List other columns that could hold the label or the group, and near misses."""
    for role in ("label", "group", "fold", "split"):
        used = columns.names.get(role)
        for name in columns.others.get(role, []):
            if used in NAMES[role] and name != used:
                found.proposals.append(Proposal(option_of(role), name, f"another column that could be the {role}"))
    for question in columns.questions:
        name = question.split("'")[1]
        option = question.split("dataset.")[1].split(":")[0]
        found.proposals.append(Proposal(option, name, question.split(": ", 1)[1].split("If so,")[0].rstrip("; ")))


def _propose_task(found: Found) -> None:
    """Propose another task if labels look like lists or quantities."""
    question = task_question(found.manifest, options_class(found.options["kind"])(**found.options))
    if "task: multi-label" in question:
        found.proposals.append(Proposal("task", "multi-label", "if a clip can have several classes"))
    elif "task: regression" in question.replace("\n", " "):
        found.proposals.append(Proposal("task", "regression", "if the labels are quantities"))
