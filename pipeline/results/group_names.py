"""Groups that the names of the clips suggest, such as the speaker in `3_theo_12.wav`."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import PurePosixPath

from features.manifest import Manifest

PART = re.compile(r"[^\W_]+")  # letters and digits between separators
SHOWN = 3
PER_CLASS = 2  # values within one class are recordings from this many per class on; fewer name the class
COVERED = 0.9  # fraction of the clips whose names must have the part


@dataclass(frozen=True)
class SuggestedGroups:
    """A part of the file names that could be a speaker or a recording.

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

    In order of preference: names that repeat in every class (speakers), values that repeat within one class (recordings
    cut into clips), and numbers that repeat in every class without numbering the clips. Among equals, the part with
    most values is chosen.

    Returns:
        None if the manifest has groups, the labels are not single classes, or no part of the names qualifies.
    """
    if "group" in manifest.clips or manifest.task != "single-label":
        return None
    labels = manifest.clips["label"].tolist()
    names = [PART.findall(PurePosixPath(path).stem) for path in manifest.clips["path"].astype(str)]
    found: list[tuple[int, int, SuggestedGroups]] = []
    for place in range(max(map(len, names))):
        pairs = [(parts[place], label) for parts, label in zip(names, labels, strict=True) if place < len(parts)]
        rank = _rank(pairs, len(manifest.labels)) if len(pairs) >= COVERED * len(names) else None
        if rank is not None:
            values = Counter(value for value, _ in pairs)
            shown = tuple(value for value, _ in values.most_common(SHOWN))
            found.append((rank, len(values), SuggestedGroups(place + 1, len(values), shown)))
    return max(found, key=lambda one: one[:2])[2] if found else None


def _rank(pairs: list[tuple[str, str]], n_classes: int) -> int | None:
    """Return how much a part, given as values with the labels of their clips, looks like groups; None: not at all."""
    classes = defaultdict(set)
    for value, label in pairs:
        classes[value].add(label)
    if not 2 <= len(classes) <= len(pairs) / 2:
        return None
    enough = COVERED * len(classes)
    if sum(len(own) >= min(n_classes, max(2, n_classes // 2)) for own in classes.values()) >= enough:
        if any(len(value) > 1 and not value.isdecimal() for value in classes):
            return 2
        return 0 if len(pairs) >= 2 * len(set(pairs)) else None  # one clip of each class: it numbers them
    nested = sum(len(own) == 1 for own in classes.values()) >= enough
    return 1 if nested and len(classes) >= PER_CLASS * n_classes else None
