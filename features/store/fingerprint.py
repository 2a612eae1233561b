"""Which settings make which cache file: everything that changes a value, and nothing else."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from features.spec import BackboneSpec

SCHEMA = 1
# Of `resample: device`: long clips are streamed, and resampled by soxr all the same.
DEVICE_RESAMPLER = "torchaudio kaiser 64, soxr HQ in windows"
# Recorded in the file's spec, but no part of its identity.
NOT_IDENTITY = {("backbone", "name"), ("backbone", "weights"), ("backbone", "settings", "normalize_assumed")}


def cache_spec(
    backbone: BackboneSpec,
    pooling: Sequence[str],
    precision: str = "fp32",
    frame_layers: Sequence[int] | None = None,
    frame_dtype: str = "float32",
    window_overlap_s: float = 0.0,
    resample: str = "cpu",
) -> dict[str, Any]:
    """All that decides the values of a cache file, as JSON values.

    Args:
        backbone: What computes the frames.
        pooling: Any of `POOLINGS`, and `frames`.
        precision: Resolved: `fp32`, `bf16` or `fp16`.
        frame_layers: Layers whose frames are stored; None: all.
        frame_dtype: `float32` or `float16`, of stored frames.
        window_overlap_s: Of the windows of long clips.
        resample: Where: `cpu` or `device`.
    """
    from features.audio.decoding import AUDIO_SPEC
    from features.pooling import POOLINGS

    methods = [method for method in POOLINGS if method in pooling]
    frames = None
    if "frames" in pooling:
        layers = backbone.layers if frame_layers is None else frame_layers
        frames = {"layers": list(layers), "dtype": frame_dtype}
    spec: dict[str, Any] = {
        "schema": SCHEMA,
        "backbone": dataclasses.asdict(backbone),
        "audio": AUDIO_SPEC if resample == "cpu" else {**AUDIO_SPEC, "resampler": DEVICE_RESAMPLER},
        "pooling": methods,
        "frames": frames,
        "dtype": "float32",
        "precision": precision,
    }
    if window_overlap_s:
        spec["window_overlap_s"] = window_overlap_s
    return json.loads(json.dumps(spec))


def fingerprint(spec: dict[str, Any]) -> str:
    """SHA-256 hex of a cache spec's identity."""
    return hashlib.sha256(canonical_json(flatten(spec)).encode()).hexdigest()


def flatten(spec: dict[str, Any], prefix: tuple[str, ...] = ()) -> dict[str, Any]:
    """The spec's identity as `dotted.key: value`; two specs differ exactly where these do."""
    flat: dict[str, Any] = {}
    for key, value in spec.items():
        path = (*prefix, key)
        if path in NOT_IDENTITY:
            continue
        if isinstance(value, dict):
            flat |= flatten(value, path)
        else:
            flat[".".join(path)] = value
    return flat


def backbone_of(spec: dict[str, Any]) -> BackboneSpec:
    """The backbone's spec back from a cache spec."""
    stored = spec["backbone"]
    return BackboneSpec(**{**stored, "layers": tuple(stored["layers"])})


def cache_path(cache: Path, dataset: str, spec: dict[str, Any]) -> Path:
    """Where the cache file of a dataset and spec lies: `cache/<dataset>/<backbone>-<fingerprint12>.h5`."""
    return cache / dataset / f"{spec['backbone']['name']}-{fingerprint(spec)[:12]}.h5"


def canonical_json(value: Any) -> str:
    """The one JSON text of a value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
