"""Projections keep clusters apart, are deterministic, and accept small and constant inputs."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from pipeline.report.analysis.embedding_maps.projection import METHODS, PCA, TSNE, principal_components, project


def clusters(n_each=30, dims=20, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(3, dims)) * 4
    return np.concatenate([centre + rng.normal(size=(n_each, dims)) for centre in centres]), np.repeat(
        [0, 1, 2], n_each
    )


@pytest.mark.parametrize("method", METHODS)
def test_clusters_stay_apart_whatever_the_scale_of_dimensions(method):
    vectors, own = clusters()
    scaled = vectors * np.geomspace(1e-3, 1e3, vectors.shape[1])
    points = project(scaled, method).coordinates
    nearest = NearestNeighbors(n_neighbors=2).fit(points).kneighbors(points, return_distance=False)[:, 1]
    assert (own[nearest] == own).mean() > 0.95
    assert np.abs(points).max() == pytest.approx(1)
    assert points == pytest.approx(project(scaled, method).coordinates)
    if method == PCA:
        assert points == pytest.approx(project(vectors, method).coordinates)


def test_principal_components_worked_out_by_hand():
    # Two correlated dimensions and a constant one: the first axis explains all of the variance.
    vectors = np.array([[0.0, 0.0, 5.0], [1.0, 10.0, 5.0], [2.0, 20.0, 5.0]])
    made = project(vectors, PCA)
    assert made.coordinates[:, 0] == pytest.approx([-1, 0, 1])
    assert made.coordinates[:, 1] == pytest.approx([0, 0, 0], abs=1e-9)
    assert made.explained == pytest.approx((1, 0), abs=1e-9)


def test_signs_of_components_are_fixed():
    vectors, _ = clusters()
    turned, _ = principal_components(vectors - vectors.mean(0), 5)
    mirrored, _ = principal_components(-(vectors - vectors.mean(0)), 5)
    assert turned == pytest.approx(-mirrored)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(1, 4), (2, 4), (3, 1), (5, 1), (6, 3)])
def test_few_clips_and_few_dimensions(method, shape):
    points = project(np.random.default_rng(0).normal(size=shape), method).coordinates
    assert points.shape == (shape[0], 2) and np.isfinite(points).all()


@pytest.mark.parametrize("method", METHODS)
def test_equal_vectors(method):
    assert (project(np.ones((7, 3)), method).coordinates == 0).all()


def test_unknown_method():
    with pytest.raises(ValueError, match="unknown projection 'UMAP', expected one of t-SNE, PCA"):
        project(np.ones((3, 2)), "UMAP")
    assert TSNE in METHODS
