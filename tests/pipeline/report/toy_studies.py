"""Studies with given predictions, without audio or training, for the tests of the report's sections."""

from pathlib import Path

import numpy as np
import pandas as pd

from features.backbones.presets.corpora import Corpus
from features.labels import Task
from features.manifest import Manifest
from features.records import Records
from features.store.content_keys import ClipContent
from heads.evaluation.prediction_table import to_table
from heads.evaluation.predictions import Predictions
from heads.splits.targets import targets_of
from pipeline.config.config import load_config
from pipeline.report.study import Study
from pipeline.report.study import study_of as report_study
from pipeline.results.fit import Fit
from pipeline.stages.context import splits_of
from pipeline.stages.inputs import Inputs
from pipeline.stages.majority import majority_fit

CONFIG = """
name: toy
dataset: {{kind: csv, name: toy, root: {folder}/toy.csv}}
heads: [{{name: linear}}, {{name: mlp}}]
output: {{cache: {folder}/cache, runs: {folder}/runs}}
"""


def manifest_of(labels, task: Task = "single-label", root: Path = Path()) -> Manifest:
    """Clips `clip000.wav`, … with given labels, in five folds."""
    ids = [f"clip{row:04d}.wav" for row in range(len(labels))]
    folds = [row % 5 + 1 for row in range(len(labels))]
    clips = pd.DataFrame({"id": ids, "path": ids, "label": pd.Series(list(labels), dtype=object), "fold": folds})
    return Manifest("toy", root, clips, task)


def study_of(
    manifest: Manifest,
    probabilities: dict[str, np.ndarray],
    *,
    folder: Path,
    about: dict[str, dict] | None = None,
    tested: np.ndarray | None = None,
    tables: dict | None = None,
    contents: list[ClipContent] | None = None,
    backbone_of: dict[str, str] | None = None,
    majority: bool = False,
    corpus: Corpus | None = None,
) -> Study:
    """A study of models with given probabilities.

    Args:
        manifest: The clips.
        probabilities: For each model, `backbone · head`, shape (R, N, C); repetitions are seeds.
        folder: The folder of its config, cache and runs.
        about: Changes to the default `fit.json` by model.
        tested: Whether a clip is tested, shape (N,) bool; all by default.
        tables: Caches by backbone label.
        contents: Contents of the clips; three seconds each by default.
        backbone_of: Backbone by label.
        majority: Whether it has the majority row.
        corpus: The corpus of the clips.
    """
    (folder / "toy.yaml").write_text(CONFIG.format(folder=folder))
    config = load_config(folder / "toy.yaml")
    targets = targets_of(manifest).values
    ids = manifest.clips["id"].to_numpy(dtype=object)
    values = targets if manifest.task == "regression" else targets.astype(np.int64)
    in_test = np.ones(len(manifest), bool) if tested is None else tested
    fits = []
    for title, repetitions in probabilities.items():
        model, head = title.split(" · ")
        kept = [
            Predictions(one[rows].astype(np.float32), values[rows], ids[rows], fold, seed, model, head, "mean", "0",
                        task=manifest.task)
            for seed, one in enumerate(repetitions)
            for fold in range(1, 6)
            if len(rows := np.flatnonzero(in_test & (manifest.clips["fold"] == fold)))
        ]  # fmt: skip
        notes = {
            "dataset": "toy", "model": model, "head": head, "pooling": "mean", "family": "frozen",
            "weights": "pretrained:toy", "layer": "0", "protocol": "folds", "n_folds": 5, "n_seeds": len(repetitions),
            "feature_dim": 8, "params_total": 1_000_000, "params_trained": 1000, "extract_clips_per_s": 50.0,
            "extract_realtime_factor": 150.0, "train_seconds": 2.5, "cache_bytes_per_clip": 4096.0, "warnings": [],
            "chosen": [{"fold": one.fold, "seed": one.seed, "draw": 0, "layer": 0} for one in kept],
            "candidates": {}, "versions": {},
        }  # fmt: skip
        notes |= (about or {}).get(title, {})
        fits.append(Fit(config.run_dir / "models" / model / head, notes, to_table(kept, manifest.labels)))
    inputs = Inputs(tables or {}, Records.of(ClipContent, contents or _contents(len(manifest))), {})
    if majority:
        fits.append(majority_fit(config, manifest, splits_of(config, manifest, inputs, strict=False)))
    groups = np.arange(len(manifest)) // 2
    return report_study(config, manifest, inputs, groups, fits, backbone_of=backbone_of, corpus=corpus)


def _contents(n_clips: int) -> list[ClipContent]:
    """Clips of three seconds."""
    return [ClipContent(f"key{row}", 48_000, 16_000, 96_044, 1, "") for row in range(n_clips)]


def random_study(
    n_clips: int, n_classes: int, n_models: int, *, seeds: int = 3, root: Path = Path(), **kwargs
) -> Study:
    """Models of increasing skill whose errors are in neighbouring classes."""
    rng = np.random.default_rng(0)
    labels = [f"class {row % n_classes:02d}" for row in range(n_clips)]
    manifest = manifest_of(labels, root=root)
    truth = np.arange(n_clips) % n_classes
    near = np.exp(-np.abs(np.arange(n_classes)[None] - truth[:, None]) / 1.5)
    hard = rng.normal(size=(n_clips, n_classes))
    probabilities = {}
    for number in range(n_models):
        skill = 1 + 6 * number / max(1, n_models - 1)
        logits = skill * near + hard + 0.5 * rng.normal(size=(seeds, n_clips, n_classes))
        own = np.exp(2 * logits)
        probabilities[f"backbone{number // 2} · {('linear', 'mlp')[number % 2]}"] = own / own.sum(axis=2, keepdims=True)
    return study_of(manifest, probabilities, **kwargs)
