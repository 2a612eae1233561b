"""A trained head in one safetensors file that says what it is and predicts on its own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from features.errors import RunError, WeightsError
from features.labels import Task
from features.system.atomic_write import atomic_write
from heads.batched.inference import count_layers
from heads.kinds.registry import KINDS, predict
from heads.kinds.sklearn.skops_io import checked_state

FORMAT = "audioheads-head"
FORMAT_VERSION = 2


@dataclass(frozen=True)
class SavedHead:
    """A head and all that is needed to use it.

    Attributes:
        head: Its name among `heads.options.HEADS`.
        labels: Class names in the order of the probabilities.
        backbone: The backbone's spec, as JSON holds it.
        pooling: Names of the poolings that are concatenated, in order.
        layer: The backbone layer it reads, or `all`.
        configuration: The chosen point of its grid.
        state: Arrays by name, see the head's own module.
        task: What its outputs are.
        extra: Anything else worth keeping: fold, seed, dataset.
    """

    head: str
    labels: tuple[str, ...]
    backbone: Mapping[str, Any]
    pooling: tuple[str, ...]
    layer: int | str
    configuration: Mapping[str, Any]
    state: Mapping[str, np.ndarray]
    task: Task
    extra: Mapping[str, Any]

    def predict(self, features: Any) -> np.ndarray:
        """Probabilities (n, C), or values (n, 1), of raw features (n, D) of this head's layer and poolings."""
        return predict(self.head, self.state, features, self.task)


def save_head(
    path: Path,
    state: Mapping[str, np.ndarray],
    *,
    head: str,
    labels: tuple[str, ...] | list[str],
    backbone: Mapping[str, Any],
    pooling: tuple[str, ...] | list[str],
    layer: int | str,
    configuration: Mapping[str, Any],
    task: Task = "single-label",
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write a head; a half-written file never stands under its name. The arguments are `SavedHead`'s fields.

    Raises:
        RunError: The file cannot be written.
    """
    about = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "head": head,
        "labels": list(labels),
        "backbone": dict(backbone),
        "pooling": list(pooling),
        "layer": layer,
        "configuration": dict(configuration),
        "task": task,
        "extra": dict(extra or {}),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tensors = {name: np.ascontiguousarray(values) for name, values in state.items()}
        with atomic_write(path) as temporary:
            save_file(tensors, temporary, metadata={FORMAT: json.dumps(about, sort_keys=True)})
    except (OSError, SafetensorError) as error:
        raise RunError(f"cannot write {path}: {error}") from error


def load_head(path: Path, trusted: Sequence[str] = ()) -> SavedHead:
    """Read a head.

    Args:
        path: The file.
        trusted: Types that a head of `sklearn` may hold beside those of `heads.kinds.sklearn.skops_io.from_bytes`.

    Raises:
        WeightsError: The file is missing, damaged, no head of this program, or from another version of it;
            it holds a type that is not trusted.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            about = json.loads((file.metadata() or {}).get(FORMAT, "{}"))
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: not a readable head: {error}") from error
    if about.get("format") != FORMAT:
        raise WeightsError(f"{path}: a safetensors file, but not a head that `audioheads train-heads` wrote")
    if about["format_version"] != FORMAT_VERSION:
        raise WeightsError(
            f"{path}: head format {about['format_version']}, this program reads {FORMAT_VERSION}; train the head again"
        )
    if about["head"] not in KINDS:
        raise WeightsError(f"{path}: unknown head {about['head']!r}; this program knows {', '.join(KINDS)}")
    last = state.get(f"bias_{count_layers(state) - 1}")
    if last is not None and len(last) != max(1, len(about["labels"])):
        raise WeightsError(f"{path}: {len(about['labels'])} labels do not fit the head's output; train the head again")
    if "estimator" in state:
        try:
            state = checked_state(state, trusted)
        except WeightsError as error:
            raise WeightsError(f"{path}: {error}") from error
    return SavedHead(
        head=about["head"],
        labels=tuple(about["labels"]),
        backbone=about["backbone"],
        pooling=tuple(about["pooling"]),
        layer=about["layer"],
        configuration=about["configuration"],
        state=state,
        task=about["task"],
        extra=about["extra"],
    )
