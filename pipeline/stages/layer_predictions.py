"""`layers.parquet` of a head: test predictions of the best candidate of each layer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from heads.evaluation.predictions import Predictions
from heads.splits.targets import Targets
from heads.training.per_layer import LayerFit

LAYERS_FILE = "layers.parquet"


def layers_frame(fits: Sequence[LayerFit], ids: np.ndarray, targets: Targets) -> pd.DataFrame:
    """Convert layer fits to a compact table in long format: one row per layer, clip, fold, seed and draw.

    Args:
        fits: Layer fits of one head.
        ids: Id of every manifest row.
        targets: Target of every manifest row.

    Returns:
        The columns `id`, `fold` (text), `seed`, `draw` and `layer`. In `single-label` also `predicted` (a class
        name) and `probability` of the true class; in `regression` `predicted` (a value); in `multi-label`
        `probabilities` of all classes.
    """
    names = np.asarray(targets.names, dtype=object)
    parts = []
    for fit in fits:
        values, truth = fit.probabilities, targets.values[fit.test_rows]
        if targets.task == "multi-label":
            found: dict[str, object] = {"probabilities": list(values)}
        elif targets.task == "regression":
            found = {"predicted": values[:, 0]}
        else:
            found = {"predicted": names[values.argmax(axis=1)], "probability": values[np.arange(len(values)), truth]}
        keys = {"fold": str(fit.fold), "seed": fit.seed, "draw": fit.draw, "layer": fit.layer}
        parts.append(pd.DataFrame({"id": ids[fit.test_rows], **keys, **found}))
    table = pd.concat(parts, ignore_index=True)
    small: dict[str, str] = {"id": "category", "fold": "category", "seed": "int64", "draw": "int16", "layer": "int16"}
    if targets.task == "single-label":
        small["predicted"] = "category"
    return table.astype(small)


def write_layers(folder: Path, frame: pd.DataFrame) -> None:
    """Write the table to the folder of a fit, before `fit.json`, which marks the fit as complete."""
    frame.to_parquet(folder / LAYERS_FILE, index=False)


def read_layers(folder: Path) -> pd.DataFrame | None:
    """Read the table; None if the head does not choose between layers, or was written by an older version."""
    path = folder / LAYERS_FILE
    return pd.read_parquet(path) if path.is_file() else None


def layer_predictions(frame: pd.DataFrame, targets: Targets, ids: Sequence[str]) -> dict[int, list[Predictions]]:
    """Convert the table back to predictions, one per layer, fold, seed and draw.

    In `single-label`, the predicted class has probability 1, which is enough for accuracy but not for log loss.

    Args:
        frame: From `layers_frame`.
        targets: Target of every manifest row.
        ids: Id of every manifest row.

    Returns:
        Predictions by layer, ascending.
    """
    row_of = {clip: row for row, clip in enumerate(ids)}
    numbers = {name: number for number, name in enumerate(targets.names)}
    found: dict[int, list[Predictions]] = {}
    for key, part in frame.groupby(["layer", "fold", "seed", "draw"], observed=True):
        layer, fold, seed, draw = map(str, key)
        clips = part["id"].to_numpy(dtype=object)
        if targets.task == "multi-label":
            probabilities = np.stack(part["probabilities"].to_list()).astype(np.float32)
        elif targets.task == "regression":
            probabilities = part["predicted"].to_numpy(dtype=np.float32)[:, None]
        else:
            probabilities = np.zeros((len(part), len(numbers)), dtype=np.float32)
            probabilities[np.arange(len(part)), [numbers[name] for name in part["predicted"]]] = 1
        found.setdefault(int(layer), []).append(
            Predictions(
                probabilities=probabilities,
                targets=targets.values[[row_of[clip] for clip in clips]],
                ids=clips,
                fold=fold,
                seed=int(seed),
                model="",
                layer=layer,
                task=targets.task,
                draw=int(draw),
            )
        )
    return found
