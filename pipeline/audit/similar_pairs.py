"""Find pairs of rows with a high cosine: exactly, without computing most of the cosines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

BLOCK_CELLS = 1 << 22  # similarities computed at a time: 16 MB
ALL_PAIRS = 5000  # up to this many rows, the cosine of every pair is computed
SAMPLED = 2000  # rows to which the projection is fitted, and others on which it is tried
FEW_DIMS = 32  # dimensions of the smallest projection
PASSING = 1e-4  # fraction of pairs that a projection may leave to be computed
ROUNDING = 1e-6  # of squared lengths in float32
SOME_DIMS, SOME_ROWS = 64, 4096  # standardised at a time, in double precision
CHECKED = 1 << 14  # pairs checked at a time


@dataclass(frozen=True)
class Pairs:
    """Pairs of similar rows: `first` < `second`, shape (P,) int64; `similarity`, shape (P,) float32."""

    first: np.ndarray
    second: np.ndarray
    similarity: np.ndarray


NOTHING = Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))


def directions(embeddings: np.ndarray) -> np.ndarray:
    """Return unit vectors whose dot products are the cosines of the standardised embeddings.

    Each dimension is standardised over all rows, so that all have the same weight. Constant dimensions are
    removed.

    Args:
        embeddings: Shape (N, D), finite.

    Returns:
        Shape (N, D') float32, D' ≤ D; a row equal to the mean is zero.
    """
    n_dims = embeddings.shape[1]
    mean, scale = np.empty(n_dims), np.empty(n_dims)
    for at in range(0, n_dims, SOME_DIMS):
        some = embeddings[:, at : at + SOME_DIMS]
        mean[at : at + SOME_DIMS] = some.mean(axis=0, dtype=np.float64)
        scale[at : at + SOME_DIMS] = some.std(axis=0, dtype=np.float64)
    varies = scale > 1e-6 * np.maximum(np.abs(mean), 1e-30)  # smaller values are rounding
    vectors = np.empty((len(embeddings), int(varies.sum())), dtype=np.float32)
    for at in range(0, len(embeddings), SOME_ROWS):
        rows = slice(at, at + SOME_ROWS)
        vectors[rows] = (embeddings[rows, varies] - mean[varies]) / scale[varies]
        length = np.linalg.norm(vectors[rows], axis=1, keepdims=True)
        vectors[rows] /= np.where(length > 0, length, 1)
    return vectors


def similar_pairs(vectors: np.ndarray, threshold: float, block_cells: int = BLOCK_CELLS) -> Iterator[Pairs]:
    """Yield the pairs at or above a cosine, block by block, so that memory does not grow with N².

    Args:
        vectors: From `directions`, shape (N, D).
        threshold: The lowest cosine that counts.
        block_cells: Maximum number of similarities computed at a time (at least one row is).
    """
    projected = bounding_vectors(vectors, threshold) if len(vectors) > ALL_PAIRS else None
    if projected is None:
        yield from _of_all_pairs(vectors, threshold, block_cells)
    else:
        yield from _of_close_projections(vectors, projected, threshold, block_cells)


def bounding_vectors(vectors: np.ndarray, threshold: float) -> np.ndarray | None:
    """Return short vectors whose dot products are at least the cosines, so that no similar pair has a smaller one.

    The vectors are projected onto their first principal axes. The length of the rest is the last dimension: by the
    Cauchy-Schwarz inequality, the rests of two vectors add at most the product of their lengths to the cosine.

    Args:
        vectors: From `directions`, shape (N, D).
        threshold: The lowest cosine that counts.

    Returns:
        Shape (N, d + 1) float32; None if no d below D / 2 would leave few pairs.
    """
    some = vectors[np.linspace(0, len(vectors) - 1, 2 * SAMPLED).astype(np.int64)]
    fitted, others = some[::2].astype(np.float64), some[1::2]  # axes explain more of the rows they are fitted to
    axes = np.linalg.eigh(fitted.T @ fitted)[1][:, ::-1]
    n_similar = int((others @ others.T >= threshold).sum())
    n_dims = FEW_DIMS
    while n_dims < vectors.shape[1] / 2:
        sample = _bounding(others, axes[:, :n_dims])
        n_passing = int((sample @ sample.T >= threshold).sum())
        if n_passing - n_similar <= max(PASSING * SAMPLED**2, n_similar - SAMPLED):
            return _bounding(vectors, axes[:, :n_dims])
        n_dims *= 2
    return None


def _bounding(vectors: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Project onto axes (D, d) and append the length of the rest, rounded up."""
    out = np.empty((len(vectors), axes.shape[1] + 1), dtype=np.float32)
    out[:, :-1] = vectors @ axes.astype(np.float32)
    squares = np.einsum("nd,nd->n", vectors, vectors) - np.einsum("nd,nd->n", out[:, :-1], out[:, :-1])
    out[:, -1] = np.sqrt(np.maximum(squares, 0) + ROUNDING)
    return out


def _of_close_projections(
    vectors: np.ndarray, projected: np.ndarray, threshold: float, block_cells: int
) -> Iterator[Pairs]:
    """Compute the cosines of the pairs whose projections allow them to be similar.

    Rows are sorted by the first axis. Unit vectors with cosine t are √(2 - 2t) apart, on every axis at most, so that a
    block of rows is compared with the rows of a window only.
    """
    order = np.argsort(projected[:, 0], kind="stable")
    ranked = np.ascontiguousarray(projected[order])
    first_axis, reach = ranked[:, 0].astype(np.float64), np.sqrt(max(0.0, 2 - 2 * threshold)) + 1e-5
    start = 0
    while start < len(ranked):
        end = int(np.searchsorted(first_axis, first_axis[start] + reach, side="right"))
        stop = min(end, start + max(1, block_cells // (end - start)))
        end = int(np.searchsorted(first_axis, first_axis[stop - 1] + reach, side="right"))
        bound = ranked[start:stop] @ ranked[start:end].T
        at = np.flatnonzero(bound >= threshold - 10 * ROUNDING)
        first, second = np.divmod(at, end - start)
        upper = second > first
        one, other = order[first[upper] + start], order[second[upper] + start]
        for begin in range(0, len(one), CHECKED):
            yield _checked(vectors, one[begin : begin + CHECKED], other[begin : begin + CHECKED], threshold)
        start = stop


def _checked(vectors: np.ndarray, one: np.ndarray, other: np.ndarray, threshold: float) -> Pairs:
    """Return the pairs that are similar."""
    similarity = np.einsum("nd,nd->n", vectors[one], vectors[other])
    kept = similarity >= threshold
    one, other = one[kept], other[kept]
    return Pairs(np.minimum(one, other), np.maximum(one, other), similarity[kept])


def _of_all_pairs(vectors: np.ndarray, threshold: float, block_cells: int) -> Iterator[Pairs]:
    """Compute the cosines of all pairs, block by block."""
    start = 0
    while start < len(vectors):
        stop = start + max(1, block_cells // (len(vectors) - start))
        similarity = vectors[start:stop] @ vectors[start:].T
        first, second = np.nonzero(similarity >= threshold)
        upper = second > first
        first, second = first[upper], second[upper]
        yield Pairs(first + start, second + start, similarity[first, second])
        start = stop
