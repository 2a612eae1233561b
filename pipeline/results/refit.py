"""How much of the training clips validation takes, which `refit: true` gives back."""

from __future__ import annotations

from dataclasses import dataclass

from heads.splits.protocol import Splits

MUCH = 0.3  # fraction of the clips that are not tested
FEW = 400  # with fewer training clips per fold, a smaller fraction counts, too
SOME = 0.15


@dataclass(frozen=True)
class HeldOut:
    """Clips per fold, mean over folds.

    Attributes:
        train: Training clips.
        valid: Validation clips.
    """

    train: int
    valid: int

    @property
    def share(self) -> float:
        """Fraction of the clips that are not tested which validate."""
        return self.valid / max(1, self.train + self.valid)

    @property
    def matters(self) -> bool:
        """Whether validation takes many clips, or some of few."""
        return self.share >= MUCH or (self.share >= SOME and self.train < FEW)


def held_out(splits: Splits) -> HeldOut:
    """Count the clips that train and validate."""
    found = splits.splits
    return HeldOut(
        round(sum(len(split.train) for split in found) / len(found)),
        round(sum(len(split.valid) for split in found) / len(found)),
    )
