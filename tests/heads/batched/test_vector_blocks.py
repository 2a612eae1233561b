"""Rows that are standardised when they are read are those of a whole block."""

import numpy as np
import pytest
import torch

from heads.batched import moments
from heads.batched.blocks import ALL_LAYERS, standardize
from heads.batched.moments import RunningMoments, chunk_moments
from heads.batched.vector_blocks import vector_block
from heads.batched.vectors import ArrayVectors
from heads.splits.protocol import Split

N, N_LAYERS, DIM = 300, 3, 20
CPU = torch.device("cpu")


def data(dtype=np.float32):
    rng = np.random.default_rng(0)
    values = 50 * rng.normal(size=N_LAYERS)[:, None] + rng.normal(size=(N, N_LAYERS, DIM))
    values[:, 1, 4] = 0.1  # constant
    order = rng.permutation(N)
    return ArrayVectors(values.astype(dtype)), rng.integers(0, 4, N), Split(0, order[:200], order[200:260], order[260:])


def read(block, rows=slice(None)):
    n, n_layers, dim = len(range(len(block))[rows]), *block.mean.reshape(-1, DIM).shape
    out = np.full((n, n_layers, dim + 3), 7.0, dtype=np.float32)
    block.read(rows, out)
    assert (out[..., dim:] == 7).all()
    return out[..., :dim]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("layer", [1, ALL_LAYERS])
def test_a_block_that_fits_in_one_chunk_has_the_bits_of_a_whole_one(layer, dtype):
    features, targets, split = data(dtype)
    whole = standardize(features, targets, split, layer, CPU)
    block = vector_block(features, targets, split, layer, CPU, "single-label")
    assert np.array_equal(block.mean, whole.mean) and np.array_equal(block.scale, whole.scale)
    rows = torch.cat([whole.train, whole.valid]).float().numpy().reshape(260, -1, DIM)
    assert np.array_equal(read(block), rows)
    assert np.array_equal(read(block, slice(150, 230)), rows[150:230])


@pytest.mark.parametrize("layer", [1, ALL_LAYERS])
def test_chunks_of_three_rows(layer, monkeypatch):
    features, targets, split = data()
    whole = vector_block(features, targets, split, layer, CPU, "single-label")
    monkeypatch.setattr(moments, "CHUNK_BYTES", 3 * 8 * DIM)
    block = vector_block(features, targets, split, layer, CPU, "single-label")
    assert np.allclose(block.mean, whole.mean, rtol=1e-13)
    assert np.allclose(block.scale, whole.scale, rtol=1e-13)
    assert np.isinf(block.scale).sum() == 1
    assert np.allclose(read(block), read(whole), atol=1e-6)
    cut = standardize(features, targets, split, layer, CPU)
    assert np.allclose(cut.mean, whole.mean, rtol=1e-13) and np.allclose(cut.scale, whole.scale, rtol=1e-13)
    assert np.allclose(torch.cat([cut.train, cut.valid]).reshape(260, -1, DIM), read(whole), atol=1e-6)


def test_moments_of_chunks_survive_a_large_mean():
    values = 1e8 + np.random.default_rng(1).normal(size=(1000, 5))
    running = RunningMoments((5,))
    for start in range(0, 1000, 7):
        running.add(chunk_moments(values[start : start + 7].copy()))
    assert np.allclose(running.mean, values.mean(axis=0), rtol=1e-14)
    assert np.allclose(running.spread, values.std(axis=0), rtol=1e-7)
    assert RunningMoments((2,)).spread.tolist() == [0, 0]
