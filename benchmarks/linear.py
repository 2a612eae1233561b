"""Compare the regularisation path of `linear` over 13 layers and 5 folds with a loop over scikit-learn fits.

The loop fits one LogisticRegression (lbfgs) per layer, fold and C on rows that are already standardised, in
double precision; a sample of its fits is timed and scaled to all of them. It is timed with two tolerances: the
default, which is far from the optimum at weak penalties (see the error column), and one that agrees with
ours within about 1e-4. Ours is timed as a whole, before the loop in the same process: standardisation, axes, all fits,
selection on validation, scores. Errors are the largest difference of a test clip's probability.
Run: `python -m benchmarks.linear`.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

# Set before torch is loaded, as in the command line: threads that spin while they wait slow each other down.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from benchmarks.figures import Figure
from heads.batched.blocks import Block, Place, standardize
from heads.batched.job import Job
from heads.batched.vectors import ArrayVectors
from heads.kinds.linear import LinearOptions, fit_linear
from heads.kinds.registry import predict
from heads.splits.protocol import Split
from heads.training.train import train_head
from pipeline.console import Console

N_CLIPS, N_LAYERS, DIM, N_FOLDS = 2000, 13, 768, 5
TOLERANCES = (1e-4, 1e-8)  # scikit-learn's default, and one that agrees with the optimum
AT_LEAST = 3.0


def embeddings_like(n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return features with the spectrum of embeddings (few strong directions, many weak ones), and their classes."""
    rng = np.random.default_rng(0)
    targets = rng.permutation(np.arange(N_CLIPS) % n_classes)
    features = np.empty((N_CLIPS, N_LAYERS, DIM), dtype=np.float32)
    spread = np.arange(1, DIM + 1) ** -0.4
    for layer in range(N_LAYERS):
        axes = np.linalg.qr(rng.normal(size=(DIM, DIM)))[0]
        centres = rng.normal(size=(n_classes, DIM)) * np.exp(-np.arange(DIM) / 60) * (0.4 + 0.05 * layer)
        features[:, layer] = ((centres[targets] + rng.normal(size=(N_CLIPS, DIM))) * spread) @ axes
    return features, targets


def linear_figures(features: np.ndarray, targets: np.ndarray, n_sampled: int, device: str) -> list[Figure]:
    """Time both ways.

    Args:
        features: Shape (N, L, D).
        targets: Shape (N,).
        n_sampled: Fits of the loop that are timed, spread over layers, folds and penalties.
        device: Device of ours.
    """
    options, n_classes = LinearOptions(), int(targets.max()) + 1
    fold = np.arange(len(targets)) % N_FOLDS
    splits = [_split(fold, test) for test in range(N_FOLDS)]
    n_layers, n_all = features.shape[1], features.shape[1] * N_FOLDS * len(options.l2)
    result = train_head(options, features, targets, splits, [0], n_classes=n_classes, device=device)
    seconds: dict[float, list[float]] = {tolerance: [] for tolerance in TOLERANCES}
    errors: dict[float, list[float]] = {tolerance: [] for tolerance in TOLERANCES}
    for at in range(n_sampled):
        place, l2 = Place(at % N_FOLDS, (at * 5) % n_layers), options.l2[at % len(options.l2)]
        split = splits[place.fold]
        block = standardize(ArrayVectors(features), targets, split, place.layer, torch.device("cpu"))
        ours = _ours(block, place, l2, features[split.test, place.layer], n_classes)
        for tolerance in TOLERANCES:
            taken, theirs = _loops(block, l2, tolerance, features[split.test, place.layer])
            seconds[tolerance].append(taken)
            errors[tolerance].append(float(np.abs(ours - theirs).max()))
    figures = []
    for tolerance in TOLERANCES:
        loop, error = float(np.mean(seconds[tolerance])) * n_all, max(errors[tolerance])
        details = {"loop s": loop, "ours s": result.train_seconds, "largest error": error, "fits timed": n_sampled}
        what = f"linear, {n_layers} layers × {N_FOLDS} folds × {len(options.l2)} penalties, {n_classes} classes"
        unit = f"× scikit-learn at tol {tolerance:g}"
        figures.append(Figure(what, loop / result.train_seconds, unit, at_least=AT_LEAST, details=details))
    return figures


def _split(fold: np.ndarray, test: int) -> Split:
    """Return the split that tests on one fold, validates on the next and trains on the rest."""
    valid = (test + 1) % N_FOLDS
    rows = ((fold != test) & (fold != valid), fold == valid, fold == test)
    return Split(test, np.flatnonzero(rows[0]), np.flatnonzero(rows[1]), np.flatnonzero(rows[2]))


def _ours(block: Block, place: Place, l2: float, rows: np.ndarray, n_classes: int) -> np.ndarray:
    """Return our probabilities of one candidate for raw test rows."""
    options = LinearOptions(l2=[l2])
    grid, n = tuple(options.configurations()), len(block.train)
    job = Job(options, grid, (0,), "single-label", n_classes, n, rows.shape[1], 1, torch.device("cpu"))
    (fitted,) = fit_linear([place], lambda _: block, job)
    return predict("linear", fitted.states[0], rows)


def _loops(block: Block, l2: float, tolerance: float, rows: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the seconds of scikit-learn's fit, and its probabilities."""
    train, labels = block.train.numpy(), block.train_targets.numpy()
    started = time.perf_counter()
    model = LogisticRegression(C=1 / (l2 * len(train)), tol=tolerance, max_iter=100_000).fit(train, labels)
    seconds = time.perf_counter() - started
    return seconds, model.predict_proba((rows - block.mean) / block.scale)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.linear", description=__doc__)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--sample", type=int, default=18, help="fits of the loop to time; 9 covers each penalty once")
    parser.add_argument("--npz", type=Path, help="use these arrays: features (N, L, D) and targets (N,)")
    parser.add_argument("--device", default="cpu", help="device of ours")
    options = parser.parse_args()
    if options.npz:
        arrays = np.load(options.npz)
        features, targets = arrays["features"], arrays["targets"]
    else:
        features, targets = embeddings_like(options.classes)
    figures = linear_figures(features, targets, options.sample, options.device)
    columns = ("what", "ratio", "of", "at least", "loop s", "ours s", "largest error")
    console = Console()
    heading = f"{options.device}, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}"
    console.table(columns, [_cells(figure) for figure in figures], title=heading, right=columns[1:2] + columns[3:])


def _cells(figure: Figure) -> tuple[str, ...]:
    """Format one figure as table cells."""
    details: dict[str, Any] = figure.details
    least = "–" if figure.at_least is None else f"{figure.at_least:g}"
    times = f"{details['loop s']:.0f}", f"{details['ours s']:.1f}", f"{details['largest error']:.1e}"
    return figure.what, f"{figure.value:.1f}", figure.unit, least, *times


if __name__ == "__main__":
    main()
