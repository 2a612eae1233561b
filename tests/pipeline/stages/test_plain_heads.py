"""Heads of the plain path from the command line: frames through stage 1, estimators by name, one table."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from heads.training.checkpoint import load_head
from pipeline.cli.app import main
from pipeline.config.config import load_config
from pipeline.stages.features import load_corpus
from pipeline.stages.inputs import features_of, read_inputs
from pipeline.stages.stored_vectors import StoredVectors

pytestmark = pytest.mark.e2e  # runs whole experiments

CONFIG = """
name: plain
dataset: {{kind: synthetic, root: {root}/audio, clips_per_class: 10, max_duration_s: 1.0, classes: [siren, crackle]}}
features: {{pooling: [mean, frames], frame_dtype: float16, backbones: [{{name: mfcc}}]}}
heads:
  - {{name: attention, units: 8, max_epochs: 8, learning_rate: 1e-2}}
  - {{name: sklearn, estimator: sklearn.svm.SVC, parameters: {{C: [1, 10], kernel: rbf}}}}
seeds: [0, 1]
output: {{cache: {root}/cache, runs: {root}/runs}}
"""


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    return int(end.value.code or 0)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("plain")
    path = root / "plain.yaml"
    path.write_text(CONFIG.format(root=root))
    assert run("run", str(path)) == 0
    return path


def test_the_table_has_a_row_for_each_head_with_what_it_reads(config: Path) -> None:
    table = pd.read_csv(load_config(config).run_dir / "report" / "results.csv").dropna(subset="head").set_index("head")
    assert dict(table["pooling"]) == {"attention": "frames", "SVC": "mean"}
    assert (table["n_test"] == 20).all() and (table["accuracy"] > 0.7).all()
    assert (table["feature_dim"] > 0).all() and (table["params_trained"] > 0).all()


def test_stored_heads_predict_what_was_scored(config: Path) -> None:
    loaded = load_config(config)
    corpus = load_corpus(loaded)
    manifest, inputs = corpus.manifest, read_inputs(loaded, corpus)
    row_of = {clip: row for row, clip in enumerate(manifest.clips["id"])}
    for folder in ("attention", "SVC"):
        predictions = pd.read_parquet(loaded.run_dir / "models" / "mfcc" / folder / "predictions.parquet")
        path = min((loaded.run_dir / "models" / "mfcc" / folder).glob("fold-1-seed-0*.safetensors"))
        head = load_head(path)
        mine = predictions[(predictions["fold"].astype(str) == "1") & (predictions["seed"] == 0)]
        rows = np.array([row_of[clip] for clip in mine["id"]])
        features = features_of(inputs.tables["mfcc"], head.pooling, manifest, inputs)
        seen = features.read(rows, 0) if isinstance(features, StoredVectors) else features.of(rows, 0)
        assert np.array_equal(head.predict(seen), np.stack(mine["probabilities"]).astype(np.float32))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("features.pooling=[mean]", "attention: reads frames; add `frames` to features.pooling"),
        ("features.pooling=[frames]", "SVC: heads read pooled embeddings; add `mean`"),
        ("heads[1].estimator=sklearn.svm.SVCC", "heads[1].estimator: sklearn.svm.SVCC: sklearn.svm has no 'SVCC'"),
        ("heads[1].parameters.c=3", "heads[1].parameters.c: SVC takes no 'c', did you mean 'C'?"),
        ("heads[1].estimator=sklearn.svm.SVR", "heads[1].estimator: SVR is a regressor"),
    ],
)
def test_what_cannot_work_is_one_line(
    config: Path, override: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("train-heads", str(config), "--set", override) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_second_run_reuses_both(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train-heads", str(config)) == 0
    assert capsys.readouterr().out.count("reused") == 2
    about = json.loads((load_config(config).run_dir / "models" / "mfcc" / "attention" / "fit.json").read_text())
    assert about["pooling"] == "frames" and about["feature_dim"] > 0
