"""A confusion matrix of many classes, summed over blocks of classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.report.outcomes.confusions import Confusions, alike_together

MOST_BLOCKS = 40


@dataclass(frozen=True)
class ClassBlocks:
    """Blocks of classes that are confused with each other.

    Attributes:
        blocks: The classes of each of B blocks.
        shares: Fraction of the clips of the row's classes that are predicted as a class of the column, shape (B, B);
            nan for blocks without clips.
    """

    blocks: list[list[int]]
    shares: np.ndarray


def class_blocks(found: Confusions, most: int = MOST_BLOCKS) -> ClassBlocks:
    """Cut the classes into blocks of nearly equal size, in the order of `alike_together`."""
    parts = np.array_split(alike_together(found), min(most, len(found.totals)))
    block_of = np.empty(len(found.totals), dtype=np.int64)
    for number, part in enumerate(parts):
        block_of[part] = number
    counts = np.zeros((len(parts), len(parts)))
    np.add.at(counts, (block_of[found.rows], block_of[found.columns]), found.counts)
    totals = np.bincount(block_of, weights=found.totals, minlength=len(parts))[:, None]
    shares = np.divide(counts, totals, out=np.full_like(counts, np.nan), where=totals > 0)
    return ClassBlocks([part.tolist() for part in parts], shares)
