"""Score the windows of background with every trained head; nothing is trained again."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from features.errors import WeightsError
from features.store.table import EmbeddingTable
from heads.batched.frame_blocks import ClipLayers
from heads.batched.vectors import LayerRows, SelectedLayers, read_layers
from heads.kinds.registry import head_type, predict
from heads.options import HeadOptions
from heads.training.checkpoint import SavedHead, load_head
from heads.training.train import layer_positions
from pipeline.config.schema import BACKGROUND
from pipeline.results.decisions.background_scores import is_scored, read_scores, stored_digest, write_scores
from pipeline.results.decisions.fit_decisions import FitKey, ValidationBackground
from pipeline.results.expected_fits import head_folder, poolings_of
from pipeline.results.prediction_files import sources_digest
from pipeline.results.run_folder import fit_folder, weights_file, write_whole
from pipeline.stages.context import Stage2, head_job
from pipeline.stages.inputs import background_features
from pipeline.stages.stored_vectors import StoredVectors

WINDOWS_FILE = "background.csv"
WINDOWS = 4096  # scored at a time
FRAMES_WINDOWS = 64  # the same for heads that read frames


def score_background(stage: Stage2) -> None:
    """Write `background.csv`, and `background.parquet` of every head that has none of these windows yet.

    Raises:
        CacheError: Embeddings are damaged.
        RunError: A file cannot be written.
    """
    write_windows(stage)
    if stage.inputs.background is None:
        return
    for label, table in stage.inputs.tables.items():
        for head in stage.config.heads:
            if isinstance(head, HeadOptions):
                _score(stage, label, table, head)


def write_windows(stage: Stage2) -> None:
    """Write `background.csv`, if the experiment has background.

    Raises:
        RunError: The file cannot be written.
    """
    if stage.inputs.background is not None:
        windows = stage.inputs.background.table()
        write_whole(stage.config.run_dir / WINDOWS_FILE, partial(windows.to_csv, index=False))


def validation_background(stage: Stage2, folder: Path) -> ValidationBackground | None:
    """Return the scores of a model for the windows on which thresholds are chosen; None if it has none.

    Raises:
        RunError: The file of the scores cannot be read.
    """
    background, rows = stage.inputs.background, stage.inputs.silent
    if background is None:
        return None
    ids = background.manifest.clips["id"].iloc[rows].tolist()
    scores = read_scores(folder, ids, stage.targets.n_outputs)
    if scores is None:
        return None
    place = np.flatnonzero(background.parts[rows] == "valid")
    return ValidationBackground(
        {key: values[place] for key, values in scores.items()},
        background.recordings_of(rows[place]).total_hours,
        sources_digest([stored_digest(folder), place.tolist()]),
        stage.targets.names.index(BACKGROUND) if BACKGROUND in stage.manifest.added_labels else None,
    )


def _score(stage: Stage2, label: str, table: EmbeddingTable, head: HeadOptions) -> None:
    """Score all windows with the fits of one head."""
    background, rows = stage.inputs.background, stage.inputs.silent
    assert background is not None
    folder = fit_folder(stage.config.run_dir, label, head_folder(head))
    poolings = poolings_of(stage.config, head)
    ids = background.manifest.clips["id"].iloc[rows].tolist()
    keys = background.contents.take(rows).texts("key").to_pylist()
    digest = sources_digest([head_job(stage, table, head, poolings), table.fingerprint, ids, keys])
    if is_scored(folder, digest):
        return
    features = background_features(table, poolings, stage.inputs)
    scores: dict[FitKey, np.ndarray] = {}
    with stage.console.progress(f"background {label} {head.title}", None, ""):
        for split in stage.splits.splits:
            for seed in stage.config.seeds:
                try:
                    saved = load_head(weights_file(folder, split.fold, seed, split.draw))
                except WeightsError as error:
                    stage.console.note(f"{label} {head.title}: false alarms are not counted: {error}")
                    return
                scores[str(split.fold), seed, split.draw] = _outputs(saved, features, table, head)
    write_scores(folder, digest, ids, scores)


def _outputs(
    saved: SavedHead, features: StoredVectors | ClipLayers, table: EmbeddingTable, head: HeadOptions
) -> np.ndarray:
    """Return the probabilities of all windows by one fit, without calibration, (n, C) float32."""
    size = FRAMES_WINDOWS if isinstance(features, ClipLayers) else WINDOWS
    parts = [np.arange(start, min(start + size, len(features))) for start in range(0, len(features), size)]
    return np.concatenate(
        [predict(saved.head, saved.state, _inputs(saved, features, rows, table, head), saved.task) for rows in parts]
    )


def _inputs(
    saved: SavedHead,
    features: StoredVectors | ClipLayers,
    rows: np.ndarray,
    table: EmbeddingTable,
    head: HeadOptions,
) -> Any:
    """Return the input of a head for some windows, see `heads.batched.job.HeadType`."""
    if isinstance(features, ClipLayers):
        return features.of(rows, features.layers.index(int(saved.layer)))
    if head.reads == "layers":
        vectors = SelectedLayers(features, layer_positions(head, table.spec.layers))
        return LayerRows(vectors, rows) if head_type(head.name).minibatches else read_layers(vectors, rows)
    return features.read(rows, table.spec.layers.index(int(saved.layer)))
