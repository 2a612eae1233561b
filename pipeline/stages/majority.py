"""The majority baseline of a run, computed from its splits whenever it is needed."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from features.errors import ManifestError
from features.manifest import Manifest
from heads.evaluation.majority import BASELINE, MAJORITY, majority_predictions
from heads.evaluation.prediction_table import to_table
from heads.splits.protocol import Splits
from heads.splits.targets import targets_of
from pipeline.config.config import Config
from pipeline.results.fit import Fit
from pipeline.stages.context import splits_of
from pipeline.stages.inputs import Inputs


def majority_fit(config: Config, manifest: Manifest, splits: Splits) -> Fit:
    """Return the baseline as one more model of the run."""
    ids = manifest.clips["id"].to_numpy(dtype=object)
    predictions = majority_predictions(
        targets_of(manifest), splits.splits, config.seeds, ids, run=config.name, refit=config.refit
    )
    about = {
        "dataset": manifest.name,
        "model": MAJORITY,
        "family": BASELINE,
        "weights": "none",
        "head": "",
        "pooling": "",
        "layer": "",
        "protocol": splits.protocol + ("+refit" if config.refit else ""),
        "n_folds": splits.n_folds,
        "n_seeds": len(config.seeds),
        "n_absent": splits.n_absent,
        "feature_dim": 0,
        "params_total": 0,
        "params_trained": 0,
        "warnings": [],
    }
    return Fit(config.run_dir / "models" / MAJORITY, about, to_table(predictions, manifest.labels))


def majority_of_run(config: Config, manifest: Manifest, inputs: Inputs, fits: Sequence[Fit]) -> Fit | None:
    """Return the baseline for the models of a finished run.

    Returns:
        None if the clips, labels or folds that the models were tested on are no longer those of the config. The
        baseline would then have other training clips than the models.
    """
    try:
        splits = splits_of(config, manifest, inputs, strict=False)
    except ManifestError:
        return None
    baseline = majority_fit(config, manifest, splits)
    wanted = _tested(baseline)
    same = all(_protocol(fit) == splits.protocol and _tested(fit).equals(wanted) for fit in fits)
    return baseline if same else None


def _protocol(fit: Fit) -> str:
    return str(fit.about["protocol"]).removesuffix("+refit")


def _tested(fit: Fit) -> pa.Table:
    """Return fold, draw, clip and true label of every prediction of the first seed, sorted by the first three."""
    table = fit.table(["fold", "draw", "id", "target", "seed"])
    seeds = table["seed"]
    table = table.filter(pc.equal(seeds, pc.min(seeds))).drop_columns("seed")
    draws = pc.fill_null(table["draw"], 0) if "draw" in table.column_names else pa.repeat(0, len(table))
    kinds = {"fold": pa.string(), "draw": pa.int64(), "id": pa.string()}
    columns = {"fold": table["fold"], "draw": draws, "id": table["id"]}
    named = pa.table({name: column.cast(kinds[name]) for name, column in columns.items()} | {"target": table["target"]})
    return named.sort_by([(name, "ascending") for name in kinds]).combine_chunks()
