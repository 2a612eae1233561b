"""Read folder names as labels, groups, folds or splits."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from features.datasets import load_manifest
from features.datasets.listing import audio_files, base_name, manifest_of, relative, subfolders
from features.errors import ManifestError
from features.manifest import SPLIT_ALIASES, SPLITS
from pipeline.init.found import Found, Proposal, heard

# Names of folders that tell people, places or recordings apart, not kinds of sound.
NUMBERED = re.compile(
    r"(actor|speaker|spk|spkr|subject|subj|sub|patient|pat|participant|person|user|singer|session|sess|rec|recording|site"
    r"|device|mic|room|house|animal|bird|id|s|p)?[-_ ]?\d+",
    re.IGNORECASE,
)
FOLD = re.compile(r"(fold)[-_ ]?(?=\d+$)", re.IGNORECASE)
CROSSED = 0.5  # fraction of the folders on one level in which a name of the next level recurs


def find_split_folders(path: Path, csv_path: Path) -> Found | None:
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


def find_class_folders(path: Path, paths: Sequence[str]) -> Found | None:
    """Read the first level with several folders as classes; a crossing level below it is listed as another reading.

    Args:
        path: The folder.
        paths: Its audio files, relative to it.
    """
    folders = [text.split("/")[:-1] for text in paths]
    depth = min(map(len, folders))
    top = next((level for level in range(depth) if len({one[level] for one in folders}) > 1), None)
    if top is None:
        return None
    root = path.joinpath(*folders[0][:top])
    plain = _read({"kind": "folder", "root": str(root)}, "a folder per class" + _of(top, folders))
    crossing = _crossing_level(folders, top) if {len(one) for one in folders} == {depth} else None
    names = sorted({one[top] for one in folders})
    if all(FOLD.match(name) for name in names):
        prefix = FOLD.match(names[0])[0]  # type: ignore[index]
        if depth == top + 1 or not all(name.startswith(prefix) for name in names):
            return None
        rest = "/".join(["{label}", *["{}"] * (depth - top - 2)])
        return _read(
            _pattern(path, f"{prefix}{{fold}}/{rest}/{{}}"), "folders of folds with a folder per class in each"
        )
    if crossing is None or plain is None:
        return plain
    between = ["{}"] * (crossing - top - 1)
    below = ["{}"] * (depth - crossing)
    as_label = _pattern(path, "/".join(["{label}", *between, "{group}", *below]))
    as_group = _pattern(path, "/".join(["{group}", *between, "{label}", *below]))
    inner = sorted({one[crossing] for one in folders})
    described = f"{len(inner)} folders ({_examples(inner)}) recur in most of {len(names)} folders ({_examples(names)})"
    if all(map(NUMBERED.fullmatch, names)) and not all(map(NUMBERED.fullmatch, inner)):
        found = _read(as_group, f"a folder per group with a folder per class in each: {described}")
        if found is not None:
            found.others.append(plain.reading())
            return found
    gain = f"{described}: if the inner ones are speakers or recordings, this keeps each of them whole"
    plain.proposals.append(Proposal("pattern", as_label["pattern"], gain))
    if (other := _read(as_group, "inner folders are the classes, outer ones the groups")) is not None:
        plain.others.append(other.reading())
    return plain


def _of(top: int, folders: Sequence[Sequence[str]]) -> str:
    return f" in {'/'.join(folders[0][:top])}" if top else ""


def _crossing_level(folders: Sequence[Sequence[str]], top: int) -> int | None:
    """Return the first level below `top` whose names recur in most folders of `top`."""
    outer = len({one[top] for one in folders})
    for level in range(top + 1, len(folders[0])):
        pairs = {(one[top], one[level]) for one in folders}
        inner = Counter(name for _, name in pairs)
        if len(inner) > 1 and sum(inner.values()) >= max(CROSSED * outer, 2) * len(inner):
            return level
    return None


def _pattern(path: Path, pattern: str) -> dict[str, Any]:
    return {"kind": "folder", "root": str(path), "pattern": pattern}


def _read(options: dict[str, Any], what: str) -> Found | None:
    try:
        with heard() as records:
            return Found(options, load_manifest(options), what, records=records)
    except ManifestError:
        return None


def _examples(names: Sequence[str], shown: int = 3) -> str:
    return ", ".join(names[:shown]) + (" …" if len(names) > shown else "")
