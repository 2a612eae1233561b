"""Stored predictions of models that were never trained, as large as those of real corpora."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from features.manifest import Manifest
from features.records import Records
from features.store.content_keys import ClipContent
from heads.evaluation.prediction_table import to_table
from heads.evaluation.predictions import Predictions
from pipeline.config.config import load_config
from pipeline.report.render.files import write_tables
from pipeline.report.render.page import Part, page_of
from pipeline.report.render.saved_figures import save_figures
from pipeline.report.section import build, clips_of
from pipeline.report.sections import SECTIONS
from pipeline.report.study import study_of
from pipeline.results.fit import Fit
from pipeline.results.run_folder import finish_fit, write_text
from pipeline.results.run_predictions import write_predictions
from pipeline.stages.context import splits_of
from pipeline.stages.inputs import Inputs
from pipeline.stages.majority import majority_fit

FOLDS = 5
CONFIG = """
name: synthetic
dataset: {{kind: csv, name: synthetic, root: '{folder}/clips.csv'}}
heads: [{{name: linear}}]
output: {{cache: '{folder}/cache', runs: '{folder}/runs'}}
"""


class SyntheticRun:
    """A run folder with the predictions of some models for clips of many classes, in five folds and one seed.

    The folder is temporary and is removed with the object.

    Attributes:
        folder: The folder; `report` writes the page to `report/index.html`.
    """

    def __init__(self, n_clips: int, n_classes: int, n_models: int) -> None:
        """Write the predictions. Models have increasing skill; errors are mostly in neighbouring classes."""
        self._temporary = tempfile.TemporaryDirectory(prefix="audioheads-run-")
        self.folder = Path(self._temporary.name)
        (self.folder / "run.yaml").write_text(CONFIG.format(folder=self.folder))
        self.config = load_config(self.folder / "run.yaml")
        rng = np.random.default_rng(0)
        self.targets = rng.integers(0, n_classes, n_clips)
        ids = [f"recording-{at:06d}.wav" for at in range(n_clips)]
        labels = [f"class {number:05d}" for number in range(n_classes)]
        columns = {"id": ids, "path": ids, "label": [labels[own] for own in self.targets]}
        clips = pd.DataFrame({**columns, "fold": np.arange(n_clips) % FOLDS + 1})
        self.manifest = Manifest("synthetic", self.folder, clips)
        self.fits = [self._fit(f"backbone{number}", 1.5 + 0.3 * number, number) for number in range(n_models)]

    def _fit(self, model: str, skill: float, seed: int) -> Fit:
        rng = np.random.default_rng([1, seed])
        labels, ids = self.manifest.labels, self.manifest.clips["id"].to_numpy(dtype=object)
        kept = []
        for fold in range(1, FOLDS + 1):
            rows = np.flatnonzero(self.manifest.clips["fold"] == fold)
            truth = np.searchsorted(labels, self.manifest.clips["label"].iloc[rows])
            logits = rng.standard_normal((len(rows), len(labels)), dtype=np.float32)
            for distance in range(-3, 4):
                near = np.clip(truth + distance, 0, len(labels) - 1)
                logits[np.arange(len(rows)), near] += np.float32(skill * (1 + (distance == 0)) * np.exp(-abs(distance)))
            np.exp(logits, out=logits)
            logits /= logits.sum(axis=1, keepdims=True)
            kept.append(Predictions(logits, truth, ids[rows], fold, 0, model, "linear", "mean", "0", "synthetic"))
        folder = self.config.run_dir / "models" / model / "linear"
        about = {
            "dataset": "synthetic", "model": model, "head": "linear", "pooling": "mean", "family": "frozen",
            "weights": "pretrained:synthetic", "layer": "0", "protocol": "folds", "n_folds": FOLDS, "n_seeds": 1,
            "n_absent": 0, "feature_dim": 768, "params_total": 1_000_000, "params_trained": 1000, "candidates": {},
            "extract_clips_per_s": 50.0, "extract_realtime_factor": 150.0, "train_seconds": 2.5,
            "cache_bytes_per_clip": 4096.0, "warnings": [], "chosen": [], "versions": {}, "job": f"{model} linear",
        }  # fmt: skip
        folder.mkdir(parents=True)
        finish_fit(folder, about, to_table(kept, labels))
        return Fit(folder, about)

    def report(self) -> int:
        """Score the models and write tables, page and figures as `audioheads report` does; return the page's size."""
        contents = [ClipContent(f"key{at}", 48_000, 16_000, 96_044, 1, "") for at in range(len(self.manifest))]
        inputs = Inputs({}, Records.of(ClipContent, contents), {})
        baseline = majority_fit(self.config, self.manifest, splits_of(self.config, self.manifest, inputs, strict=False))
        fits = [*self.fits, baseline]
        write_predictions(self.config.run_dir, fits, self.manifest.labels, self.manifest.task)
        study = study_of(self.config, self.manifest, inputs, np.arange(len(self.manifest)), fits)
        folder = self.folder / "report"
        write_tables(folder, [study])
        part = Part(study, (sections := build(study, SECTIONS)), [f"../../{at}.wav" for at in clips_of(sections)])
        page = page_of([part])
        write_text(folder / "index.html", page)
        save_figures(folder / "figures", part.figures)
        return len(page.encode())


def several_labels(n_clips: int, n_classes: int) -> tuple[list[Predictions], np.ndarray]:
    """Return predictions of one model for clips with about three labels of unequal frequency, and clips as groups."""
    rng = np.random.default_rng(0)
    rates = np.minimum(0.3, 0.0015 * np.exp(1.3 * rng.normal(size=n_classes)) + 0.002)
    truth = rng.random((n_clips, n_classes)) < rates
    scores = 1 / (1 + np.exp(3 - 2 * truth - rng.normal(size=truth.shape)))
    ids = np.array([f"clip-{at:06d}" for at in range(n_clips)], dtype=object)
    found = Predictions(scores.astype(np.float32), truth.astype(np.int8), ids, 1, 0, "model", task="multi-label")
    return [found], np.arange(n_clips)
