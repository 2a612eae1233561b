"""Clips that sound alike: pairs whose embeddings point the same way, found block by block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

BLOCK_CELLS = 1 << 23  # similarities held at a time: 32 MB
MIN_DIMS = 16  # in fewer dimensions, unlike clips point the same way by chance


@dataclass(frozen=True)
class Pairs:
    """Pairs of rows that are alike: `first` < `second`, shape (P,) int64; `similarity`, shape (P,) float32."""

    first: np.ndarray
    second: np.ndarray
    similarity: np.ndarray


def directions(embeddings: np.ndarray) -> np.ndarray:
    """Unit vectors whose products are the cosines of the standardised embeddings.

    Standardisation is per dimension over all rows, so that no dimension counts more than another for its
    unit; dimensions that never change are left out.

    Args:
        embeddings: Shape (N, D), finite.

    Returns:
        Shape (N, D') float32, D' ≤ D; a row at the mean of all is zero.
    """
    mean = embeddings.mean(axis=0, dtype=np.float64)
    scale = embeddings.std(axis=0, dtype=np.float64)
    varies = scale > 1e-6 * np.maximum(np.abs(mean), 1e-30)  # less is rounding
    vectors = ((embeddings[:, varies] - mean[varies]) / scale[varies]).astype(np.float32)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(length > 0, length, 1)


def similar_pairs(vectors: np.ndarray, threshold: float, block_cells: int = BLOCK_CELLS) -> Iterator[Pairs]:
    """Yield the pairs at or above a cosine, some rows at a time; memory does not grow with N².

    Args:
        vectors: From `directions`, shape (N, D).
        threshold: The lowest cosine that counts.
        block_cells: Similarities held at a time, at most (but one row's at least).
    """
    start = 0
    while start < len(vectors):
        stop = start + max(1, block_cells // (len(vectors) - start))
        similarity = vectors[start:stop] @ vectors[start:].T
        first, second = np.nonzero(similarity >= threshold)
        upper = second > first
        first, second = first[upper], second[upper]
        yield Pairs(first + start, second + start, similarity[first, second])
        start = stop
