"""One trained model of a run: its metadata, and its predictions when they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.results.prediction_files import count_rows, read_table
from pipeline.results.run_folder import PREDICTIONS_FILE, read_about

if TYPE_CHECKING:
    import pyarrow as pa

    from features.labels import Task
    from heads.evaluation.predictions import Predictions


@dataclass(frozen=True)
class Fit:
    """One trained model of a run. Its predictions are read when they are needed, since a run has many models.

    Attributes:
        folder: Its folder.
        about: Its metadata, see `fit.json`.
        computed: Its table of predictions, if it is not stored in the folder.
    """

    folder: Path
    about: dict[str, Any]
    computed: pa.Table | None = None

    @property
    def n_rows(self) -> int:
        """Number of predictions: clips × seeds × draws."""
        if self.computed is not None:
            return len(self.computed)
        return count_rows(self.folder / PREDICTIONS_FILE)

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Read the table of predictions, see `heads.evaluation.prediction_table`.

        Args:
            columns: The columns to read, without those that an older table lacks; None reads all.

        Raises:
            RunError: The file cannot be read.
        """
        if self.computed is None:
            return read_table(self.folder / PREDICTIONS_FILE, columns)
        return self.computed if columns is None else self.computed.select(list(columns))

    def predictions(self, labels: Sequence[str], task: Task) -> list[Predictions]:
        """Read the predictions: one per fold, seed and draw, with the classes that the model's thresholds decide.

        Raises:
            RunError: The table cannot be read, or does not fit the labels.
            WeightsError: The thresholds do not fit the labels.
        """
        from heads.evaluation.prediction_table import from_table
        from pipeline.results.decisions.fit_decisions import decided, read_decisions

        predictions = from_table(self.table(), labels, task)
        return decided(predictions, read_decisions(self.folder, len(labels))) if task == "multi-label" else predictions


def read_fit(folder: Path, what: str, command: str) -> Fit:
    """Read the metadata of a complete fit; its predictions are read later.

    Args:
        folder: From `fit_folder`.
        what: Name of the fit, for the message.
        command: Command that trains it, for the message.

    Raises:
        UserError: The fit is not complete.
    """
    return Fit(folder, read_about(folder, what, command))
