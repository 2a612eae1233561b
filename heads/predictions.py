"""What a model said about its test clips, one fold and seed at a time, and the long table that keeps it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.errors import RunError
from heads.fold_names import fold_name

COLUMNS = (
    "run", "id", "fold", "seed", "target", "predicted", "probabilities", "model", "head", "pooling", "layer",
)  # fmt: skip


@dataclass(frozen=True)
class Predictions:
    """One fold and seed of one model.

    Attributes:
        probabilities: Of each class, shape (N, C) float32; classes in the order of `labels.json`.
        targets: True class of each clip, shape (N,) int64.
        ids: Of the clips, shape (N,).
        fold: The test fold.
        seed: Of the head.
        model: The backbone's (or fine-tuned model's) name in tables.
        head: The head's name in tables; "" for a fine-tuned model.
        pooling: Poolings the head saw, joined by "+"; "" where there are none.
        layer: The layer the head saw, or `all`; "" where there is none.
        run: The experiment's name.
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

    def __post_init__(self) -> None:
        """Check that the arrays go together.

        Raises:
            ValueError: Their lengths differ, or a target is no class.
        """
        if self.probabilities.ndim != 2 or not len(self.probabilities) == len(self.targets) == len(self.ids):
            raise ValueError(
                f"probabilities {self.probabilities.shape}, targets {np.shape(self.targets)} and ids "
                f"{np.shape(self.ids)} do not go together; (N, C), (N,) and (N,) do"
            )
        if len(self.targets) and not 0 <= self.targets.min() <= self.targets.max() < self.probabilities.shape[1]:
            raise ValueError(
                f"targets {self.targets.min()}…{self.targets.max()} do not fit {self.probabilities.shape[1]} classes"
            )

    @property
    def predicted(self) -> np.ndarray:
        """The most probable class of each clip, shape (N,) int64; the first of equals."""
        return self.probabilities.argmax(axis=1)


def to_frame(predictions: Iterable[Predictions], labels: Sequence[str]) -> pd.DataFrame:
    """Lay predictions out long, one row per clip, fold and seed.

    Args:
        predictions: Any number of models, folds and seeds.
        labels: Class names in the order of the probabilities' columns.

    Returns:
        The columns of `COLUMNS`; `target` and `predicted` are names, `fold` and `layer` are text,
        `probabilities` is a list of C float32.
    """
    names = np.asarray(labels, dtype=object)
    parts = [
        pd.DataFrame(
            {
                "run": one.run,
                "id": np.asarray(one.ids, dtype=object),
                "fold": str(one.fold),
                "seed": one.seed,
                "target": names[one.targets],
                "predicted": names[one.predicted],
                "probabilities": list(one.probabilities.astype(np.float32)),
                "model": one.model,
                "head": one.head,
                "pooling": one.pooling,
                "layer": one.layer,
            }
        )
        for one in predictions
        if len(one.ids)
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMNS))


def from_frame(frame: pd.DataFrame, labels: Sequence[str]) -> list[Predictions]:
    """Read predictions back from their long layout.

    Args:
        frame: Of `to_frame`, in any row order.
        labels: Class names in the order of the probabilities.

    Returns:
        One `Predictions` per run, model, head, pooling, fold and seed, sorted by them.

    Raises:
        RunError: A missing column, a label that is not among `labels`, or lists of another length.
    """
    missing = [column for column in COLUMNS if column not in frame]
    if missing:
        raise RunError(f"predictions have no column {missing[0]!r}; run train-heads again")
    numbers = {label: number for number, label in enumerate(labels)}
    unknown = set(frame["target"]) - set(numbers)
    if unknown:
        raise RunError(f"predictions hold label {min(unknown)!r}, which labels.json lacks; run train-heads again")
    widths = set(map(len, frame["probabilities"])) - {len(labels)}
    if widths:
        raise RunError(
            f"predictions hold {min(widths)} probabilities per clip, labels.json {len(labels)}; run train-heads again"
        )
    keys = ["run", "model", "head", "pooling", "layer", "fold", "seed"]
    found = []
    for (run, model, head, pooling, layer, fold, seed), part in frame.groupby(keys, sort=True):
        found.append(
            Predictions(
                probabilities=np.stack(part["probabilities"].to_list()).astype(np.float32),
                targets=part["target"].map(numbers).to_numpy(dtype=np.int64),
                ids=part["id"].to_numpy(dtype=object),
                fold=fold_name(fold),
                seed=int(str(seed)),
                model=str(model),
                head=str(head),
                pooling=str(pooling),
                layer=str(layer),
                run=str(run),
            )
        )
    return found
