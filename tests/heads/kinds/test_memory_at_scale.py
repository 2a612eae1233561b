"""`linear` and `knn` train within 1.2 times the layer's array, on top of the array itself."""

import resource
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from heads.kinds.knn import KnnOptions
from heads.kinds.linear import LinearOptions
from heads.splits.protocol import Split
from heads.training.train import train_head
from tests.processes import run

N_CLIPS, DIM, N_CLASSES = 40_000, 512, 35
CHUNKS_BYTES = 2**27  # chunks of rows, scores and distances, whose size does not depend on the corpus


def fit(options, features):
    part = np.arange(len(features)) % 20
    split = Split("fold", *(np.flatnonzero(chosen) for chosen in (part > 1, part == 1, part == 0)))
    targets = np.arange(len(features)) % N_CLASSES
    return train_head(options, features, targets, [split], [0], n_classes=N_CLASSES).fits[0]


def fit_within(options, n_clips, share):
    """Train while the address space may grow by a share of the features, and by the chunks."""
    torch.set_num_threads(1)
    features = np.random.default_rng(0).standard_normal((n_clips, 1, DIM), dtype=np.float32)
    fit(options, features[:2000])  # loads all libraries
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    most = used + int(share * features.nbytes) + CHUNKS_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    assert np.isfinite(fit(options, features).probabilities).all()


@pytest.mark.skipif(sys.platform != "linux", reason="the limit on the address space is Linux's")
@pytest.mark.parametrize("options", [LinearOptions(l2=0.1), KnnOptions(k=[1, 5])], ids=lambda options: options.name)
def test_training_fits_into_the_promised_memory(options):
    done = run(fit_within, options, N_CLIPS, 1.2)
    assert done.returncode == 0, done.stderr
