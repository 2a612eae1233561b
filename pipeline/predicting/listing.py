"""`audioheads models ls`: list trained models with their scores and the source of their weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from features.errors import AudioheadsError, UserError
from features.json_files import try_object
from pipeline.console import Console
from pipeline.predicting.locate import FoundModel, find_model, models_of
from pipeline.results.decisions.background_scores import BACKGROUND_FILE
from pipeline.results.decisions.fit_decisions import DECISIONS_FILE
from pipeline.results.fit import read_fit
from pipeline.results.run_folder import FIT_FILE
from pipeline.results.table import N_GROUPS, counted


class _Row(BaseModel):
    folder: str


class _Results(BaseModel):
    """The part of `results.json` that is read."""

    rows: list[_Row]


@dataclass(frozen=True)
class Evaluation:
    """Score of a model on its test clips.

    Attributes:
        metric: `accuracy`, `mAP` or `CCC`.
        value: The score; None if unknown.
        low: Lower end of the 95 % interval.
        high: Upper end of the 95 % interval.
        n_test: Number of distinct test clips.
        n_groups: Number of groups that the manifest gives to them; 0 if it gives none, None if unknown.
    """

    metric: str = "accuracy"
    value: float | None = None
    low: float | None = None
    high: float | None = None
    n_test: int | None = None
    n_groups: int | None = None

    def __str__(self) -> str:
        """Return `0.967 (0.945–0.981)`, with the metric's name unless it is accuracy."""
        if self.value is None:
            return "–"
        interval = "" if self.low is None or self.high is None else f" ({self.low:.3f}–{self.high:.3f})"
        return f"{'' if self.metric == 'accuracy' else self.metric + ' '}{self.value:.3f}{interval}"


def list_models(paths: Sequence[Path], console: Console) -> None:
    """Print one line per model under the given folders, best first within a run.

    Args:
        paths: Runs, folders of runs, exported folders.
        console: Prints the table.
    """
    rows: list[tuple[str, ...]] = []
    for path in paths:
        for group in _groups(path):
            found = [(model, evaluate(model)) for model in group]
            found.sort(key=lambda pair: -(pair[1].value or 0.0))
            rows += [_row(model, evaluation) for model, evaluation in found]
    if not rows:
        where = ", ".join(map(str, paths)) or "runs"
        console.note(f"no trained models in {where}; `audioheads train-heads CONFIG` trains some")
        return
    headings = ("MODEL", "dataset", "fits", "score (95 % interval)", "weights")
    console.table(headings, rows, foldable=["weights"], spare=("dataset", "fits"))
    console.note("`audioheads predict MODEL AUDIO…` uses one; scores are of single fits on their test clips")


def evaluate(model: FoundModel) -> Evaluation:
    """Return the score of a model from its report, or else computed from its stored predictions."""
    if model.exported is not None:
        return Evaluation(**model.about.get("evaluation", {}))
    if model.run_dir is None:
        return Evaluation()
    row = reported_row(model) or _computed(model, model.fits[0].path.parent)
    name = row.get("metric") or "accuracy"
    key = "accuracy" if name == "accuracy" else "value"
    ends = row.get(f"{key}_ci_low"), row.get(f"{key}_ci_high")
    return Evaluation(name, row.get(key), *ends, row.get("n_test"), row.get(N_GROUPS))


def reported_row(model: FoundModel) -> dict[str, Any]:
    """Return a model's row of `results.json`; empty without its run or a report.

    It is also empty if the model was retrained since, or its thresholds or its scores on background changed.
    """
    if model.run_dir is None:
        return {}
    folder = model.fits[0].path.parent
    report = model.run_dir / "report" / "results.json"
    made_from = [folder / FIT_FILE, *filter(Path.is_file, (folder / DECISIONS_FILE, folder / BACKGROUND_FILE))]
    try:
        if report.stat().st_mtime_ns < max(path.stat().st_mtime_ns for path in made_from):
            return {}
        rows: list[dict[str, Any]] = (try_object(report, _Results) or {"rows": []})["rows"]
        place = folder.parts[-2:]
        row = next((row for row in rows if Path(row["folder"]).parts[-2:] == place), {})
        return row if N_GROUPS in row else {}  # older reports do not tell whether groups were known
    except OSError:
        return {}


def fits_text(model: FoundModel) -> str:
    """`5 folds × 3 seeds`."""
    folds, seeds = {fit.fold for fit in model.fits}, {fit.seed for fit in model.fits}
    draws = {fit.draw for fit in model.fits}
    parts = [counted(len(folds), "fold"), counted(len(seeds), "seed")]
    return " × ".join(parts + ([counted(len(draws), "draw")] if len(draws) > 1 else []))


def weights_of(model: FoundModel) -> str:
    """Describe the source of a model's weights; a backbone with random weights is `untrained`."""
    if model.about.get("family") == "scratch":
        return "trained from random weights"
    weights = str(model.about.get("weights", "unknown"))
    return "untrained (random weights)" if weights == "untrained" else weights


def _groups(path: Path) -> list[list[FoundModel]]:
    """Return the models of each run under a path. Unreadable ones are skipped; `predict` reports why."""
    if not path.is_dir():
        raise UserError(f"{path}: no such folder; give runs or a folder of runs")
    children = sorted(child for child in path.iterdir() if child.is_dir())
    runs = [path, *children, *sorted(run for run in path.glob("*/*") if run.is_dir() and models_of(run))]
    groups = [_readable(models_of(run)) for run in runs]
    exported = _readable([folder for folder in runs if (folder / "config.json").is_file()])
    return [group for group in [*groups, exported] if group]


def _readable(paths: Sequence[Path]) -> list[FoundModel]:
    found = []
    for path in paths:
        try:
            found.append(find_model(path))
        except AudioheadsError:
            continue
    return found


def _row(model: FoundModel, evaluation: Evaluation) -> tuple[str, ...]:
    dataset = str(model.about.get("dataset", "?"))
    return str(model.path), dataset, fits_text(model), str(evaluation), weights_of(model)


def _computed(model: FoundModel, folder: Path) -> dict[str, Any]:
    """Compute the model's row as `report` does, but without the search for identical audio."""
    from features.datasets import tabular
    from heads.splits.groups import clip_groups
    from pipeline.results.scoring import score

    assert model.run_dir is not None
    try:
        task = model.fits[0].about.get("task", "single-label")
        manifest = tabular.index(model.run_dir / "manifest.csv", task=task)
        fit = read_fit(folder, "", "")
        return score([fit], manifest, clip_groups(manifest), 0)[0][0]
    except AudioheadsError:
        return {}
