"""Train one head over all folds, seeds, layers and its grid; validation chooses, test rows are scored once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from features.errors import ConfigError, RunError
from heads.blocks import Block, Fitted, Place, standardize
from heads.linear import fit_linear
from heads.mlp import fit_mlp
from heads.options import HeadOptions, LinearOptions, MlpOptions
from heads.predict import count_parameters, head_state, predict
from heads.protocol import Split, Splits
from heads.results import CandidateScore, HeadFit, HeadResult


def train_head(
    options: HeadOptions,
    features: np.ndarray,
    targets: np.ndarray,
    splits: Splits | Sequence[Split],
    seeds: Sequence[int],
    *,
    n_classes: int,
    device: str = "cpu",
    layer_names: Sequence[int] | None = None,
    together: bool | None = None,
    on_candidate: Callable[[int, int], None] | None = None,
) -> HeadResult:
    """Train a head's whole grid as one batched job and score the test rows of the chosen fits.

    Per fold, the configuration and layer with the lowest validation log loss (mean over seeds; of
    equals the earlier in the grid, then the lower layer) is chosen. Training sees the blocks of
    `heads.blocks`, which hold no test row.

    On a CPU the folds' stacks train one after the other: two folds in one matrix product save nothing
    there, and a fold's bits then depend on that fold's own training and validation rows alone. On a
    GPU, where small stacks leave it idle, all folds train together.

    Args:
        options: A head and its grid. `linear` solves a convex problem, which no seed changes: it
            trains once per fold and counts for every seed.
        features: All clips, the wanted poolings concatenated, shape (N, L, D) float.
        targets: Class of each clip, 0…C-1, shape (N,) int.
        splits: Which rows train, validate and test.
        seeds: One fit each per fold.
        n_classes: C.
        device: `cpu`, `cuda` or `cuda:k`.
        layer_names: The backbone's index of each of the L layers; None: 0…L-1.
        together: Train all folds in one stack; None: on a GPU only.
        on_candidate: Called with the number of (fold, layer, configuration) trained, and of all.

    Returns:
        The chosen fits with their test probabilities, and every candidate's validation score.

    Raises:
        ConfigError: The options name a layer that the features lack; no seeds.
        RunError: NaN or infinite features; a fold without training, validation or test rows, or with
            a class absent from training; a fold in which every candidate failed.
    """
    started = time.perf_counter()
    folds = list(splits.splits if isinstance(splits, Splits) else splits)
    names = list(range(features.shape[1])) if layer_names is None else list(layer_names)
    positions = _layer_positions(options, names)
    if not len(seeds):
        raise ConfigError("seeds: the list is empty; give one seed at least, such as [0]")
    _check(features, targets, folds, n_classes)
    on = torch.device(device)
    grid = options.configurations()
    places = [Place(fold, layer) for fold in range(len(folds)) for layer in positions]
    if together is None:
        together = on.type == "cuda"
    groups = [places] if together else [[place for place in places if place.fold == fold] for fold in range(len(folds))]
    losses = np.full((len(folds), len(grid), len(names)), np.nan)
    best: dict[int, Fitted] = {}
    done = 0
    for group in groups:
        for fitted in _fit(options, features, targets, folds, group, seeds, n_classes, on):
            fold, layer = fitted.place
            losses[fold, fitted.configuration, layer] = fitted.valid_log_loss.mean()
            if fold not in best or _rank(fitted) < _rank(best[fold]):
                best[fold] = fitted
            done += 1
            if on_candidate:
                on_candidate(done, len(places) * len(grid))
    fits = [fit for at, fold in enumerate(folds) for fit in _score(options, features, fold, best[at], seeds, names)]
    candidates = {
        fold.fold: tuple(
            CandidateScore(point, names[layer], float(losses[at, number, layer]))
            for number, point in enumerate(grid)
            for layer in positions
        )
        for at, fold in enumerate(folds)
    }
    return HeadResult(tuple(fits), candidates, time.perf_counter() - started)


def _fit(
    options: HeadOptions,
    features: np.ndarray,
    targets: np.ndarray,
    folds: Sequence[Split],
    places: Sequence[Place],
    seeds: Sequence[int],
    n_classes: int,
    device: torch.device,
) -> Iterator[Fitted]:
    """Train every candidate of some blocks."""

    def load(place: Place) -> Block:
        return standardize(features, targets, folds[place.fold], place.layer, device)

    shape = max(len(folds[place.fold].train) for place in places), features.shape[2]
    if isinstance(options, LinearOptions):
        yield from fit_linear(places, load, options, n_classes, shape)
    elif isinstance(options, MlpOptions):
        yield from fit_mlp(places, load, options, seeds, n_classes, shape, device)
    else:
        raise ConfigError(f"heads: no trainer for {options.name!r}")


def _rank(fitted: Fitted) -> tuple[float, int, int]:
    """Sort key of candidates: the first is chosen."""
    loss = float(fitted.valid_log_loss.mean())
    return (loss if np.isfinite(loss) else np.inf, fitted.configuration, fitted.place.layer)


def _score(
    options: HeadOptions, features: np.ndarray, split: Split, chosen: Fitted, seeds: Sequence[int], names: Sequence[int]
) -> Iterator[HeadFit]:
    """Score a fold's test rows with the chosen candidate's fit of each seed."""
    if not np.isfinite(chosen.valid_log_loss).all():
        raise RunError(
            f"{options.title}: fold {split.fold!r}: every configuration diverged (validation log loss not finite); "
            "use a smaller learning_rate"
        )
    rows = features[split.test, chosen.place.layer]
    for at, seed in enumerate(seeds):
        fit = min(at, len(chosen.layers) - 1)  # a head that no seed changes has one fit
        state = head_state(chosen.layers[fit], chosen.mean, chosen.scale)
        yield HeadFit(
            fold=split.fold,
            seed=int(seed),
            test_rows=split.test,
            probabilities=predict(state, rows),
            configuration=options.configurations()[chosen.configuration],
            layer=names[chosen.place.layer],
            valid_log_loss=float(chosen.valid_log_loss[fit]),
            epochs=int(chosen.epochs[fit]),
            params_trained=count_parameters(state),
            state=state,
        )


def _layer_positions(options: HeadOptions, names: Sequence[int]) -> list[int]:
    if options.layers == "all":
        return list(range(len(names)))
    if options.layers == "last":
        return [len(names) - 1]
    absent = [layer for layer in options.layers if layer not in names]
    if absent:
        raise ConfigError(
            f"{options.title}: layers: {absent[0]} is not among the cached layers {', '.join(map(str, names))}"
        )
    return sorted({names.index(layer) for layer in options.layers})


def _check(features: np.ndarray, targets: np.ndarray, folds: Sequence[Split], n_classes: int) -> None:
    """Refuse features and folds that no head can train on."""
    if features.ndim != 3 or len(features) != len(targets):
        raise ValueError(
            f"features of shape {features.shape} for {len(targets)} targets; (N, L, D) and (N,) go together"
        )
    if not folds:
        raise RunError("no fold has test clips left")
    used = np.unique(np.concatenate([np.concatenate([fold.train, fold.valid, fold.test]) for fold in folds]))
    bad = ~np.isfinite(features[used])
    if bad.any():
        clips = used[bad.any(axis=(1, 2))]
        raise RunError(
            f"{int(bad.sum())} feature values of {len(clips)} of {len(used)} clips are NaN or infinite "
            f"(first: row {clips[0]}); extract them again or leave the clips out"
        )
    for fold in folds:
        for side in ("train", "valid", "test"):
            if not len(getattr(fold, side)):
                raise RunError(f"fold {fold.fold!r} has no {side} clips left")
        absent = np.setdiff1d(np.arange(n_classes), targets[fold.train])
        if len(absent):
            raise RunError(f"fold {fold.fold!r} has no training clip of class {absent[0]} (of {n_classes})")
