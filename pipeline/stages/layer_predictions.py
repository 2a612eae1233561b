"""`layers.parquet` of a head: what the best candidate of each layer says of the test clips."""

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
    """Lay them out long, compactly: a row per layer, clip, fold, seed and draw.

    Args:
        fits: Of one head.
        ids: Of every manifest row.
        targets: Of every manifest row.

    Returns:
        `id`, `fold` (text), `seed`, `draw`, `layer`, `predicted` (a class name, or a value) and, of one class
        per clip, `probability` of the true one; of several, `probabilities` of all in place of both.
    """
    names = np.asarray(targets.names, dtype=object)
    parts = []
    for fit in fits:
        said, truth = fit.probabilities, targets.values[fit.test_rows]
        if targets.task == "multi-label":
            found: dict[str, object] = {"probabilities": list(said)}
        elif targets.task == "regression":
            found = {"predicted": said[:, 0]}
        else:
            found = {"predicted": names[said.argmax(axis=1)], "probability": said[np.arange(len(said)), truth]}
        keys = {"fold": str(fit.fold), "seed": fit.seed, "draw": fit.draw, "layer": fit.layer}
        parts.append(pd.DataFrame({"id": ids[fit.test_rows], **keys, **found}))
    table = pd.concat(parts, ignore_index=True)
    small: dict[str, str] = {"id": "category", "fold": "category", "seed": "int64", "draw": "int16", "layer": "int16"}
    if targets.task == "single-label":
        small["predicted"] = "category"
    return table.astype(small)


def write_layers(folder: Path, frame: pd.DataFrame) -> None:
    """Write them beside the fit, which is complete only once `fit.json` stands there."""
    frame.to_parquet(folder / LAYERS_FILE, index=False)


def read_layers(folder: Path) -> pd.DataFrame | None:
    """What `write_layers` wrote; None where the head reads no single layer, has one only, or is of an older version."""
    path = folder / LAYERS_FILE
    return pd.read_parquet(path) if path.is_file() else None


def layer_predictions(frame: pd.DataFrame, targets: Targets, ids: Sequence[str]) -> dict[int, list[Predictions]]:
    """Predictions of each layer, one per fold, seed and draw.

    Of one class per clip the kept class has probability 1: enough for accuracy, not for a log loss.

    Args:
        frame: Of `layers_frame`.
        targets: Of every manifest row.
        ids: Of every manifest row.

    Returns:
        By layer, ascending.
    """
    row_of = {clip: row for row, clip in enumerate(ids)}
    numbers = {name: number for number, name in enumerate(targets.names)}
    found: dict[int, list[Predictions]] = {}
    for key, part in frame.groupby(["layer", "fold", "seed", "draw"], observed=True):
        layer, fold, seed, draw = map(str, key)
        clips = part["id"].to_numpy(dtype=object)
        if targets.task == "multi-label":
            said = np.stack(part["probabilities"].to_list()).astype(np.float32)
        elif targets.task == "regression":
            said = part["predicted"].to_numpy(dtype=np.float32)[:, None]
        else:
            said = np.zeros((len(part), len(numbers)), dtype=np.float32)
            said[np.arange(len(part)), [numbers[name] for name in part["predicted"]]] = 1
        found.setdefault(int(layer), []).append(
            Predictions(
                probabilities=said,
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
