"""`layers.parquet` of a head: test predictions of the best candidate of each layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.labels import Task
from heads.evaluation.prediction_table import MOST_CELLS
from heads.evaluation.predictions import Predictions
from heads.evaluation.top_probabilities import TopProbabilities
from heads.splits.targets import Targets
from heads.training.per_layer import LayerFit

LAYERS_FILE = "layers.parquet"
FIT = ("fold", "seed", "draw")


def layers_table(fits: Sequence[LayerFit], ids: np.ndarray, targets: Targets) -> pa.Table:
    """Convert layer fits to a compact table in long format: one row per layer, clip, fold, seed and draw.

    Args:
        fits: Layer fits of one head.
        ids: Id of every manifest row.
        targets: Target of every manifest row.

    Returns:
        The columns `id`, `fold` (text), `seed`, `draw` and `layer`, sorted by layer. In `single-label` also `predicted`
        (a class name) and `probability` of the true class; in `regression` `predicted` (a value); in `multi-label`
        `probabilities` of all classes, float32, or float16 in tables with more than `MOST_CELLS` probabilities.
    """
    names = pa.array(targets.names, pa.string())
    cells = sum(fit.probabilities.size for fit in fits)
    parts = []
    for fit in sorted(fits, key=lambda fit: fit.layer):
        values, truth, n_clips = fit.probabilities, targets.values[fit.test_rows], len(fit.test_rows)
        if targets.task == "multi-label":
            flat = pa.array(values.reshape(-1).astype(np.float16 if cells > MOST_CELLS else np.float32))
            found = {"probabilities": pa.FixedSizeListArray.from_arrays(flat, values.shape[1])}
        elif targets.task == "regression":
            found = {"predicted": pa.array(values[:, 0])}
        else:
            predicted = pa.array(values.argmax(axis=1).astype(np.int32))
            probability = pa.array(values[np.arange(n_clips), truth])
            found = {"predicted": pa.DictionaryArray.from_arrays(predicted, names), "probability": probability}
        keys = {
            "id": pa.array(ids[fit.test_rows], pa.string()),
            "fold": pa.repeat(str(fit.fold), n_clips),
            "seed": pa.repeat(pa.scalar(fit.seed, pa.int64()), n_clips),
            "draw": pa.repeat(pa.scalar(fit.draw, pa.int16()), n_clips),
            "layer": pa.repeat(pa.scalar(fit.layer, pa.int16()), n_clips),
        }
        parts.append(pa.table(keys | found))
    return pa.concat_tables(parts)


def write_layers(folder: Path, table: pa.Table) -> None:
    """Write the table to the folder of a fit, before `fit.json`, which marks the fit as complete."""
    repetitive = [name for name in table.column_names if name != "probabilities"]
    with pq.ParquetWriter(folder / LAYERS_FILE, table.schema, use_dictionary=repetitive) as writer:
        for layer in pc.unique(table["layer"]).to_pylist():  # a row group each, so that layers are read one at a time
            writer.write_table(table.filter(pc.equal(table["layer"], layer)))


def layer_predictions(folder: Path, targets: Targets, ids: Sequence[str]) -> Iterator[tuple[int, list[Predictions]]]:
    """Yield the predictions of each layer, one per fold, seed and draw, from one layer in memory at a time.

    In `single-label`, the predicted class has probability 1, which is enough for accuracy but not for log loss.

    Args:
        folder: The folder of a fit. Nothing is yielded if its head does not choose between layers, or was written by
            an older version.
        targets: Target of every manifest row.
        ids: Id of every manifest row.
    """
    path = folder / LAYERS_FILE
    if not path.is_file():
        return
    row_of = {clip: row for row, clip in enumerate(ids)}
    for layer in sorted(pc.unique(pq.read_table(path, columns=["layer"])["layer"]).to_pylist()):
        table = pq.read_table(path, filters=[("layer", "=", layer)])
        yield layer, _predictions(table, str(layer), targets, row_of)


def _predictions(table: pa.Table, layer: str, targets: Targets, row_of: dict[str, int]) -> list[Predictions]:
    clips = table["id"].cast(pa.string()).to_numpy()
    truth = targets.values[[row_of[clip] for clip in clips]]
    probabilities = _probabilities(table, truth, targets.names, targets.task)
    fits = table.select(FIT).group_by(list(FIT)).aggregate([]).to_pylist()
    found = []
    for fit in sorted(fits, key=lambda fit: tuple(fit.values())):
        is_in = [pc.equal(table[name], fit[name]) for name in FIT]
        rows = np.flatnonzero(pc.and_(pc.and_(is_in[0], is_in[1]), is_in[2]).to_numpy())
        found.append(
            Predictions(
                probabilities=probabilities[rows],
                targets=truth[rows],
                ids=clips[rows],
                fold=fit["fold"],
                seed=int(fit["seed"]),
                model="",
                layer=layer,
                task=targets.task,
                draw=int(fit["draw"]),
            )
        )
    return found


def _probabilities(
    table: pa.Table, truth: np.ndarray, names: Sequence[str], task: Task
) -> np.ndarray | TopProbabilities:
    """Return the probabilities of all rows, as in `Predictions`."""
    if task == "multi-label":
        lists = table["probabilities"].combine_chunks()
        return lists.flatten().to_numpy(zero_copy_only=False).reshape(len(table), -1).astype(np.float32, copy=False)
    if task == "regression":
        return table["predicted"].to_numpy().astype(np.float32)[:, None]
    coded = table["predicted"].combine_chunks()
    coded = coded if isinstance(coded, pa.DictionaryArray) else coded.dictionary_encode()
    numbers = {name: number for number, name in enumerate(names)}
    known = np.array([numbers[name] for name in coded.dictionary.to_pylist()], dtype=np.int64)
    predicted = known[coded.indices.to_numpy()]
    classes = np.stack([predicted, truth], axis=1).astype(np.int32)
    values = np.stack([np.ones(len(truth)), predicted == truth], axis=1).astype(np.float32)
    return TopProbabilities(classes, values, len(names))
