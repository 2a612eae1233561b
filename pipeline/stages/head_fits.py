"""Train one head on one backbone's features, for a run or a label-efficiency curve."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from features.store.table import EmbeddingTable
from heads.batched.frame_blocks import ClipLayers
from heads.batched.vectors import Vectors
from heads.evaluation.predictions import Predictions
from heads.options import HeadOptions
from heads.splits.protocol import Splits
from heads.training.kept_blocks import KeptBlocks
from heads.training.results import HeadFit, HeadResult
from heads.training.train import train_head
from pipeline.stages.background.joining import joined_ids, joined_splits, joined_targets
from pipeline.stages.context import Stage2
from pipeline.stages.inputs import features_of

ReadFeatures = Callable[[str, tuple[str, ...]], Vectors | ClipLayers]
"""Returns the features of a backbone, given by its label, with some poolings."""


def feature_reader(stage: Stage2) -> ReadFeatures:
    """Return a function that opens features. The last ones are kept: fits of one backbone follow each other."""

    @lru_cache(1)
    def read(label: str, poolings: tuple[str, ...]) -> Vectors | ClipLayers:
        return features_of(stage.inputs.tables[label], poolings, stage.manifest, stage.inputs)

    return read


def fit_head(
    stage: Stage2,
    label: str,
    table: EmbeddingTable,
    head: HeadOptions,
    features: Vectors | ClipLayers,
    splits: Splits,
    *,
    keep_layers: bool = False,
    keep_valid: bool = False,
    keep_scores: bool = False,
    kept: KeptBlocks | None = None,
) -> HeadResult:
    """Train one head on one backbone's features, with a progress bar. Added windows of background join the splits."""
    with stage.console.progress(f"{label} {head.title}", None, unit="candidates") as work:

        def on_candidate(done: int, total: int) -> None:
            work.bar.update(work.task, total=total)
            work.advance(done - work.done)

        return train_head(
            head,
            features,
            joined_targets(stage.targets, stage.inputs),
            joined_splits(splits, len(stage.manifest), stage.inputs),
            stage.config.seeds,
            n_classes=stage.targets.n_outputs,
            task=stage.targets.task,
            device=stage.device,
            layer_names=features.layers if isinstance(features, ClipLayers) else table.spec.layers,
            refit=stage.config.refit,
            keep_layers=keep_layers,
            keep_valid=keep_valid,
            keep_scores=keep_scores,
            memory=int(stage.config.heads_memory_gib * 2**30),
            kept=kept,
            on_candidate=on_candidate,
            note=lambda line: stage.console.note(f"{label} {head.title}: {line}"),
        )


def predictions_of(
    stage: Stage2, label: str, head: HeadOptions, poolings: Sequence[str], result: HeadResult
) -> list[Predictions]:
    """Return the predictions of the chosen fits for their test clips."""
    pairs = [(fit, fit.test_rows, fit.probabilities) for fit in result.fits]
    return _predictions(stage, label, head, poolings, pairs)


def validation_of(
    stage: Stage2, label: str, head: HeadOptions, poolings: Sequence[str], result: HeadResult
) -> list[Predictions]:
    """Return the predictions of the chosen fits for their validation clips, of the fits that kept them."""
    pairs = [
        (fit, fit.valid_rows, fit.valid_probabilities) for fit in result.fits if fit.valid_probabilities is not None
    ]
    return _predictions(stage, label, head, poolings, pairs)


def _predictions(
    stage: Stage2,
    label: str,
    head: HeadOptions,
    poolings: Sequence[str],
    scored: Sequence[tuple[HeadFit, np.ndarray, np.ndarray]],
) -> list[Predictions]:
    """Return the predictions of some fits, each given with the manifest rows and their probabilities."""
    ids = joined_ids(stage.manifest.clips["id"].to_numpy(dtype=object), stage.inputs)
    targets = joined_targets(stage.targets, stage.inputs)
    return [
        Predictions(
            probabilities=probabilities,
            targets=targets[rows],
            ids=ids[rows],
            fold=fit.fold,
            seed=fit.seed,
            model=label,
            head=head.title,
            pooling="+".join(poolings),
            layer=str(fit.layer),
            run=stage.config.name,
            task=stage.targets.task,
            draw=fit.draw,
        )
        for fit, rows, probabilities in scored
    ]
