"""Train one head over all splits, seeds, layers and its grid; choose by validation and score test rows once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial

import numpy as np
import torch

from features.errors import ConfigError
from features.labels import Task
from heads.batched.blocks import ALL_LAYERS, BlockFit, Place
from heads.batched.cores import one_thread
from heads.batched.frame_blocks import ClipLayers, FrameSource
from heads.batched.job import MEMORY_BYTES, Job
from heads.batched.vectors import ArrayVectors, SelectedLayers, Vectors
from heads.evaluation.absent import absent_classes
from heads.kinds.registry import head_type
from heads.options import HeadOptions
from heads.splits.protocol import Split, Splits
from heads.training.job_run import JobRun, VectorSource
from heads.training.kept_blocks import KeptBlocks
from heads.training.per_layer import LayerScores
from heads.training.preconditions import check_choice, check_rows, check_splits
from heads.training.results import CandidateScore, HeadResult


def train_head(
    options: HeadOptions,
    features: np.ndarray | Vectors | ClipLayers,
    targets: np.ndarray,
    splits: Splits | Sequence[Split],
    seeds: Sequence[int],
    *,
    n_classes: int,
    task: Task = "single-label",
    device: str = "cpu",
    layer_names: Sequence[int] | None = None,
    refit: bool = False,
    together: bool | None = None,
    keep_layers: bool = False,
    keep_valid: bool = False,
    keep_scores: bool = False,
    memory: int = MEMORY_BYTES,
    kept: KeptBlocks | None = None,
    on_candidate: Callable[[int, int], None] | None = None,
    note: Callable[[str], None] | None = None,
) -> HeadResult:
    """Train a head's whole grid as one batched job and score the test rows of the chosen fits.

    Per split, the configuration and layer with the lowest validation loss (mean over seeds) is chosen; ties go
    to the earlier configuration, then to the lower layer. Training uses the blocks of `heads.batched.blocks`,
    which contain no test rows.

    On a CPU, splits are not combined, so that the results of a split depend only on its own training and
    validation rows. Every fit and prediction is computed on one thread, and the cores work on different fits, so
    results do not depend on the number of threads. On a GPU, all splits are trained together, because small
    stacks would leave it idle.

    Args:
        options: A head and its grid. `linear` is deterministic: it is trained once per split, and the result
            is used for every seed.
        features: Features of all clips, poolings concatenated, shape (N, L, D) float: an array, or `Vectors`, which
            are read by layer; `ClipLayers` for a head that reads frames.
        targets: Class of each clip, 0…C-1, shape (N,) int; zeros and ones (N, C); values (N,).
        splits: Training, validation and test rows. Without validation rows, the head must have one
            configuration and one layer, and is trained for `max_epochs`.
        seeds: Seeds; one fit per seed and split.
        n_classes: C; 1 in regression.
        task: The task, which determines the form of the targets.
        device: `cpu`, `cuda` or `cuda:k`.
        layer_names: The backbone's index of each of the L layers; None: 0…L-1.
        refit: Train the chosen configuration again on training and validation rows together, for the same
            number of epochs.
        together: Train all splits in one stack; None: only on a GPU, or if the head's fits share no computation.
        keep_layers: Also keep the test predictions of the best candidate of each layer, for heads that read
            one layer's vector and choose between several layers.
        keep_valid: Also keep the validation predictions of the chosen fits, before any refit.
        keep_scores: Also keep the scores of test rows before softmax or sigmoid, of heads that have them.
        memory: Bytes that rows and fits of `mlp` and `weighted-sum` may take. Rows that do not fit are read from a
            temporary file; the results are the same. Heads on frames train fewer fits at once.
        kept: Where finished blocks are kept until the job ends; those of an earlier, interrupted job are not trained
            again. None: an interrupted job starts again.
        on_candidate: Called with the number of trained (split, layer, configuration) candidates, and the total.
        note: Called before training with one line about how a large job is divided.

    Returns:
        The chosen fits with their test probabilities, and every candidate's validation score.

    A class without training rows in a split is never predicted in it; this needs `Splits.absent_classes: score`.

    Raises:
        ConfigError: The options contain a layer that the features lack; there are no seeds; there is a choice
            but no validation rows; one minibatch needs more than `memory`.
        RunError: Features are NaN or infinite; a split has no training or test rows, or lacks a class in
            training; every candidate of a split failed.
    """
    started = time.perf_counter()
    folds = splits.splits if isinstance(splits, Splits) else splits
    lacking = isinstance(splits, Splits) and splits.absent_classes == "score"
    names = list(range(features.shape[1])) if layer_names is None else list(layer_names)
    positions = layer_positions(options, names)
    if not len(seeds):
        raise ConfigError("seeds: the list is empty; give at least one seed, such as [0]")
    source: FrameSource | VectorSource
    if isinstance(features, ClipLayers):
        check_splits(targets, folds, n_classes, task, may_lack_classes=lacking)
        if options.reads == "layer-frames":
            features, positions = features.select(positions), [ALL_LAYERS]
        check_choice(options, folds, len(positions))
        source = FrameSource(features, targets, folds, positions, task, refit=refit)
    else:
        if isinstance(features, np.ndarray):
            features = ArrayVectors(features)
        if options.reads == "layers":
            features, positions = SelectedLayers(features, positions), [ALL_LAYERS]
        features = check_rows(features, targets, folds, n_classes, task, may_lack_classes=lacking)
        check_choice(options, folds, len(positions))
        source = VectorSource(features, targets, task, head_type(options.name).minibatches)
    with kept or nullcontext(), one_thread() as cores:
        grid = tuple(options.configurations())
        job = Job(
            options,
            grid,
            tuple(seeds),
            task,
            n_outputs=n_classes,
            n_train=max(len(fold.train) + refit * len(fold.valid) for fold in folds),
            n_valid=max(len(fold.valid) for fold in folds),
            dim=features.shape[2],
            n_layers=features.shape[1],
            device=torch.device(device),
            cores=cores,
            memory=memory,
            note=None if note is None else _once(note),
        )
        absent = [absent_classes(targets[fold.train], n_classes, task) for fold in folds]
        run = JobRun(head_type(options.name), job, source, folds, absent)
        places = [Place(fold, layer) for fold in range(len(folds)) for layer in positions]
        if together is None:
            together = job.device.type == "cuda" or run.head.apart
        groups = (
            [places] if together else [[place for place in places if place.fold == fold] for fold in range(len(folds))]
        )
        losses = np.full((len(folds), len(grid), len(positions)), np.nan)
        best: dict[int, BlockFit] = {}
        by_layer = LayerScores(job, folds, names, run.head.predict, source.rows, absent)
        keep_layers &= options.reads == "layer" and len(positions) > 1
        for done, fitted in enumerate(run.fit(groups, kept), 1):
            fold, layer = fitted.place
            losses[fold, fitted.configuration, positions.index(layer)] = fitted.valid_loss.mean()
            if fold not in best or fitted.rank < best[fold].rank:
                best[fold] = fitted
            if keep_layers:
                by_layer.see(fitted)
            if on_candidate:
                on_candidate(done, len(places) * len(grid))
        titles = {place: "all" if place == ALL_LAYERS else names[place] for place in positions}
        score = partial(run.score, titles=titles, refit=refit, valid=keep_valid, scores=keep_scores)
        fits = [fit for at in range(len(folds)) for fit in score(best[at])]
        candidates = {
            (fold.fold, fold.draw): tuple(
                CandidateScore(point, titles[layer], float(losses[at, number, column]))
                for number, point in enumerate(grid)
                for column, layer in enumerate(positions)
            )
            for at, fold in enumerate(folds)
        }
    return HeadResult(tuple(fits), candidates, time.perf_counter() - started, by_layer.in_order())


def _once(note: Callable[[str], None]) -> Callable[[str], None]:
    """Return a function that passes each line on only once."""
    seen: set[str] = set()

    def pass_on(line: str) -> None:
        if line not in seen:
            seen.add(line)
            note(line)

    return pass_on


def layer_positions(options: HeadOptions, names: Sequence[int]) -> list[int]:
    """Return the cached layers that a head reads or chooses from, as positions in `names`.

    Raises:
        ConfigError: The options contain a layer that is not cached.
    """
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
