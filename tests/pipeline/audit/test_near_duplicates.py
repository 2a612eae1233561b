"""Similar pairs are all found once for every block size; constant dimensions are ignored."""

import numpy as np
import pytest

from pipeline.audit import similar_pairs as similar_pairs_module
from pipeline.audit.similar_pairs import directions, similar_pairs


def found(vectors: np.ndarray, threshold: float, **options: int) -> dict[tuple[int, int], float]:
    blocks = list(similar_pairs(vectors, threshold, **options))
    pairs = [
        ((int(one), int(other)), float(value))
        for block in blocks
        for one, other, value in zip(block.first, block.second, block.similarity, strict=True)
    ]
    assert len(pairs) == len(dict(pairs)), "a pair came twice"
    return dict(pairs)


@pytest.mark.parametrize("block_cells", [1, 7, 100, 1 << 20])
def test_blocks_find_what_the_whole_matrix_holds(block_cells: int) -> None:
    rng = np.random.default_rng(0)
    vectors = directions(rng.standard_normal((60, 3)))
    cosines = vectors @ vectors.T
    expected = {(i, j): cosines[i, j] for i in range(60) for j in range(i + 1, 60) if cosines[i, j] >= 0.9}
    pairs = found(vectors, 0.9, block_cells=block_cells)
    assert pairs.keys() == expected.keys() and len(pairs) > 20
    assert all(pairs[pair] == pytest.approx(expected[pair], abs=1e-6) for pair in pairs)


def test_a_block_respects_the_limit_but_has_at_least_one_row() -> None:
    vectors = directions(np.random.default_rng(1).standard_normal((50, 20)))
    sizes = [len(block.first) for block in similar_pairs(vectors, -1.0, block_cells=200)]
    assert max(sizes) <= 200 and sum(sizes) == 50 * 49 // 2


def test_units_do_not_count_and_constant_dimensions_are_left_out() -> None:
    rng = np.random.default_rng(2)
    embeddings = rng.standard_normal((40, 20))
    scaled = embeddings * 10.0 ** rng.integers(-3, 4, 20) + 3
    constant = np.column_stack([scaled, np.full(40, 0.1), np.zeros(40)]).astype(np.float64)
    vectors = directions(constant)
    assert vectors.shape == (40, 20) and vectors.dtype == np.float32
    assert np.allclose(vectors, directions(embeddings), atol=1e-5)


def test_a_copy_with_a_little_noise_is_found_among_strangers() -> None:
    rng = np.random.default_rng(3)
    embeddings = rng.standard_normal((500, 64))
    embeddings[437] = embeddings[12] + 0.02 * rng.standard_normal(64)
    assert list(found(directions(embeddings), 0.98)) == [(12, 437)]


def test_clips_that_are_all_alike_have_no_direction() -> None:
    assert directions(np.ones((5, 8))).shape == (5, 0)
    assert found(directions(np.ones((5, 8))), 0.5) == {}


@pytest.mark.parametrize("power", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("threshold", [0.9, 0.98])
def test_projections_lose_no_pair(monkeypatch, power, threshold):
    """With flat, slowly and quickly falling spectra: the pairs are those of all cosines, also near the threshold."""
    rng = np.random.default_rng(3)
    spread = np.arange(1, 201) ** -power
    values = rng.standard_normal((3000, 200)) * spread
    values[:400] = values[400:800] + np.linspace(0.01, 0.7, 400)[:, None] * rng.standard_normal((400, 200)) * spread
    values[800] = values.mean(axis=0)
    vectors = directions((values @ np.linalg.qr(rng.standard_normal((200, 200)))[0]).astype(np.float32))
    wanted = found(vectors, threshold)
    monkeypatch.setattr(similar_pairs_module, "ALL_PAIRS", 100)
    monkeypatch.setattr(similar_pairs_module, "SAMPLED", 700)
    projected = similar_pairs_module.bounding_vectors(vectors, threshold)
    assert projected is not None and projected.shape[1] < 150
    pairs = found(vectors, threshold, block_cells=30_000)
    assert set(pairs) == set(wanted) and len(wanted) > 30
    assert [pairs[pair] for pair in wanted] == pytest.approx(list(wanted.values()), abs=1e-6)


def test_projected_products_are_at_least_the_cosines():
    vectors = directions(np.random.default_rng(5).standard_normal((4000, 90)).astype(np.float32))
    projected = similar_pairs_module._bounding(
        vectors, np.linalg.qr(np.random.default_rng(6).standard_normal((90, 8)))[0]
    )
    assert (projected[:300] @ projected.T - vectors[:300] @ vectors.T).min() > -1e-6


def test_vectors_that_no_projection_separates_are_compared_in_full(monkeypatch):
    monkeypatch.setattr(similar_pairs_module, "SAMPLED", 100)
    vectors = directions(np.random.default_rng(7).standard_normal((6000, 20)).astype(np.float32))
    assert similar_pairs_module.bounding_vectors(vectors, 0.98) is None
    assert len(list(similar_pairs(vectors, 0.98))) > 1
