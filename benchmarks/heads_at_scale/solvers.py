"""Inputs of `benchmarks.heads_at_scale` for heads that read one layer, and for their peers in scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

DIM, TESTED = 768, 10  # every tenth clip is tested, and the one after it validates


def linear(n_clips: int, n_classes: int = 35, penalties: tuple[float, ...] = (), multi_label: bool = False) -> Any:
    """Return the fit of `linear` with the default grid, or some penalties, on one layer and split."""
    from heads.kinds.linear import LinearOptions

    options = LinearOptions(l2=list(penalties)) if penalties else LinearOptions()
    return _fit(options, n_clips, n_classes, multi_label)


def ridge(n_clips: int) -> Any:
    """Return the fit of `linear` in regression."""
    from heads.kinds.linear import LinearOptions
    from heads.training.train import train_head

    features, classes, splits = _corpus(n_clips, 35)
    return partial(train_head, LinearOptions(), features, classes * 1.0, splits, [0], n_classes=1, task="regression")


def knn(n_clips: int) -> Any:
    """Return the choice of k and metric of `knn`, and the prediction of the test clips."""
    from heads.kinds.knn import KnnOptions

    return _fit(KnnOptions(), n_clips, 35)


def sklearn_logistic(n_clips: int) -> Any:
    """Return scikit-learn's LogisticRegression for one penalty, l2 = 0.01, on standardised rows."""
    from sklearn.linear_model import LogisticRegression

    rows, classes = _standardised(n_clips)
    return partial(LogisticRegression(C=1 / (0.01 * len(rows)), max_iter=1000).fit, rows, classes)


def sklearn_sgd(n_clips: int) -> Any:
    """Return scikit-learn's SGDClassifier with log loss (one against the rest) for one penalty, alpha = 0.01."""
    from sklearn.linear_model import SGDClassifier

    rows, classes = _standardised(n_clips)
    return partial(SGDClassifier(loss="log_loss", alpha=0.01).fit, rows, classes)


def _fit(options: Any, n_clips: int, n_classes: int, multi_label: bool = False) -> Callable[[], Any]:
    import numpy as np

    from heads.training.train import train_head

    features, classes, splits = _corpus(n_clips, n_classes)
    targets, task = classes, "single-label"
    if multi_label:
        targets, task = np.zeros((n_clips, n_classes), dtype=np.uint8), "multi-label"
        targets[np.arange(n_clips), classes] = 1
        targets[np.arange(n_clips), np.random.default_rng(1).integers(0, n_classes, n_clips)] = 1
    return partial(train_head, options, features, targets, splits, [0], n_classes=n_classes, task=task)


def _corpus(n_clips: int, n_classes: int) -> tuple[Any, Any, Any]:
    """Return vectors (N, 1, DIM) float32 with the falling spectrum of embeddings, classes (N,), and one split."""
    import numpy as np

    from heads.splits.protocol import Split

    rng = np.random.default_rng(0)
    classes = rng.permutation(np.arange(n_clips) % n_classes)
    spread = (np.arange(1, DIM + 1) ** -0.4).astype(np.float32)
    axes = np.linalg.qr(rng.standard_normal((DIM, DIM)))[0].astype(np.float32)
    centres = (rng.standard_normal((n_classes, DIM)) * np.exp(-np.arange(DIM) / 60) * 0.6).astype(np.float32)
    features = np.empty((n_clips, 1, DIM), dtype=np.float32)
    for start in range(0, n_clips, 2048):
        own = classes[start : start + 2048]
        rows = centres[own] + rng.standard_normal((len(own), DIM), dtype=np.float32)
        features[start : start + 2048, 0] = (rows * spread) @ axes
    part = np.arange(n_clips) % TESTED
    sides = (np.flatnonzero(chosen) for chosen in (part > 1, part == 1, part == 0))
    return features, classes, [Split("fold", *sides)]


def _standardised(n_clips: int) -> tuple[Any, Any]:
    """Return the training rows (n, DIM) of `_corpus` as scikit-learn is given them, and their classes."""
    features, classes, (split,) = _corpus(n_clips, 35)
    rows = features[split.train, 0]
    del features
    rows -= rows.mean(axis=0)
    rows /= rows.std(axis=0)
    return rows, classes[split.train]
