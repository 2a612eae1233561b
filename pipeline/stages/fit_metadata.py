"""Contents of `fit.json` of a head: source and cost of its embeddings, candidates and choices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import BaseModel

from features.store.fingerprint import DEVICE_RESAMPLER
from features.store.table import EmbeddingTable
from heads.training.results import HeadResult
from pipeline.results.table import layer_text, weights_text
from pipeline.stages.context import Stage2


def about_backbone(table: EmbeddingTable, params_trained: int) -> dict[str, Any]:
    """Return the part of `fit.json` about the frozen backbone: source and cost of the embeddings."""
    cost, parameters, weights = table.cost, table.cost["parameters"], weights_text(table.spec.weights)
    clips, audio_s, seconds = throughput_of(cost)
    return {
        "family": "handcrafted" if weights == "none" else "frozen",
        "weights": weights,
        "weights_sha256": table.spec.weights_sha256,
        "params_total": None if parameters is None else parameters + params_trained,
        "extract_clips_per_s": seconds and clips / seconds,
        "extract_realtime_factor": seconds and audio_s / seconds,
        "extract_load": cost.get("load"),
        "extract_device": cost["device"],
        "cache_bytes_per_clip": table.size_bytes / max(1, len(table)),
        "precision": table.cache_spec["precision"],
        "dtype": table.cache_spec["dtype"],
        "rounding_error": cost.get("rounding_error"),
        "cache_file": str(table.path),
        "fingerprint": table.fingerprint,
        "versions": table.versions,
    }


def throughput_of(cost: Mapping[str, Any]) -> tuple[float, float, float | None]:
    """Return clips, seconds of audio, and the seconds they took.

    The first batch of each run of stage 1 is left out, because it pays for starting libraries, unless there is only
    one batch, or the cache file is from an older version.
    """
    prefix = "steady_" if cost.get("steady_clips") and cost.get("steady_s") else ""
    return cost[f"{prefix}clips"], cost[f"{prefix}audio_s"], cost["steady_s" if prefix else "compute_s"] or None


def about_result(stage: Stage2, result: HeadResult) -> dict[str, Any]:
    """Return the part of `fit.json` about the training: protocol, choices and candidates."""
    return {
        "dataset": stage.manifest.name,
        "protocol": stage.splits.protocol + ("+refit" if stage.config.refit else ""),
        "n_folds": stage.splits.n_folds,
        "n_absent": stage.splits.n_absent,
        "n_seeds": len(stage.config.seeds),
        "layer": layer_text([fit.layer for fit in result.fits]),
        "params_trained": result.params_trained,
        "train_seconds": result.train_seconds,
        "train_device": stage.device,
        "chosen": [
            {
                "fold": fit.fold,
                "seed": fit.seed,
                "draw": fit.draw,
                "layer": fit.layer,
                **fit.configuration,
                "valid_loss": finite(fit.valid_loss),
                "epochs": fit.epochs,
            }
            for fit in result.fits
        ],
        "candidates": {
            f"{fold}" + (f" draw {draw}" if draw else ""): [
                {"layer": score.layer, **score.configuration, "valid_loss": finite(score.valid_loss)}
                for score in scores
            ]
            for (fold, draw), scores in result.candidates.items()
        },
        "warnings": list(stage.splits.warnings),
    }


def stage1_notes(table: EmbeddingTable, options: BaseModel) -> dict[str, Any]:
    """Return what is needed to embed new audio in the same way: the backbone's entry and stage 1's settings.

    Args:
        table: The embeddings a model was trained on.
        options: The entry of `features.backbones` that created them.
    """
    spec = table.cache_spec
    return {
        "backbone": options.model_dump(mode="json", exclude={"label"}),
        "precision": spec["precision"],
        "window_overlap_s": spec.get("window_overlap_s", 0.0),
        "resample": "device" if spec["audio"]["resampler"] == DEVICE_RESAMPLER else "cpu",
        "dtype": spec["dtype"],
        "frame_dtype": (spec["frames"] or {}).get("dtype", "float32"),
        "clip_s": float(np.median(table.durations_s)) if len(table) else None,
    }


def finite(value: float) -> float | None:
    """Return a number that JSON can represent: None for NaN and infinity."""
    return value if np.isfinite(value) else None
