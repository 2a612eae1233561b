"""Keep some clips of a manifest and merge labels; every step is described in a sentence."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from features.datasets.choosing.condition import Condition
from features.errors import ConfigError, ManifestError
from features.manifest import Manifest

KEYS = ("where", "rename", "include", "exclude", "min_clips", "max_clips_per_class", "choice_seed")
OF_CLASSES = ("rename", "include", "exclude", "min_clips", "max_clips_per_class")
SHOWN = 5  # names in a sentence


@dataclass(frozen=True)
class Choice:
    """What to keep of a dataset, in the order in which it is applied.

    Attributes:
        where: Conditions that each clip must meet.
        rename: Label -> new label; several may get the same one.
        include: Labels to keep, after renaming; None: all.
        exclude: Labels to leave out, after renaming.
        min_clips: Fewest clips of a class that is kept.
        max_clips_per_class: Most clips of a class; they are drawn by id.
        seed: Seed of that draw.
    """

    where: tuple[Condition, ...] = ()
    rename: dict[str, str] | None = None
    include: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    min_clips: int | None = None
    max_clips_per_class: int | None = None
    seed: int = 0

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Choice:
        """Return the choice in a config's `dataset:` section, whose keys are `KEYS`."""
        where, include = options["where"], options["include"]
        return cls(
            tuple(map(Condition.parse, [where] if isinstance(where, str) else where or ())),
            options["rename"],
            None if include is None else tuple(include),
            tuple(options["exclude"] or ()),
            options["min_clips"],
            options["max_clips_per_class"],
            options["choice_seed"],
        )

    def apply(self, manifest: Manifest) -> Manifest:
        """Return the chosen clips, with a sentence per step in `choices`.

        Conditions that a reader has already applied to the columns of its table are described, but not applied again.

        Raises:
            ConfigError: A column or label does not exist, or the task has no classes to choose from.
            ManifestError: Nothing is left.
        """
        given = [key for key in OF_CLASSES if getattr(self, key) not in (None, (), {})]
        if not given and not self.where:
            return manifest
        if given and manifest.task == "regression":
            raise ConfigError(
                f"dataset.{given[0]}: the labels of {manifest.name} are numbers (task regression); use where"
            )
        steps = _Steps(manifest)
        for condition in self.where:
            steps.meet(condition)
        if self.rename:
            steps.rename(self.rename)
        if self.include is not None:
            steps.keep_classes("include", self.include, lambda name: name in self.include)  # type: ignore[operator]
        if self.exclude:
            steps.keep_classes("exclude", self.exclude, lambda name: name not in self.exclude)
        if self.min_clips is not None:
            counts, least = steps.counts(), self.min_clips
            steps.keep_classes("min_clips", (), lambda name: counts[name] >= least, f"{least}")
        if self.max_clips_per_class is not None:
            steps.draw(self.max_clips_per_class, self.seed)
        return dataclasses.replace(manifest, clips=steps.clips, choices=tuple(steps.sentences))


class _Steps:
    """A manifest's table while clips are chosen."""

    def __init__(self, manifest: Manifest) -> None:
        self.name = manifest.name
        self.many = manifest.task == "multi-label"
        self.clips = manifest.clips
        self.sentences: list[str] = []

    def counts(self) -> Counter[str]:
        """Return class name -> number of clips."""
        return Counter(name for names in self._names() for name in names)

    def meet(self, condition: Condition) -> None:
        """Keep the clips that meet a condition."""
        if condition.column not in self.clips:
            if not condition.asked:
                raise condition.no_column(self.name, self.clips)
        elif not condition.asked:
            met = condition.rows(self.name, self.clips, self.clips["id"])
            if not any(met):
                raise condition.nothing(self.name, self.clips[condition.column].tolist())
            self.clips = self.clips[met]
        self.sentences.append(f"where {condition.text}: {condition.kept} of {condition.asked} clips kept")

    def rename(self, new: dict[str, str]) -> None:
        """Give labels other names."""
        counts = self.counts()
        self._check_known("rename", new, counts)
        renamed = sum(any(name in new for name in names) for names in self._names())
        self._set([tuple(new.get(name, name) for name in names) for names in self._names()])
        pairs = _listed([f"{old} → {name}" for old, name in new.items()])
        self.sentences.append(f"rename: {pairs} ({renamed} clips)")

    def keep_classes(
        self, key: str, wanted: Collection[str], keep: Callable[[str], bool], value: str | None = None
    ) -> None:
        """Keep some classes. A clip that had labels and has none left is removed."""
        counts = self.counts()
        self._check_known(key, wanted, counts)
        gone = sorted(name for name in counts if not keep(name))
        names = self._names()
        left = [tuple(name for name in held if keep(name)) for held in names]
        stays = [bool(now) or not before for before, now in zip(names, left, strict=True)]
        if not any(left):
            raise ManifestError(f"{self.name}: dataset.{key} leaves no clip with a label")
        before = len(self.clips)
        self.clips = self.clips[stays]
        self._set([now for now, stay in zip(left, stays, strict=True) if stay])
        what = value if value is not None else _listed(list(wanted))
        without = f", without {_listed(gone)}" if gone and key != "exclude" else ""
        self.sentences.append(
            f"{key} {what}: {len(counts) - len(gone)} of {len(counts)} classes and {len(self.clips)} of {before} clips "
            f"kept{without}"
        )

    def draw(self, most: int, seed: int) -> None:
        """Draw clips of each class. A clip's place in the draw depends on the seed and its id alone."""
        ids = self.clips["id"].tolist()
        order = sorted(range(len(ids)), key=lambda row: hashlib.sha256(f"{seed}:{ids[row]}".encode()).digest())
        taken: Counter[str] = Counter()
        names, stays = self._names(), [False] * len(ids)
        for row in order:
            held = names[row] or ("",)  # clips without a class are drawn like one more class
            if any(taken[name] < most for name in held):
                stays[row] = True
                taken.update(held)
        before, counts = len(self.clips), self.counts()
        self.clips = self.clips[stays]
        larger = sum(count > most for count in counts.values())
        self.sentences.append(
            f"max_clips_per_class {most}: {len(self.clips)} of {before} clips kept, drawn with seed {seed} from "
            f"{larger} larger class{'' if larger == 1 else 'es'}"
        )

    def _names(self) -> list[tuple[str, ...]]:
        labels = self.clips["label"].tolist()
        return [tuple(label) for label in labels] if self.many else [(str(label),) for label in labels]

    def _set(self, names: Sequence[tuple[str, ...]]) -> None:
        import pandas as pd

        labels: list[Any] = [tuple(sorted(set(held))) for held in names] if self.many else [held[0] for held in names]
        self.clips = self.clips.assign(label=pd.Series(labels, index=self.clips.index, dtype=object))

    def _check_known(self, key: str, wanted: Collection[str], counts: Counter[str]) -> None:
        for name in wanted:
            if name not in counts:
                close = difflib.get_close_matches(name, counts, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"labels: {_listed(sorted(counts))}"
                raise ConfigError(f"dataset.{key}: no clip has the label {name!r}, {hint}")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
