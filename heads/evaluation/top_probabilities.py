"""The highest class probabilities of each clip, instead of those of all classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

KEPT = 16
CHUNK_CELLS = 2**22  # clips × classes at a time


@dataclass(frozen=True)
class TopProbabilities:
    """Probabilities of a few classes of each of N clips.

    Attributes:
        classes: The most probable classes, highest first, then the true class, which may be among them, shape (N, K)
            int32.
        values: Their probabilities, shape (N, K) float32.
        n_classes: Number of all classes, C.
    """

    classes: np.ndarray
    values: np.ndarray
    n_classes: int

    @classmethod
    def of(cls, probabilities: np.ndarray, targets: np.ndarray, kept: int = KEPT) -> TopProbabilities:
        """Keep the highest probabilities and that of the true class.

        Args:
            probabilities: Shape (N, C).
            targets: True class of each clip, shape (N,).
            kept: Number of classes to keep, fewer than C. The first one is that of `argmax`.
        """
        n_clips, n_classes = probabilities.shape
        classes = np.empty((n_clips, kept + 1), dtype=np.int32)
        some = max(1, CHUNK_CELLS // n_classes)
        for at in range(0, n_clips, some):
            part = probabilities[at : at + some].astype(np.float32)
            clips = np.arange(len(part))
            best = part.argmax(axis=1)
            part[clips, best] = np.inf  # first also among equally probable classes
            top = np.sort(np.argpartition(-part, kept - 1, axis=1)[:, :kept], axis=1)
            falling = np.argsort(-np.take_along_axis(part, top, axis=1), axis=1, kind="stable")
            classes[at : at + some, :kept] = np.take_along_axis(top, falling, axis=1)
        classes[:, kept] = targets
        return cls(classes, np.take_along_axis(probabilities, classes, axis=1).astype(np.float32), n_classes)

    @property
    def shape(self) -> tuple[int, int]:
        """Clips and all classes, (N, C)."""
        return len(self.classes), self.n_classes

    def __len__(self) -> int:
        """Return the number of clips, N."""
        return len(self.classes)

    def __getitem__(self, clips: np.ndarray | slice) -> TopProbabilities:
        """Return the probabilities of some clips."""
        return TopProbabilities(self.classes[clips], self.values[clips], self.n_classes)

    def of_class(self, classes: np.ndarray) -> np.ndarray:
        """Return the probability of one class of each clip, shape (N,) float32; 0 if it was not kept."""
        is_it = self.classes == classes[:, None]
        at = is_it.argmax(axis=1)
        clips = np.arange(len(at))
        return np.where(is_it[clips, at], self.values[clips, at], np.float32(0))


def concatenated(parts: Sequence[np.ndarray | TopProbabilities]) -> np.ndarray | TopProbabilities:
    """Join the probabilities of several sets of clips.

    Raises:
        ValueError: Only some parts are of a few classes.
    """
    top = [part for part in parts if isinstance(part, TopProbabilities)]
    whole = [part for part in parts if isinstance(part, np.ndarray)]
    if top and whole:
        raise ValueError("probabilities of all classes and of a few classes cannot be joined")
    if whole:
        return np.concatenate(whole)
    return TopProbabilities(
        np.concatenate([part.classes for part in top]), np.concatenate([part.values for part in top]), top[0].n_classes
    )
