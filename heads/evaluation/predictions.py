"""Predictions of a model for its test clips, by fold and seed, and their table in long format."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from features.errors import RunError
from features.labels import Task
from heads.splits.fold_names import fold_name

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "run", "id", "fold", "seed", "target", "predicted", "probabilities", "model", "head", "pooling", "layer",
    "draw",
)  # fmt: skip
THRESHOLD = 0.5  # a class of a multi-label clip is predicted from this probability on


@dataclass(frozen=True)
class Predictions:
    """Predictions of one model for one fold and seed.

    Attributes:
        probabilities: Probability of each class, shape (N, C) float32; classes in the order of `labels.json`.
            In `multi-label` they are independent. In `regression` the predicted values, (N, 1).
        targets: True class of each clip, shape (N,) int64; in `multi-label` 0 or 1, shape (N, C); in
            `regression` the true values, shape (N,) float64.
        ids: Ids of the clips, shape (N,).
        fold: The test fold.
        seed: Seed of the head.
        model: Name of the backbone or fine-tuned model in tables.
        head: Name of the head in tables; "" for a fine-tuned model.
        pooling: Poolings that the head reads, joined by "+"; "" if there are none.
        layer: The layer that the head reads, or `all`; "" if there is none.
        run: Name of the experiment.
        task: The task, which determines the form of targets and probabilities.
        draw: Draw of the split, if a protocol draws training rows repeatedly.
        decided: Classes of each clip by the thresholds of an operating point, shape (N, C) bool; None: `THRESHOLD`.
            Only in `multi-label`.
    """

    probabilities: np.ndarray
    targets: np.ndarray
    ids: np.ndarray
    fold: int | str
    seed: int
    model: str
    head: str = ""
    pooling: str = ""
    layer: str = ""
    run: str = ""
    task: Task = "single-label"
    draw: int = 0
    decided: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Check that the arrays match.

        Raises:
            ValueError: Their lengths differ, or the targets do not fit the task.
        """
        shape, width = np.shape(self.targets), self.probabilities.shape[-1]
        wanted = (len(self.ids), width) if self.task == "multi-label" else (len(self.ids),)
        if self.probabilities.ndim != 2 or len(self.probabilities) != len(self.ids) or shape != wanted:
            columns = "(N, C), (N, C)" if self.task == "multi-label" else "(N, C), (N,)"
            raise ValueError(
                f"probabilities {self.probabilities.shape}, targets {shape} and ids {np.shape(self.ids)} do not "
                f"match; they should be {columns} and (N,)"
            )
        if not len(self.targets):
            return
        low, high = self.targets.min(), self.targets.max()
        if self.task == "regression" and width != 1:
            raise ValueError(f"{width} values per clip; regression predicts one")
        if self.task == "multi-label" and not np.isin(self.targets, (0, 1)).all():
            raise ValueError(f"targets {low}…{high}; each class has 0 or 1")
        if self.task == "single-label" and not 0 <= low <= high < width:
            raise ValueError(f"targets {low}…{high} do not fit {width} classes")

    @property
    def predicted(self) -> np.ndarray:
        """The predicted class, classes or value of each clip.

        Returns:
            The most probable class (the first of equally probable ones), shape (N,) int64; in `multi-label` 1
            for the classes in `decided`, or else with a probability of at least `THRESHOLD`, and 0 for the others,
            shape (N, C) int64; in `regression` the value, shape (N,).
        """
        if self.task == "multi-label":
            decided = self.probabilities >= THRESHOLD if self.decided is None else self.decided
            return decided.astype(np.int64)
        return self.probabilities[:, 0] if self.task == "regression" else self.probabilities.argmax(axis=1)


def to_frame(predictions: Iterable[Predictions], labels: Sequence[str]) -> pd.DataFrame:
    """Convert predictions to a table in long format, one row per clip, fold and seed.

    Args:
        predictions: Predictions of any number of models, folds and seeds.
        labels: Class names in the order of the probabilities' columns.

    Returns:
        The columns of `COLUMNS`; `target` and `predicted` are names (in `multi-label` lists of names, in
        `regression` numbers), `fold` and `layer` are text, `probabilities` is a list of C float32.
    """
    import pandas as pd

    names = np.asarray(labels, dtype=object)
    parts = [
        pd.DataFrame(
            {
                "run": one.run,
                "id": np.asarray(one.ids, dtype=object),
                "fold": str(one.fold),
                "seed": one.seed,
                "target": _named(one.targets, names, one.task),
                "predicted": _named(one.predicted, names, one.task),
                "probabilities": list(one.probabilities.astype(np.float32)),
                "model": one.model,
                "head": one.head,
                "pooling": one.pooling,
                "layer": one.layer,
                "draw": one.draw,
            }
        )
        for one in predictions
        if len(one.ids)
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMNS))


def from_frame(frame: pd.DataFrame, labels: Sequence[str], task: Task = "single-label") -> list[Predictions]:
    """Convert a table in long format back to predictions.

    Args:
        frame: From `to_frame`, in any row order; a table of an older version without `draw` has draw 0.
        labels: Class names in the order of the probabilities; none in regression.
        task: The task, which determines the form of targets and probabilities.

    Returns:
        One `Predictions` per run, model, head, pooling, fold, seed and draw, sorted by them.

    Raises:
        RunError: A column is missing, a label is not in `labels`, or the lists of probabilities have a wrong length.
    """
    missing = [column for column in COLUMNS if column not in frame and column != "draw"]
    if missing:
        raise RunError(f"predictions have no column {missing[0]!r}; run train-heads again")
    width = 1 if task == "regression" else len(labels)
    widths = set(map(len, frame["probabilities"])) - {width}
    if widths:
        raise RunError(
            f"predictions hold {min(widths)} probabilities per clip, labels.json {width}; run train-heads again"
        )
    targets = _numbered(frame["target"], labels, task)
    draws = frame["draw"].fillna(0).astype(np.int64) if "draw" in frame else 0
    frame = frame.assign(draw=draws).reset_index(drop=True)
    keys = ["run", "model", "head", "pooling", "layer", "fold", "seed", "draw"]
    found = []
    for (run, model, head, pooling, layer, fold, seed, draw), part in frame.groupby(keys, sort=True):
        found.append(
            Predictions(
                probabilities=np.stack(part["probabilities"].to_list()).astype(np.float32),
                targets=targets[part.index.to_numpy()],
                ids=part["id"].to_numpy(dtype=object),
                fold=fold_name(fold),
                seed=int(str(seed)),
                model=str(model),
                head=str(head),
                pooling=str(pooling),
                layer=str(layer),
                run=str(run),
                task=task,
                draw=int(str(draw)),
            )
        )
    return found


def _named(values: np.ndarray, names: np.ndarray, task: Task) -> object:
    """Convert targets or predictions to label names or numbers."""
    if task == "regression":
        return values.astype(np.float64)
    return [list(names[row > 0]) for row in values] if task == "multi-label" else names[values]


def _numbered(column: pd.Series, labels: Sequence[str], task: Task) -> np.ndarray:
    """Convert a `target` column to the targets of `Predictions`."""
    numbers = {label: number for number, label in enumerate(labels)}
    try:
        if task == "regression":
            return column.to_numpy(dtype=np.float64)
        if task == "single-label":
            return np.array([numbers[label] for label in column], dtype=np.int64)
        held = np.zeros((len(column), len(labels)), dtype=np.int64)
        for row, names in enumerate(column):
            held[row, [numbers[name] for name in names]] = 1
        return held
    except (KeyError, TypeError, ValueError) as error:
        unknown = error.args[0] if isinstance(error, KeyError) else str(error)
        raise RunError(f"predictions hold label {unknown!r}, which labels.json lacks; run train-heads again") from None
