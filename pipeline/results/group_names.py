"""Groups that the names of the clips suggest, such as the speaker in `3_theo_12.wav`."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from features.manifest import Manifest
from pipeline.results.name_parts import NameParts, Part, cut, stem_of

LETTERS_AND_DIGITS = re.compile(r"[^\W_]+")
SHOWN = 3
FEWEST = 3  # groups; fewer cannot train, validate and test
PER_CLASS = 2  # values within one class are recordings from this many per class on; fewer name the class
COVERED = 0.9  # fraction of the clips whose names must have the part, and of the values that must look like groups


@dataclass(frozen=True)
class SuggestedGroups:
    """A part of the file names that could be a speaker or a recording.

    Attributes:
        place: Which part of the name it is, from 1.
        count: Number of different values.
        examples: Some of the values, letters and digits only.
        pattern: The `dataset.pattern` that reads it; None if no pattern fits all names.
    """

    place: int
    count: int
    examples: tuple[str, ...]
    pattern: str | None = None

    def around(self, *, with_pattern: bool) -> tuple[str, str]:
        """Return the text before and after the examples; it says how to use the groups.

        Args:
            with_pattern: Whether `dataset` can have a `pattern`.
        """
        how = (
            f"set dataset.pattern to '{self.pattern}'"
            if with_pattern and self.pattern
            else f"list the clips in a table with a column named group (it is part {self.place} of the name)"
        )
        more = ", …" if self.count > len(self.examples) else ""
        return (
            f"The file names suggest {self.count} groups: ",
            f"{more}. If they are speakers or recordings, {how}; otherwise the same one is in training and test.",
        )

    def text(self, *, with_pattern: bool = True) -> str:
        """Return what the names suggest and how to use it."""
        before, after = self.around(with_pattern=with_pattern)
        return f"{before}{', '.join(self.examples)}{after}"


def groups_in_names(manifest: Manifest) -> list[SuggestedGroups]:
    """Find the part of the file names that is likeliest a speaker or a recording, or equally likely ones.

    In order of preference: names that repeat in every class (speakers), values that repeat within one class (recordings
    cut into clips), and numbers that repeat in every class without numbering the clips. Among equals, the part with
    most values comes first.

    Returns:
        Nothing if the manifest has groups or the labels are not single classes. Parts that keep to the folds or splits
        of the manifest are left out.
    """
    if "group" in manifest.clips or manifest.task != "single-label":
        return []
    paths, labels = manifest.clips["path"].astype(str).tolist(), manifest.clips["label"].tolist()
    side = next((manifest.clips[name].tolist() for name in ("fold", "split") if name in manifest.clips), None)
    names = cut(paths)
    for parts, given in ((names.parts if names else [], names), (_loose(paths), None)):
        ranked = [part for part in rank_parts(parts, labels) if side is None or _crosses(part.values, side)]
        if ranked:
            return [_suggested(part, paths, given) for part in ranked]
    return []


def rank_parts(parts: Sequence[Part], labels: Sequence[str]) -> list[Part]:
    """Return the parts that are likeliest groups, those with most values first. Names without a part have "" there."""
    n_classes = len({*labels})
    ranked = []
    for part in parts:
        pairs = [(value, label) for value, label in zip(part.values, labels, strict=True) if value]
        rank = _rank(pairs, n_classes) if len(pairs) >= COVERED * len(labels) else None
        if rank is not None:
            ranked.append((rank, -len({value for value, _ in pairs}), part))
    best = max((rank for rank, *_ in ranked), default=0)
    return [part for rank, _, part in sorted(ranked, key=lambda one: one[1]) if rank == best]


def _suggested(part: Part, paths: Sequence[str], names: NameParts | None) -> SuggestedGroups:
    values = Counter(value for value in part.values if value)
    shown = ("".join(LETTERS_AND_DIGITS.findall(value)) for value, _ in values.most_common(SHOWN))
    pattern = names.checked(paths, {part.at: "group"}) if names is not None else None
    return SuggestedGroups(part.number, len(values), tuple(shown), pattern)


def _loose(paths: Sequence[str]) -> list[Part]:
    """Cut names that do not have the same separators, each by itself."""
    names = [LETTERS_AND_DIGITS.findall(stem_of(path)) for path in paths]
    most = max(map(len, names), default=0)
    return [Part(at, at + 1, tuple(one[at] if at < len(one) else "" for one in names)) for at in range(most)]


def _crosses(values: Sequence[str], sides: Sequence[object]) -> bool:
    """Whether some value is in several folds or splits."""
    seen: dict[str, object] = {}
    return any(seen.setdefault(value, side) != side for value, side in zip(values, sides, strict=True))


def _rank(pairs: list[tuple[str, str]], n_classes: int) -> int | None:
    """Return how much a part, given as values with the labels of their clips, looks like groups; None: not at all."""
    classes = defaultdict(set)
    for value, label in pairs:
        classes[value].add(label)
    if not FEWEST <= len(classes) <= len(pairs) / 2:
        return None
    enough = COVERED * len(classes)
    if sum(len(own) >= min(n_classes, max(2, n_classes // 2)) for own in classes.values()) >= enough:
        if any(len(value) > 1 and not value.isdecimal() for value in classes):
            return 2
        return 0 if len(pairs) >= 2 * len(set(pairs)) else None  # one clip of each class: it numbers them
    nested = sum(len(own) == 1 for own in classes.values()) >= enough
    return 1 if nested and len(classes) >= PER_CLASS * n_classes else None
