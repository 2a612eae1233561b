"""Groups that the names of the clips suggest, such as the speaker in `3_theo_12.wav`."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import PurePosixPath

from features.manifest import Manifest

PART = re.compile(r"[^\W_]+")  # letters and digits between separators
SHOWN = 3
COVERED = 0.9  # fraction of the clips whose names must have the part


@dataclass(frozen=True)
class SuggestedGroups:
    """A part of the file names that repeats in every class.

    Attributes:
        place: Which part of the name it is, from 1.
        count: Number of different values.
        examples: Some of the values, letters and digits only.
    """

    place: int
    count: int
    examples: tuple[str, ...]


def groups_in_names(manifest: Manifest) -> SuggestedGroups | None:
    """Find a part of the file names that could be a speaker or a recording.

    Its values repeat, each occurs in several classes, and most occur in nearly all. A part with letters is preferred to
    a number. A number counts only if it does not number the clips of a class, and the number with most values is
    chosen.

    Returns:
        None if the manifest has groups, the labels are not single classes, or no part of the names qualifies.
    """
    if "group" in manifest.clips or manifest.task != "single-label":
        return None
    labels = manifest.clips["label"].tolist()
    names = [PART.findall(PurePosixPath(path).stem) for path in manifest.clips["path"].astype(str)]
    found: list[tuple[bool, int, SuggestedGroups]] = []
    for place in range(max(map(len, names))):
        pairs = [(parts[place], label) for parts, label in zip(names, labels, strict=True) if place < len(parts)]
        if len(pairs) >= COVERED * len(names) and _is_group(pairs, len(manifest.labels)):
            values = Counter(value for value, _ in pairs)
            shown = tuple(value for value, _ in values.most_common(SHOWN))
            has_letters = not any(value.isdecimal() for value in values)
            found.append((has_letters, len(values), SuggestedGroups(place + 1, len(values), shown)))
    return max(found, key=lambda one: one[:2])[2] if found else None


def _is_group(pairs: list[tuple[str, str]], n_classes: int) -> bool:
    """Return whether the values of a part, each with the label of its clip, look like speakers or recordings."""
    classes = defaultdict(set)
    for value, label in pairs:
        classes[value].add(label)
    if not 2 <= len(classes) <= len(pairs) / 2:
        return False
    crossing = sum(len(own) >= min(n_classes, max(2, n_classes // 2)) for own in classes.values())
    per_class = len(pairs) / len(set(pairs))
    numbers_clips = all(value.isdecimal() for value in classes) and per_class < 2
    return crossing >= COVERED * len(classes) and not numbers_clips
