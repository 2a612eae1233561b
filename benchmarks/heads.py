"""Compare heads trained as one batched job with common training loops, in one run, at equal accuracy.

`grid`: the `mlp` head over 5 folds × 5 seeds × 12 configurations on 2,000 × 768 features (300 fits, early
stopping, up to 100 epochs), 50 classes. The baseline is the tutorial's loop, one fit at a time: DataLoader
over a TensorDataset, `.item()` on every batch, and a validation pass each epoch, clip by clip as published. It uses
AdamW, since the grid has a weight decay, and the same batch size, early stopping and best state. A sample of its fits
is timed, some after each fold of ours, and scaled to 300. A second baseline validates in batches as large as the
training batches. Floating-point operations are those of the matrix products; the reference rate is that of a
2048 × 2048 product on as many threads.

`xares`: time per fit-epoch, including validation, of X-ARES' own head training (its `Trainer`, its
webdataset loader, its `Mlp`, which is a layer norm and one linear layer) on the same clips, in an interpreter with
X-ARES: `--xares .venv-xares/bin/python`. `frames`: embeddings as it stores them, 125 frames per clip (Dasheng,
its own encoder, on 5 s); `pooled`: one frame per clip, the minimum that it can read.

Run: `python -m benchmarks.heads [--only grid xares] [--device cuda] [--save]`.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.figures import Figure, ratio
from benchmarks.matmul import matmul_rate
from benchmarks.results import RESULTS, save
from heads.kinds import mlp
from heads.kinds.mlp import MlpOptions, widths
from heads.options import Configuration
from heads.splits.protocol import Split
from heads.training.train import train_head
from pipeline.console import Console

N_CLIPS, DIM, N_CLASSES, N_FOLDS = 2000, 768, 50, 5
SEEDS = (0, 1, 2, 3, 4)
TUTORIAL = "the tutorial's loop"
FRAMES = 125  # of a 5 s clip at 25 Hz
OPTIONS = MlpOptions(learning_rate=[1e-3, 5e-4, 3e-4], weight_decay=[1e-2, 1e-1], dropout=[0.3, 0.5])


def clips() -> tuple[np.ndarray, np.ndarray, list[Split]]:
    """Return features (N, 1, D) of overlapping classes, their targets, and folds like official ones."""
    rng = np.random.default_rng(0)
    targets = np.arange(N_CLIPS) % N_CLASSES
    centres = rng.normal(size=(N_CLASSES, DIM))
    features = 0.2 * centres[targets] + rng.normal(size=(N_CLIPS, DIM))
    fold = np.arange(N_CLIPS) // N_CLASSES % N_FOLDS
    rows = [np.flatnonzero(fold == k) for k in range(N_FOLDS)]
    splits = []
    for k in range(N_FOLDS):
        train = np.sort(np.concatenate([rows[(k + j) % N_FOLDS] for j in range(2, N_FOLDS)]))
        splits.append(Split(k, train, rows[(k + 1) % N_FOLDS], rows[k]))
    return features.astype(np.float32)[:, None], targets, splits


def tutorial_fit(
    features: np.ndarray,
    targets: np.ndarray,
    split: Split,
    point: Configuration,
    seed: int,
    device: str,
    valid_size: int,
) -> tuple[int, float]:
    """Run one fit of the tutorial's loop; return its epochs, and the test accuracy of its best state."""
    torch.manual_seed(seed)
    rows = features[:, 0].astype(np.float64)
    rows = (rows - rows[split.train].mean(0)) / rows[split.train].std(0)
    inputs, labels = torch.from_numpy(rows).float(), torch.from_numpy(targets)
    train, valid = (TensorDataset(inputs[part], labels[part]) for part in (split.train, split.valid))
    train_loader = DataLoader(train, batch_size=OPTIONS.batch_size, shuffle=True)
    valid_loader = DataLoader(valid, batch_size=valid_size, shuffle=False)
    model = nn.Sequential(
        nn.Linear(DIM, point["hidden"]), nn.ReLU(), nn.Dropout(point["dropout"]), nn.Linear(point["hidden"], N_CLASSES)
    ).to(device)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.AdamW(model.parameters(), lr=point["learning_rate"], weight_decay=point["weight_decay"])
    best_loss, best_epoch, best_state, epoch = np.inf, 0, model.state_dict(), 0
    for epoch in range(1, OPTIONS.max_epochs + 1):
        model.train()
        running_loss, correct, total = 0.0, 0, 0
        for x, y in train_loader:
            x, y = x.to(device), y.to(device)
            outputs = model(x)
            loss = criterion(outputs, y)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            running_loss += loss.item()
            _, predicted = outputs.max(1)
            total += y.size(0)
            correct += predicted.eq(y).sum().item()
        model.eval()
        valid_loss, correct, total = 0.0, 0, 0
        with torch.no_grad():
            for x, y in valid_loader:
                x, y = x.to(device), y.to(device)
                outputs = model(x)
                valid_loss += criterion(outputs, y).item() * len(y)
                _, predicted = outputs.max(1)
                total += y.size(0)
                correct += predicted.eq(y).sum().item()
        if valid_loss < best_loss:
            best_loss, best_epoch, best_state = valid_loss, epoch, copy.deepcopy(model.state_dict())
        elif epoch - best_epoch >= OPTIONS.patience:
            break
    model.load_state_dict(best_state)
    model.eval()
    with torch.no_grad():
        right = model(inputs[split.test].to(device)).argmax(1).cpu() == labels[split.test]
    return epoch, right.float().mean().item()


def grid_figures(device: str, sample: int, n_folds: int = N_FOLDS) -> list[Figure]:
    """Time our whole grid fold by fold, and after each fold some of the tutorial's fits."""
    features, targets, splits = clips()
    splits = splits[:n_folds]
    grid = OPTIONS.configurations()
    usual, fitted = mlp.HEAD, []

    def recorded(*arguments: Any) -> Any:
        for candidate in usual.fit(*arguments):
            fitted.append((len(seconds), candidate))
            yield candidate

    mlp.HEAD = replace(usual, fit=recorded)
    ways = {TUTORIAL: 1, f"{TUTORIAL}, validation in batches": OPTIONS.batch_size}
    seconds: list[float] = []
    theirs: dict[str, list[tuple[float, int, float]]] = {way: [] for way in ways}
    sampled = [((at * 5) % len(grid), at % n_folds, SEEDS[(at // n_folds) % len(SEEDS)]) for at in range(sample)]
    scored: list[float] = []
    for at, split in enumerate(splits):
        started = time.perf_counter()
        result = train_head(OPTIONS, features, targets, [split], SEEDS, n_classes=N_CLASSES, device=device)
        seconds.append(time.perf_counter() - started)
        scored += [float((fit.probabilities.argmax(1) == targets[fit.test_rows]).mean()) for fit in result.fits]
        for configuration, fold, seed in sampled:
            if fold != at:
                continue
            for way, valid_size in ways.items():
                started = time.perf_counter()
                epochs, accuracy = tutorial_fit(features, targets, split, grid[configuration], seed, device, valid_size)
                theirs[way].append((time.perf_counter() - started, epochs, accuracy))
    mlp.HEAD = usual
    epochs_run, accuracies = {}, {}
    for fold, candidate in fitted:
        for seed, state, best in zip(SEEDS, candidate.states, candidate.epochs, strict=True):
            key = candidate.configuration, fold, seed
            epochs_run[key] = min(int(best) + OPTIONS.patience, OPTIONS.max_epochs)
            test = splits[fold].test
            accuracies[key] = (
                usual.predict(state, features[test, 0], "single-label").argmax(1) == targets[test]
            ).mean()
    n_fits, fit_epochs = len(epochs_run), sum(epochs_run.values())
    operations = operations_of_an_epoch(len(splits[0].train), len(splits[0].valid)) * fit_epochs
    rate = matmul_rate(torch.float32, device, repeats=8)
    figures = []
    for way, found in theirs.items():
        total = sum(took for took, _, _ in found) / len(found) * n_fits
        epochs = sum(count for _, count, _ in found)
        details = {
            "s, all fits": total,
            "fits timed": len(found),
            "ms per fit-epoch": 1e3 * sum(took for took, _, _ in found) / epochs,
            "epochs a fit": epochs / len(found),
            "test accuracy": float(np.mean([accuracy for _, _, accuracy in found])),
        }
        goal = None if way != TUTORIAL else 6 if device == "cpu" else 50
        figures.append(Figure(f"mlp grid of {n_fits} fits", total / sum(seconds), f"× {way}", goal, details=details))
    details = {
        "s, all fits": sum(seconds),
        "ms per fit-epoch": 1e3 * sum(seconds) / fit_epochs,
        "epochs a fit": fit_epochs / n_fits,
        "test accuracy, same fits": float(np.mean([accuracies[key] for key in sampled])),
        "of the chosen": float(np.mean(scored)),
        "GFLOP per fit-epoch": operations / fit_epochs / 1e9,
        "GFLOP/s": operations / sum(seconds) / 1e9,
        "GFLOP/s of a product": rate / 1e9,
    }
    return [*figures, Figure("mlp grid", operations / sum(seconds) / rate, "of the matmul rate", details=details)]


def operations_of_an_epoch(n_train: int, n_valid: int) -> float:
    """Return the floating-point operations of the matrix products of one fit-epoch: two per pair of factors."""
    (hidden,) = widths(OPTIONS.hidden[0])
    first, last = DIM * hidden, hidden * N_CLASSES
    forward, backward = 2 * (first + last), 2 * (first + 2 * last)  # the inputs need no gradient
    return n_train * (forward + backward) + n_valid * forward


def xares_figures(python: Path, rounds: int) -> list[Figure]:
    """Return the ratio of X-ARES' seconds per fit-epoch to ours, measured alternately on the same clips."""
    features, targets, splits = clips()
    options = OPTIONS.model_copy(update={"max_epochs": 10, "patience": 10})
    fit_epochs = len(options.configurations()) * len(SEEDS) * 10
    ours: list[float] = []
    theirs: dict[str, list[float]] = {"frames": [], "pooled": []}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "clips.npz"
        np.savez(data, features=features[:, 0], targets=targets, train=splits[0].train, valid=splits[0].valid)
        for number in range(rounds):
            started = time.perf_counter()
            train_head(options, features, targets, splits[:1], SEEDS, n_classes=N_CLASSES)
            ours.append((time.perf_counter() - started) / fit_epochs)
            for way, n_frames in (("frames", FRAMES), ("pooled", 1)):
                script = Path(__file__).parent / "peers" / "xares_epochs.py"
                command = [
                    str(python),
                    str(script),
                    str(data),
                    str(n_frames),
                    "3",
                    str(Path(folder) / f"{way}{number}"),
                ]
                output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                theirs[way].append(json.loads(output.splitlines()[-1])["seconds_per_epoch"])
    return [
        Figure(
            "a fit-epoch of the mlp head",
            ratio(took, ours),
            f"× X-ARES, {way}",
            20 if way == "frames" else None,
            details={"ms": 1e3 * statistics.median(ours), "X-ARES ms": 1e3 * statistics.median(took)},
        )
        for way, took in theirs.items()
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=("grid", "xares"), default=["grid", "xares"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--sample", type=int, default=10, help="fits of the tutorial's loop to time")
    parser.add_argument(
        "--folds", type=int, default=N_FOLDS, help="folds of the grid; fewer are faster, but not comparable"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--xares", type=Path, help="Python with xares; without it, that row is skipped")
    parser.add_argument("--save", action="store_true", help=f"also write a JSON file under {RESULTS.name}/")
    options = parser.parse_args()
    figures: dict[str, list[Figure]] = {}
    if "grid" in options.only:
        figures["heads"] = grid_figures(options.device, options.sample, options.folds)
    if "xares" in options.only and options.xares:
        figures["xares-heads"] = xares_figures(options.xares, options.rounds)
    console = Console()
    columns = ("what", "figure", "goal", "met", "details")
    heading = f"{options.device}, {torch.get_num_threads()} threads"
    console.table(columns, [figure.cells() for row in figures.values() for figure in row], title=heading)
    for figure in (figure for row in figures.values() for figure in row):
        console.line(" | ".join(figure.cells()))
    if options.save:
        console.line(f"saved {save(figures, options.device)}")


if __name__ == "__main__":
    main()
