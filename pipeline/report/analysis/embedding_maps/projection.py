"""Projection of embeddings to two dimensions with PCA and t-SNE."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PCA = "PCA"
TSNE = "t-SNE"
METHODS = (TSNE, PCA)  # the page shows the first by default
KEPT_DIMENSIONS = 50  # number of principal components that t-SNE gets; the others are mostly noise
PERPLEXITY = 30.0
SEED = 0
SETTINGS = {"dimensions": KEPT_DIMENSIONS, "perplexity": PERPLEXITY, "seed": SEED, "version": 1}
"""The settings that, with the vectors, determine a projection."""


@dataclass(frozen=True)
class Projection:
    """Points of a map.

    Attributes:
        coordinates: Shape (N, 2), centred and scaled so that the largest absolute coordinate is 1.
        explained: For PCA, the fraction of the variance explained by each axis; empty for t-SNE, whose axes have no
            meaning.
    """

    coordinates: np.ndarray
    explained: tuple[float, ...] = ()


def project(vectors: np.ndarray, method: str) -> Projection:
    """Project vectors to two dimensions.

    Each dimension is standardised. PCA takes the first two principal components. t-SNE (van der Maaten and
    Hinton 2008) is computed on the first 50 and initialised with the first two. The result is deterministic.

    Args:
        vectors: Shape (N, D), finite.
        method: One of `METHODS`.

    Raises:
        ValueError: Unknown method.
    """
    if method not in METHODS:
        raise ValueError(f"unknown projection {method!r}, expected one of {', '.join(METHODS)}")
    components, explained = principal_components(_standardised(vectors), KEPT_DIMENSIONS)
    if method == PCA or len(vectors) < 4:  # t-SNE needs neighbours
        shares = tuple(float(share) for share in explained[:2])
        return Projection(_scaled(_plane(components)), shares if method == PCA else ())
    from sklearn import manifold

    made = manifold.TSNE(
        n_components=2, perplexity=min(PERPLEXITY, (len(vectors) - 1) / 3), init=_start(components), random_state=SEED
    ).fit_transform(components)
    return Projection(_scaled(made))


def principal_components(vectors: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Compute the first principal components of standardised vectors.

    Args:
        vectors: Shape (N, D).
        most: Maximum number of components.

    Returns:
        Scores, shape (N, K) with K at most `most`, and the fraction of the variance of each component, shape (K,).
        Signs are chosen so that the largest loading of each component is positive.
    """
    from sklearn import decomposition

    if not vectors.any():  # all vectors are equal
        return np.zeros((len(vectors), 1)), np.zeros(1)
    kept = min(most, *vectors.shape)
    solver = "randomized" if min(vectors.shape) > 500 else "full"
    made = decomposition.PCA(n_components=kept, svd_solver=solver, random_state=SEED).fit(vectors)
    signs = np.sign(made.components_[np.arange(kept), np.abs(made.components_).argmax(axis=1)])
    return made.transform(vectors) * signs, made.explained_variance_ratio_


def _standardised(vectors: np.ndarray) -> np.ndarray:
    values = vectors.astype(np.float64)
    spread = values.std(axis=0)
    return np.where(spread > 1e-12, (values - values.mean(axis=0)) / np.where(spread > 1e-12, spread, 1.0), 0.0)


def _start(components: np.ndarray) -> np.ndarray:
    """Return the initial positions of t-SNE: the first two principal components, scaled down."""
    plane = _plane(components)
    return (plane / (plane[:, 0].std() or 1.0) * 1e-4).astype(np.float32)


def _plane(components: np.ndarray) -> np.ndarray:
    """Return the first two columns, padded with zeros."""
    plane = components[:, :2]
    return plane if plane.shape[1] == 2 else np.column_stack([plane[:, 0], np.zeros(len(plane))])


def _scaled(points: np.ndarray) -> np.ndarray:
    """Centre points and scale both axes by the same factor to -1…1."""
    centred = points - (points.max(axis=0) + points.min(axis=0)) / 2
    return centred / (np.abs(centred).max() or 1.0)
