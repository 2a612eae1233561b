"""The table of predictions in long format, one row per clip, fold, seed and draw: `predictions.parquet`.

`probabilities` is a fixed-size list of float32 per row. Tables with more than `MOST_CELLS` probabilities are smaller.
In `single-label`, `classes` numbers the most probable classes and the true one, and `probabilities` are theirs.
Accuracy, F1 and log loss do not change. In `multi-label`, `probabilities` are float16.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.errors import RunError
from features.labels import Task
from heads.evaluation.predictions import Predictions
from heads.evaluation.top_probabilities import KEPT, TopProbabilities
from heads.splits.fold_names import fold_name

COLUMNS = (
    "run", "id", "fold", "seed", "target", "predicted", "probabilities", "model", "head", "pooling", "layer",
    "draw",
)  # fmt: skip
CLASSES = "classes"
"""The column of tables that do not have the probabilities of all classes."""
KEYS = ("run", "model", "head", "pooling", "layer", "fold", "seed", "draw")
MOST_CELLS = 2**25


def to_table(predictions: Iterable[Predictions], labels: Sequence[str], most_cells: int = MOST_CELLS) -> pa.Table:
    """Convert predictions to a table in long format, one row per clip, fold and seed.

    Args:
        predictions: Predictions of one task, of any number of models, folds and seeds.
        labels: Class names in the order of the probabilities' columns.
        most_cells: Largest number of probabilities that are kept in full.

    Returns:
        The columns of `COLUMNS`; `target` and `predicted` are names (in `multi-label` lists of names, in
        `regression` numbers), `fold` and `layer` are text. Large tables have the column `classes`, too.
    """
    given = [one for one in predictions if len(one.ids)]
    if not given:
        return pa.table({name: pa.array([], pa.string()) for name in COLUMNS})
    is_large = sum(len(one.ids) * one.probabilities.shape[1] for one in given) > most_cells
    return pa.concat_tables([_part(one, pa.array(labels, pa.string()), is_large) for one in given])


def from_table(table: pa.Table, labels: Sequence[str], task: Task = "single-label") -> list[Predictions]:
    """Convert a table in long format back to predictions.

    Args:
        table: From `to_table`, in any row order. Older tables without `draw` have draw 0; their probabilities are
            lists of any length.
        labels: Class names in the order of the probabilities; none in regression.
        task: The task, which determines the form of targets and probabilities.

    Returns:
        One `Predictions` per run, model, head, pooling, layer, fold, seed and draw, sorted by them.

    Raises:
        RunError: A column is missing, a label is not in `labels`, or the lists of probabilities have a wrong length.
    """
    missing = [column for column in COLUMNS if column not in table.column_names and column != "draw"]
    if missing:
        raise RunError(f"predictions have no column {missing[0]!r}; run train-heads again")
    if not len(table):
        return []
    probabilities = _probabilities(table, 1 if task == "regression" else len(labels))
    targets = _numbered(_whole(table["target"]), labels, task)
    ids = table["id"].to_numpy()
    return [
        Predictions(
            probabilities=probabilities[rows],
            targets=targets[rows],
            ids=ids[rows],
            fold=fold_name(fold),
            seed=int(seed),
            model=model,
            head=head,
            pooling=pooling,
            layer=layer,
            run=run,
            task=task,
            draw=int(draw),
        )
        for (run, model, head, pooling, layer, fold, seed, draw), rows in _parts(table)
    ]


def _part(one: Predictions, names: pa.Array, is_large: bool) -> pa.Table:
    """Convert the predictions of one model, fold, seed and draw."""
    n_clips, probabilities = len(one.ids), one.probabilities
    is_shortened = is_large and one.task == "single-label" and probabilities.shape[1] > KEPT + 1
    if is_shortened and isinstance(probabilities, np.ndarray):
        probabilities = TopProbabilities.of(probabilities, one.targets)
    dtype = np.float16 if is_large and one.task == "multi-label" else np.float32
    values = probabilities.values if isinstance(probabilities, TopProbabilities) else probabilities
    columns = {
        "run": pa.repeat(one.run, n_clips),
        "id": pa.array(one.ids, pa.string()),
        "fold": pa.repeat(str(one.fold), n_clips),
        "seed": pa.repeat(int(one.seed), n_clips),
        "target": _named(one.targets, names, one.task),
        "predicted": _named(one.predicted, names, one.task),
        "probabilities": _lists(values.astype(dtype)),
        "model": pa.repeat(one.model, n_clips),
        "head": pa.repeat(one.head, n_clips),
        "pooling": pa.repeat(one.pooling, n_clips),
        "layer": pa.repeat(one.layer, n_clips),
        "draw": pa.repeat(int(one.draw), n_clips),
    }
    if isinstance(probabilities, TopProbabilities):
        columns[CLASSES] = _lists(probabilities.classes)
    return pa.table(columns)


def _lists(values: np.ndarray) -> pa.Array:
    """Convert an array (N, K) to N lists of fixed size."""
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(values).reshape(-1)), values.shape[1])


def _whole(column: pa.ChunkedArray) -> pa.Array:
    """Return a column as one array, without a copy if it is one already."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _array(column: pa.ChunkedArray) -> np.ndarray:
    """Convert N lists of equal length K, of fixed size or not, to an array (N, K)."""
    lists = _whole(column)
    return lists.flatten().to_numpy(zero_copy_only=False).reshape(len(lists), -1)


def _probabilities(table: pa.Table, width: int) -> np.ndarray | TopProbabilities:
    """Return the probabilities of all rows, after checking that there is one per class.

    Raises:
        RunError: The lists have a wrong length, or classes are out of range.
    """
    lengths = set(pc.unique(pc.list_value_length(table["probabilities"])).to_pylist())
    if CLASSES in table.column_names:
        top = TopProbabilities(_array(table[CLASSES]), _array(table["probabilities"]).astype(np.float32), width)
        if top.classes.shape != top.values.shape or top.classes.min() < 0 or top.classes.max() >= width:
            raise RunError(f"predictions number classes beyond the {width} of labels.json; run train-heads again")
        return top
    if lengths != {width}:
        raise RunError(
            f"predictions hold {min(lengths - {width})} probabilities per clip, labels.json {width}; "
            "run train-heads again"
        )
    return _array(table["probabilities"]).astype(np.float32, copy=False)


def _parts(table: pa.Table) -> list[tuple[tuple, slice | np.ndarray]]:
    """Return the values of `KEYS` and the rows of every part, sorted by the values; rows in their order."""
    number, values = np.zeros(len(table), dtype=np.int64), []
    for name in KEYS:
        column = table[name] if name in table.column_names else pa.chunked_array([pa.repeat(0, len(table))])
        if name == "draw":
            column = pc.fill_null(column.cast(pa.float64()), 0).cast(pa.int64())
        coded = _whole(column).dictionary_encode()
        known = coded.dictionary.to_pylist()
        order = sorted(range(len(known)), key=known.__getitem__)
        values.append([known[at] for at in order])
        number = number * len(known) + np.argsort(order)[coded.indices.to_numpy()]
    rows = np.argsort(number, kind="stable")
    starts = np.flatnonzero(np.diff(number[rows], prepend=-1))
    found = []
    for own in np.split(rows, starts[1:]):
        key = np.unravel_index(number[own[0]], [len(known) for known in values])
        whole = own[-1] - own[0] == len(own) - 1  # consecutive rows need no copy
        part = slice(int(own[0]), int(own[-1]) + 1) if whole else own
        found.append((tuple(known[at] for known, at in zip(values, key, strict=True)), part))
    return found


def _named(values: np.ndarray, names: pa.Array, task: Task) -> pa.Array:
    """Convert targets or predictions to label names or numbers."""
    if task == "regression":
        return pa.array(values.astype(np.float64))
    if task == "single-label":
        return names.take(pa.array(values))
    row, column = np.nonzero(values > 0)
    offsets = np.searchsorted(row, np.arange(len(values) + 1)).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), names.take(pa.array(column)))


def _numbered(column: pa.Array, labels: Sequence[str], task: Task) -> np.ndarray:
    """Convert a `target` column to the targets of `Predictions`.

    Raises:
        RunError: A label is not in `labels`.
    """
    try:
        if task == "regression":
            return column.cast(pa.float64()).to_numpy(zero_copy_only=False)
        if task == "single-label":
            return _label_numbers(column, labels)
        held = np.zeros((len(column), len(labels)), dtype=np.int8)
        rows = np.repeat(np.arange(len(column)), pc.list_value_length(column).to_numpy(zero_copy_only=False))
        held[rows, _label_numbers(column.flatten(), labels)] = 1
        return held
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        unknown = error.args[0] if isinstance(error, KeyError) else str(error)
        raise RunError(f"predictions hold label {unknown!r}, which labels.json lacks; run train-heads again") from None


def _label_numbers(names: pa.Array, labels: Sequence[str]) -> np.ndarray:
    """Return the position in `labels` of each name."""
    numbers = {label: number for number, label in enumerate(labels)}
    coded = names if isinstance(names, pa.DictionaryArray) else names.dictionary_encode()
    known = np.array([numbers[name] for name in coded.dictionary.to_pylist()], dtype=np.int64)
    return known[coded.indices.to_numpy(zero_copy_only=False)]
