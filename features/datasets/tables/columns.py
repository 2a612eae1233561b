"""Decide which column of a table holds the path, the label, the group and so on, by the names in use."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from features.errors import ManifestError
from features.manifest import SPLIT_ALIASES, SPLITS

if TYPE_CHECKING:
    import pandas as pd

# Names in use for each role, the project's own first. They are compared in lower case, with `_` for anything else than
# letters and digits.
NAMES: dict[str, tuple[str, ...]] = {
    "id": ("id",),
    "path": (
        *("path", "file", "filename", "file_name", "filepath", "file_path", "fname", "audio", "audio_path"),
        *("audio_file", "audio_filename", "audio_file_name", "audio_filepath", "wav", "wav_path", "wav_file"),
        *("wav_filename", "slice_file_name", "sound_file", "soundfile"),
    ),
    "label": (
        *("label", "labels", "class", "class_name", "class_label", "category", "target", "emotion", "genre"),
        *("species", "event_label", "label_name", "primary_label", "tags", "y"),
        *("intent", "intent_class", "language", "lang_id", "event", "tag", "annotation"),
    ),
    "fold": ("fold", "fold_id", "cv_fold"),
    "split": ("split", "subset", "partition"),
    "group": (
        *("group", "group_id", "speaker", "speaker_id", "spk", "spk_id", "speaker_name", "patient", "patient_id"),
        *("participant", "participant_id", "subject", "subject_id", "actor", "actor_id", "singer", "client_id"),
        *("recordist", "individual", "recording", "recording_id", "session", "session_id", "src_file", "fsid"),
    ),
    "start_s": (
        *("start_s", "start", "start_time", "start_time_s", "start_sec", "start_seconds", "onset", "onset_s"),
        *("onset_time", "begin", "begin_s", "begin_time", "begin_time_s"),
    ),
    "end_s": (
        *("end_s", "end", "end_time", "end_time_s", "end_sec", "end_seconds", "offset", "offset_s", "offset_time"),
        *("stop", "stop_s", "stop_time"),
    ),
    "duration_s": ("duration_s", "duration", "duration_sec", "duration_seconds", "dur"),
}
MEANING = {
    "fold": "fold",
    "split": "split (train, valid, test)",
    "group": "group (speaker, recording)",
    "start_s": "start of a segment in seconds",
    "end_s": "end of a segment in seconds",
}
# Parts of a longer name that make its column worth a question.
TELLING = {
    "fold": ("fold",),
    "split": ("split",),
    "group": ("group", "speaker", "patient", "participant", "subject", "actor", "singer", "recordist"),
    "path": ("path", "file", "filename", "wav", "audio"),
    "label": ("label", "class", "category", "emotion", "species", "genre"),
}
ASKED = ("fold", "split", "group")
SEGMENT = ("start_s", "end_s", "duration_s")
Given = Mapping[str, "str | bool | None"]


@dataclass
class Columns:
    """The columns of one table.

    Attributes:
        names: Role -> name in the table. Roles: `id`, `path`, `label`, `fold`, `split`, `group`, `start_s`, `end_s`,
            `duration_s`.
        questions: One sentence for each unused column that may hold one of them.
        others: Role -> further columns that could hold it.
    """

    names: dict[str, str]
    questions: list[str] = field(default_factory=list)
    others: dict[str, list[str]] = field(default_factory=dict)


def option_of(role: str) -> str:
    """Return the option that names the column of a role."""
    return f"{role.removesuffix('_s')}_column"


def plain(name: object) -> str:
    """Return a column's name in the form of `NAMES`."""
    return re.sub(r"[\W_]+", "_", str(name).casefold()).strip("_")


def choose_columns(where: str, table: pd.DataFrame, given: Given, needed: Sequence[str] = ("path", "label")) -> Columns:
    """Choose the column of each role.

    A name that was `given` counts, and `false` means none. Otherwise the column has the role's own name or one of the
    other names in use. Other names of optional roles count only if the cells can have that meaning.

    Args:
        where: The file, for messages.
        table: Cells as they were read.
        given: Role -> name in the table, False or None.
        needed: Roles that must have a column.

    Raises:
        ManifestError: A needed or given column is missing. The message lists the columns and the names looked for.
    """
    columns = Columns({})
    for role, known in NAMES.items():
        name = given.get(role)
        if name is False:
            continue
        if isinstance(name, str):
            if name in table:
                columns.names[role] = name
            elif role in needed or name != role:
                raise ManifestError(_missing(where, table, role, (name,)))
            continue
        fitting = [str(column) for known_name in known for column in table if _fits(column, known_name)]
        if fitting:
            columns.names[role] = fitting[0]
            columns.others[role] = list(dict.fromkeys(fitting[1:]))
        elif role in needed:
            raise ManifestError(_missing(where, table, role, known))
    _keep_if_plausible(where, table, given, columns)
    _ask(where, table, given, columns)
    return columns


def _fits(column: object, known: str) -> bool:
    return column == known or plain(column) == known


def _keep_if_plausible(where: str, table: pd.DataFrame, given: Given, columns: Columns) -> None:
    """Drop columns found by another name than the role's own whose cells cannot have that meaning, with a question."""
    for role in ASKED:
        name = columns.names.get(role)
        if name is None or name in (role, given.get(role)):
            continue
        cells = table[name].map(lambda cell: cell if isinstance(cell, str | int | float | bool) else None)
        if (empty := int(cells.isna().sum())) > 0:
            why = f"has {empty} empty cell{'s' if empty > 1 else ''}"
        elif role == "split" and (unknown := _not_splits(cells)):
            why = f"holds {unknown!r}, which is none of {', '.join(SPLITS)}"
        else:
            continue
        del columns.names[role]
        columns.questions.append(_question(where, name, role, why))
    _keep_segments(where, table, given, columns)


def _keep_segments(where: str, table: pd.DataFrame, given: Given, columns: Columns) -> None:
    """Read seconds under other names than the project's own only where files are listed several times.

    Corpora of cut clips use such columns for the place in the original recording.
    """
    names, path = columns.names, columns.names.get("path")
    if "start_s" not in names and names.get("duration_s") not in ("duration_s", given.get("duration_s")):
        names.pop("duration_s", None)  # most tables state the length of the file
    guessed = [role for role in SEGMENT if role in names and names[role] not in (role, given.get(role))]
    certain = {role for role in SEGMENT if role in names} - set(guessed)
    if guessed and not certain and path is not None and not table[path].duplicated().any():
        for role in guessed:
            name = names.pop(role)
            if role in MEANING:
                columns.questions.append(_question(where, name, role, "lists every file once"))
    if "end_s" in names and names.get("duration_s") not in (None, given.get("duration_s")):
        if given.get("end_s") or names["duration_s"] != "duration_s":
            del names["duration_s"]
        else:
            del names["end_s"]


def _not_splits(cells: pd.Series) -> str:
    for cell in cells.unique():
        text = str(cell).strip().lower()
        if SPLIT_ALIASES.get(text, text) not in SPLITS:
            return str(cell)
    return ""


def _question(where: str, name: str, role: str, why: str = "") -> str:
    option = f"dataset.{option_of(role)}"
    table = "the table " if why.startswith("lists") else "it "
    reason = f" ({table}{why})" if why else ""
    return (
        f"{where}: the column {name!r} is not used{reason}; is it the {MEANING[role]}? "
        f"If so, set {option}: {name}; if not, {option}: false"
    )


def _ask(where: str, table: pd.DataFrame, given: Given, columns: Columns) -> None:
    """Ask about unused columns whose name is nearly that of a missing role."""
    used = set(columns.names.values()) | {name for names in columns.others.values() for name in names}
    asked = {question.split("'")[1] for question in columns.questions}
    for role in ASKED:
        if role in columns.names or given.get(role) is False:
            continue
        for name in map(str, table.columns):
            if name and name not in used | asked and nearly(name, role) and not table[name].isna().all():
                columns.questions.append(_question(where, name, role))
                break


def nearly(name: str, role: str) -> bool:
    """Whether a column's name resembles the names of a role without being one of them."""
    text = plain(name)
    if text in NAMES[role]:
        return False
    parts = {*text.split("_"), text.removesuffix("s"), *(part.removesuffix("s") for part in text.split("_"))}
    close = difflib.get_close_matches(text, NAMES[role][:2], n=1, cutoff=0.8)
    return bool(parts & {*TELLING.get(role, ()), role.removesuffix("_s")} or (len(text) > 4 and close))


def _missing(where: str, table: pd.DataFrame, role: str, known: Collection[str]) -> str:
    names = ", ".join(map(repr, table.columns)) or "none"
    close = next((str(name) for name in table.columns if nearly(str(name), role)), None)
    hint = f"; did you mean {close!r}?" if close and close not in known else ""
    first, *more = known
    looked = f"; looked for {', '.join([first, *more])}" if more else ""
    return (
        f"{where}: no column {first!r} (columns: {names}){looked}{hint}; set dataset.{option_of(role)} to name another"
    )
