"""The 8-bit graph of an ONNX export, and what accuracy it loses on the test clips of its fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from features.audio.decoding import read_waveform
from features.datasets import tabular
from features.errors import UserError
from features.manifest import Manifest
from heads.evaluation.paired import PairedDifference, paired_difference
from heads.evaluation.prediction_table import to_table
from heads.evaluation.predictions import Predictions
from heads.evaluation.scores import ranking_score
from heads.evaluation.top_probabilities import TopProbabilities
from heads.splits.groups import clip_groups
from pipeline.exporting.int8_graph import quantise
from pipeline.predicting.predictor import Predictor
from pipeline.results.fit import read_fit
from pipeline.results.prediction_files import write_tables
from pipeline.results.table import counted

INT8_FILE = "model-int8.onnx"
INT8_PREDICTIONS = "int8_predictions.parquet"
FLOAT32, INT8 = "float32", "int8"

Scores = Callable[[np.ndarray, str], np.ndarray]
"""Maps the samples (T,) of a clip and the name of a graph to outputs (C,); `scores` of an exported example."""


@dataclass(frozen=True)
class QuantisedGraph:
    """The 8-bit graph.

    Attributes:
        float32_file: Name of the float32 graph.
        size_bytes: Size of the 8-bit graph.
        float32_bytes: Size of the float32 graph.
        metric: `accuracy`, `mAP` or `CCC`.
        loss: Its scores and their difference.
        fold: Test fold of the fit.
        seed: Seed of the fit.
        n_test: Number of test clips that were scored.
        n_left_out: Number of test clips that are too long for the graphs.
        n_groups: Number of groups of the test clips.
    """

    float32_file: str
    size_bytes: int
    float32_bytes: int
    metric: str
    loss: PairedDifference
    fold: str
    seed: int
    n_test: int
    n_left_out: int
    n_groups: int

    def about(self) -> dict[str, Any]:
        """Return the key `int8` of `config.json`."""
        found = asdict(self)
        loss = found.pop("loss")
        return {
            "file": INT8_FILE,
            **found,
            "float32": loss["original"],
            "int8": loss["changed"],
            "difference": self.loss.difference,
            "difference_ci_low": loss["low"],
            "difference_ci_high": loss["high"],
            "p_value": loss["p_value"],
            "predictions": INT8_PREDICTIONS,
        }

    def __str__(self) -> str:
        """Describe size and loss in two sentences."""
        loss, left_out = self.loss, ""
        if self.n_left_out:
            left_out = f" ({counted(self.n_left_out, 'longer clip')} left out)"
        return (
            f"`{INT8_FILE}` has {self.size_bytes / 1e6:.1f} MB, `{self.float32_file}` has "
            f"{self.float32_bytes / 1e6:.1f} MB. "
            f"On the {counted(self.n_test, 'test clip')} of fold {self.fold}{left_out}, the {self.metric} is "
            f"{loss.changed:.3f} in int8 and {loss.original:.3f} in float32: a difference of {loss.difference:+.3f}, "
            f"95 % interval {loss.low:+.3f} to {loss.high:+.3f} (paired, {counted(self.n_groups, 'group')})."
        )


def write_int8(
    predictor: Predictor,
    folder: Path,
    float32_file: str,
    scores: Scores,
    longest: int | None,
    note: Callable[[str], None],
) -> QuantisedGraph:
    """Write the 8-bit graph, score both graphs on the test clips of the fit, and keep the predictions.

    Args:
        predictor: The model: one fit of a run.
        folder: The export, with the float32 graph.
        float32_file: Its name.
        scores: Runs a graph.
        longest: Largest number of samples of a clip; None: any.
        note: Callback for a message before the scoring.

    Raises:
        UserError: The run does not have the test clips of the fit.
        AudioError: A test clip cannot be read.
    """
    quantise(folder / float32_file, folder / INT8_FILE)
    tested, manifest = _tested(predictor)
    rows = pd.Index(manifest.clips["id"]).get_indexer(pd.Index(tested.ids))
    note(f"export: int8: both graphs score {counted(len(rows), 'test clip')} of fold {tested.fold}")
    kept: list[int] = []
    outputs: dict[str, list[np.ndarray]] = {FLOAT32: [], INT8: []}
    for at, samples in enumerate(_waveforms(manifest, rows, predictor.spec.sample_rate)):
        if longest is None or len(samples) <= longest:
            kept.append(at)
            outputs[FLOAT32].append(scores(samples, float32_file))
            outputs[INT8].append(scores(samples, INT8_FILE))
    if not kept:
        raise UserError(f"--int8: every test clip of fold {tested.fold} is longer than the graphs allow")
    predictions = [
        replace(_rows_of(tested, np.array(kept), np.stack(values).astype(np.float32)), model=name)
        for name, values in outputs.items()
    ]
    table = to_table(predictions, predictor.labels)
    write_tables(folder / INT8_PREDICTIONS, table.schema, [table])
    groups = clip_groups(manifest)[rows[kept]]
    return QuantisedGraph(
        float32_file=float32_file,
        size_bytes=(folder / INT8_FILE).stat().st_size,
        float32_bytes=(folder / float32_file).stat().st_size,
        metric=ranking_score(predictor.task).name,
        loss=paired_difference(predictions[:1], predictions[1:], groups, predictor.task),
        fold=str(tested.fold),
        seed=tested.seed,
        n_test=len(kept),
        n_left_out=len(rows) - len(kept),
        n_groups=len(np.unique(groups)),
    )


def _tested(predictor: Predictor) -> tuple[Predictions, Manifest]:
    """Return the stored predictions of the fit for its test clips, sorted by id, and the run's clips.

    Raises:
        UserError: The run does not have them any more.
    """
    (fit,), run_dir = predictor.model.fits, predictor.model.run_dir
    assert run_dir is not None
    manifest = tabular.index(run_dir / "manifest.csv", task=predictor.task)
    stored = read_fit(fit.path.parent, predictor.model.title, "audioheads train-heads").predictions(
        predictor.labels, predictor.task
    )
    own = [one for one in stored if (str(one.fold), one.seed, one.draw) == (fit.fold, fit.seed, fit.draw)]
    known = set(manifest.clips["id"])
    if not own or not known.issuperset(own[0].ids):
        raise UserError(
            f"--int8: {run_dir} has no test clips of fold {fit.fold}, seed {fit.seed}; train the model again"
        )
    order = np.argsort(own[0].ids)
    return _rows_of(own[0], order, own[0].probabilities[order]), manifest


def _rows_of(one: Predictions, rows: np.ndarray, probabilities: np.ndarray | TopProbabilities) -> Predictions:
    """Return some clips of predictions with the given probabilities, without decisions by thresholds."""
    return replace(one, ids=one.ids[rows], targets=one.targets[rows], probabilities=probabilities, decided=None)


def _waveforms(manifest: Manifest, rows: np.ndarray, sample_rate: int) -> Iterator[np.ndarray]:
    """Decode the clips of some rows."""
    for row in rows.tolist():
        yield read_waveform(manifest.path_of(row), sample_rate, *manifest.segment_of(row)).samples
