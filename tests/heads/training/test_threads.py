"""Bits of weights and predictions do not depend on the number of threads."""

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits

from heads.batched.frame_blocks import ClipLayers
from heads.kinds.attention import AttentionOptions
from heads.kinds.knn import KnnOptions
from heads.kinds.linear import LinearOptions
from heads.kinds.mlp import MlpOptions
from heads.kinds.weighted_sum import WeightedSumOptions
from heads.splits.protocol import Split
from heads.training.train import train_head
from tests.heads.learnables import Stored

N, DIM, N_CLASSES = 300, 200, 6
HEADS = [
    LinearOptions(l2=[1e-1, 1e-3]),
    KnnOptions(k=[1, 5]),
    MlpOptions(hidden=64, max_epochs=3),
    WeightedSumOptions(max_epochs=3),
    AttentionOptions(max_epochs=2, units=32),
]


def train(options, task, threads, **more):
    rng = np.random.default_rng(0)
    classes = rng.permutation(np.arange(N) % N_CLASSES)
    features = rng.normal(size=(N_CLASSES, DIM))[classes][:, None] + 3 * rng.normal(size=(N, 2, DIM))
    targets = {
        "single-label": classes,
        "multi-label": np.eye(N_CLASSES, dtype=np.float32)[classes],
        "regression": classes * 10.0 + rng.normal(size=N),
    }[task]
    fold = np.arange(N) % 4
    splits = [Split(k, *(np.flatnonzero((fold - k) % 4 == part) for part in (2, 1, 0))) for k in range(2)]
    features = features.astype(np.float32)
    if options.reads == "frames":
        frames = [np.repeat(clip[None], 7, axis=0).reshape(7, -1) for clip in features]
        features = ClipLayers(Stored(frames), np.arange(N), [0, 1])
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with threadpool_limits(threads, user_api="blas"):
            n_classes = 1 if task == "regression" else N_CLASSES
            result = train_head(options, features, targets, splits, [0], n_classes=n_classes, task=task, **more)
        assert torch.get_num_threads() == threads
        return result
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("task", ["single-label", "multi-label", "regression"])
@pytest.mark.parametrize("options", HEADS, ids=lambda options: options.title)
def test_one_thread_gives_the_bits_of_two(options, task):
    one, two = (train(options, task, threads, keep_layers=True, refit=True) for threads in (1, 2))
    for a, b in zip(one.fits, two.fits, strict=True):
        assert a.probabilities.tobytes() == b.probabilities.tobytes()
        assert a.valid_loss == b.valid_loss
        assert {name: array.tobytes() for name, array in a.state.items()} == {
            name: array.tobytes() for name, array in b.state.items()
        }
    for a, b in zip(one.layers, two.layers, strict=True):
        assert a.probabilities.tobytes() == b.probabilities.tobytes()
