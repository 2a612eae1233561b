"""Average precision of weighted clips, compared with scikit-learn's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from heads.evaluation.ranked_clips import CELLS, RankedClips, average_precision

CLIPS = st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.integers(0, 3)), min_size=2, max_size=30)


def columns(clips):
    """Scores with ties, truth, and a third column of whole numbers."""
    scores, truth, third = (np.array(column) for column in zip(*clips, strict=True))
    return (scores / 4).astype(np.float32), truth.astype(bool), third


@settings(max_examples=60)
@given(CLIPS)
def test_average_precision_has_the_bits_of_scikit_learns(clips):
    scores, truth, _ = columns(clips)
    if truth.any():
        assert average_precision(scores, truth) == average_precision_score(truth, scores)


def test_average_precision_of_many_clips_has_the_bits_of_scikit_learns():
    rng = np.random.default_rng(0)
    for ties in (3, 9):
        truth = rng.random(5000) < 0.1
        scores = (rng.normal(size=5000) + truth).round(ties).astype(np.float32)
        assert average_precision(scores, truth) == average_precision_score(truth, scores)


@settings(max_examples=60)
@given(CLIPS, st.booleans())
def test_weighted_precision_is_scikit_learns(clips, shares_groups):
    scores, truth, weights = columns(clips)
    numbers = np.arange(len(clips)) // 2 if shares_groups else np.arange(len(clips))
    of_groups = weights[: numbers.max() + 1].astype(np.float32)
    if not (truth & (of_groups[numbers] > 0)).any():
        return
    found = RankedClips.of(scores, truth).weighted(numbers, np.stack([of_groups, 2 * of_groups], axis=1))
    wanted = average_precision_score(truth, scores, sample_weight=of_groups[numbers])
    assert found == pytest.approx([wanted, wanted])


def test_draws_without_positive_clips_are_nan_and_large_numbers_of_draws_are_cut():
    scores, truth = np.array([0.9, 0.5, 0.1], dtype=np.float32), np.array([False, True, False])
    weights = np.ones((3, CELLS + 5), dtype=np.float32)
    weights[1, -1] = 0
    found = RankedClips.of(scores, truth).weighted(np.arange(3), weights)
    assert len(found) == CELLS + 5 and (found[:-1] == 0.5).all() and np.isnan(found[-1])


@settings(max_examples=60)
@given(CLIPS)
def test_precision_without_a_block_is_that_with_weight_0(clips):
    scores, truth, blocks = columns(clips)
    blocks = np.unique(blocks, return_inverse=True)[1]
    if not truth.any():
        return
    ranked, n_blocks = RankedClips.of(scores, truth), int(blocks.max()) + 1
    weights = (np.arange(n_blocks) != np.arange(n_blocks)[:, None]).astype(np.float32)
    wanted = ranked.weighted(blocks, weights)
    assert ranked.without(blocks, n_blocks) == pytest.approx(wanted, nan_ok=True)
