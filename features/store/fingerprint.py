"""The cache spec and its fingerprint: every setting that changes a stored value, and nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from features.spec import BackboneSpec

SCHEMA = 1
# For `resample: device`. Long clips are streamed and still resampled by soxr.
DEVICE_RESAMPLER = "torchaudio kaiser 64, soxr HQ in windows"
# Recorded in the file's spec, but not part of its identity.
NOT_IDENTITY = {("backbone", "name"), ("backbone", "weights"), ("backbone", "settings", "normalize_assumed")}


def cache_spec(
    backbone: BackboneSpec,
    pooling: Sequence[str],
    precision: str = "fp32",
    frame_layers: Sequence[int] | None = None,
    frame_dtype: str = "float32",
    window_overlap_s: float = 0.0,
    resample: str = "cpu",
    dtype: str = "float32",
) -> dict[str, Any]:
    """Return everything that determines the values of a cache file, as JSON values.

    Args:
        backbone: The spec of the backbone.
        pooling: Any of `POOLINGS`, and `frames`.
        precision: The resolved precision: `fp32`, `bf16` or `fp16`.
        frame_layers: Layers whose frames are stored; None for all.
        frame_dtype: Type of stored frames, `float32` or `float16`.
        window_overlap_s: Overlap of the windows of long clips, in seconds.
        resample: Where audio is resampled, `cpu` or `device`.
        dtype: Type of stored vectors, `float32` or `float16`.
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
        "backbone": backbone.stored(),
        "audio": AUDIO_SPEC if resample == "cpu" else {**AUDIO_SPEC, "resampler": DEVICE_RESAMPLER},
        "pooling": methods,
        "frames": frames,
        "dtype": dtype if methods else "float32",
        "precision": precision,
    }
    if window_overlap_s:
        spec["window_overlap_s"] = window_overlap_s
    return json.loads(json.dumps(spec))


def fingerprint(spec: dict[str, Any]) -> str:
    """Return the SHA-256 (hex) of a cache spec's identity."""
    return hashlib.sha256(canonical_json(flatten(spec)).encode()).hexdigest()


def flatten(spec: dict[str, Any], prefix: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the spec's identity as `dotted.key: value`; two specs differ exactly where these differ."""
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
    """Return the backbone's spec contained in a cache spec."""
    stored = spec["backbone"]
    return BackboneSpec(**{**stored, "layers": tuple(stored["layers"])})


def cache_path(cache: Path, dataset: str, spec: dict[str, Any], title: str | None = None) -> Path:
    """Return the path of a dataset's cache file: `cache/<dataset>/<title>-<fingerprint12>.h5`.

    The fingerprint identifies the file. If there is no file of this title, a finished or started file with the same
    fingerprint and another title is used: entries can be labelled differently in different configs.

    Args:
        cache: The cache folder.
        dataset: The dataset's name.
        spec: From `cache_spec`.
        title: Title of the backbone's entry; None: its name.
    """
    suffix = f"-{fingerprint(spec)[:12]}"
    folder = cache / dataset
    name = spec["backbone"]["name"]
    own = folder / f"{title or name}{suffix}.h5"
    marks = (f"{suffix}.h5", f"{suffix}.parts", f"{suffix}.h5.lock", f"{suffix}.drift.json")
    try:
        there = [item.name for item in folder.iterdir() if item.name.endswith(marks) and not item.name.startswith(".")]
    except OSError:
        return own
    titles = sorted({item[: item.rindex(suffix)] for item in there}, key=lambda one: (one != name, one))
    return folder / f"{titles[0]}{suffix}.h5" if titles and (title or name) not in titles else own


def canonical_json(value: Any) -> str:
    """Return a value as JSON in canonical form: sorted keys, no spaces, UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
