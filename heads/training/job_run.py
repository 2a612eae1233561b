"""What the training of one head does with its blocks: train candidates, score the chosen ones, train them again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from features.errors import RunError
from features.labels import Task
from heads.batched.blocks import ALL_LAYERS, Block, BlockFit, Place, standardize
from heads.batched.frame_blocks import FrameSource
from heads.batched.job import HeadType, Job
from heads.batched.vector_blocks import VectorBlock, vector_block
from heads.batched.vectors import LayerRows, Vectors, read_layers
from heads.evaluation.absent import never
from heads.options import HeadOptions, SteppedOptions
from heads.splits.protocol import Split
from heads.training.kept_blocks import KeptBlocks
from heads.training.results import HeadFit


@dataclass(frozen=True)
class VectorSource:
    """Blocks of pooled features; the counterpart of `FrameSource`."""

    features: Vectors
    targets: np.ndarray
    task: Task
    minibatches: bool

    def block(self, split: Split, layer: int, device: torch.device) -> Block | VectorBlock:
        """Return one split's training and validation rows."""
        build = vector_block if self.minibatches else standardize
        return build(self.features, self.targets, split, layer, device, self.task)

    def rows(self, rows: np.ndarray, layer: int) -> np.ndarray | LayerRows:
        """Return raw features to predict from."""
        if layer != ALL_LAYERS:
            return self.features.read(rows, layer)
        return LayerRows(self.features, rows) if self.minibatches else read_layers(self.features, rows)


@dataclass(frozen=True)
class JobRun:
    """The training of one head on the clips of an experiment."""

    head: HeadType
    job: Job
    source: FrameSource | VectorSource
    folds: Sequence[Split]
    absent: Sequence[np.ndarray]

    def fit(self, groups: Iterable[Sequence[Place]], kept: KeptBlocks | None) -> Iterator[BlockFit]:
        """Yield every candidate of groups of blocks that are trained together, without training the kept ones."""
        load = partial(self._load, self.folds)
        if kept is None:
            for group in groups:
                yield from self.head.fit(group, load, self.job)
            return
        finished = set()
        for fitted in kept.read(load):
            finished.add(fitted.place)
            yield fitted
        for group in groups:
            if places := [place for place in group if place not in finished]:
                for fitted in self.head.fit(places, load, self.job):
                    kept.see(fitted, len(self.job.grid))
                    yield fitted

    def score(
        self, chosen: BlockFit, titles: dict[int, int | str], *, refit: bool, valid: bool, scores: bool
    ) -> Iterator[HeadFit]:
        """Score a split's test rows with the chosen candidate's fit of each seed."""
        options, job, split = self.job.options, self.job, self.folds[chosen.place.fold]
        if len(split.valid) and not np.isfinite(chosen.valid_loss).all():
            raise RunError(
                f"{options.title}: fold {split.fold!r}: every configuration diverged (validation loss not finite)"
                + _way_out(options)
            )
        fitted = self._refit(chosen) if refit and len(split.valid) else chosen
        scored = self._predict(fitted, split.test, chosen.place)
        validated = self._predict(chosen, split.valid, chosen.place) if valid and len(split.valid) else None
        raw = self._scores(fitted, split.test, chosen.place) if scores and self.head.graph is not None else None
        for at, seed in enumerate(job.seeds):
            fit = min(at, len(scored) - 1)  # a deterministic head has one fit
            if not np.isfinite(scored[fit]).all():
                raise RunError(f"{options.title}: fold {split.fold!r} diverged{_way_out(options)}")
            yield HeadFit(
                fold=split.fold,
                seed=int(seed),
                draw=split.draw,
                test_rows=split.test,
                probabilities=scored[fit],
                valid_rows=split.valid,
                valid_probabilities=None if validated is None else validated[fit],
                configuration=job.grid[chosen.configuration],
                layer=titles[chosen.place.layer],
                valid_loss=float(chosen.valid_loss[fit]),
                epochs=int(fitted.epochs[fit]),
                params_trained=fitted.params_trained,
                state=fitted.states[fit],
                scores=None if raw is None else raw[fit],
            )

    def _predict(self, fitted: BlockFit, rows: np.ndarray, place: Place) -> list[np.ndarray]:
        """Return the predictions of each state for some rows, (n, C) or (n, 1)."""
        features, absent, task = self.source.rows(rows, place.layer), self.absent[place.fold], self.job.task
        return [never(self.head.predict(state, features, task), absent, task) for state in fitted.states]

    def _scores(self, fitted: BlockFit, rows: np.ndarray, place: Place) -> list[np.ndarray]:
        """Return the scores of each state for some rows before softmax or sigmoid, (n, C)."""
        features = self.source.rows(rows, place.layer)
        return [self.head.scores(state, features) for state in fitted.states]

    def _refit(self, chosen: BlockFit) -> BlockFit:
        """Train the chosen candidate on training and validation rows, for as many epochs as its best state had."""
        split = self.folds[chosen.place.fold]
        joined = replace(split, train=np.union1d(split.train, split.valid), valid=split.valid[:0])
        epochs = tuple(int(chosen.epochs[min(at, len(chosen.epochs) - 1)]) for at in range(len(self.job.seeds)))
        job = replace(self.job, grid=(self.job.grid[chosen.configuration],), epochs=epochs)
        place = Place(0, chosen.place.layer)
        return next(iter(self.head.fit([place], partial(self._load, [joined]), job)))

    def _load(self, folds: Sequence[Split], place: Place) -> Any:
        return self.source.block(folds[place.fold], place.layer, self.job.device)


def _way_out(options: HeadOptions) -> str:
    return "; use a smaller learning_rate" if isinstance(options, SteppedOptions) else ""
