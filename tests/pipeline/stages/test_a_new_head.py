"""A head that is one file and one line in the table is checked, trained, saved, loaded and reported like any other."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.errors import ConfigError
from heads.kinds.registry import HEADS
from heads.training.checkpoint import load_head
from pipeline.cli.app import main
from pipeline.config.config import load_config
from pipeline.stages.features import load_corpus
from pipeline.stages.inputs import features_of, read_inputs

MODULE = '''
"""The class whose mean is nearest."""

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from heads.batched.inference import outputs, standardisation, standardized
from heads.batched.job import HeadType
from heads.options import Grid, HeadOptions, Positive


class Options(HeadOptions):
    """How sharply probability falls with distance."""

    grid: ClassVar[tuple[str, ...]] = ("sharpness",)
    name: Literal["nearest-mean"] = "nearest-mean"
    sharpness: Grid[Positive] = Field([0.1, 1.0])


def fit(places, load, job):
    from heads.batched.blocks import BlockFit
    from heads.batched.losses import valid_loss

    for place in places:
        block = load(place)
        rows, targets = block.train.numpy(), block.train_targets.numpy()
        means = np.stack([rows[targets == label].mean(axis=0) for label in range(job.n_outputs)])
        for number, point in enumerate(job.grid):
            state = {**standardisation(block), "means": means, "sharpness": np.array([point["sharpness"]])}
            loss = valid_loss(answers(state, block.valid.numpy(), job.task), block.valid_targets.numpy(), job.task)
            yield BlockFit(place, number, [state], np.array([loss]), np.array([1]), means.size)


def predict(state, features, task="single-label"):
    return answers(state, standardized(state, features), task)


def answers(state, rows, task):
    distances = ((rows[:, None] - state["means"]) ** 2).mean(axis=2)
    return outputs(state, -state["sharpness"][0] * distances, task)


HEAD = HeadType(Options, fit, predict)
'''
CONFIG = """
name: new
dataset: {{kind: synthetic, root: {root}/audio, clips_per_class: 10, max_duration_s: 1.0, classes: [siren, crackle]}}
features: {{pooling: [mean], backbones: [{{name: mfcc}}]}}
heads: [{{name: nearest-mean}}, {{name: linear, l2: 0.1}}]
output: {{cache: {root}/cache, runs: {root}/runs}}
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "toy_nearest_mean.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(HEADS, "nearest-mean", "toy_nearest_mean")
    path = tmp_path / "new.yaml"
    path.write_text(CONFIG.format(root=tmp_path))
    yield path
    sys.modules.pop("toy_nearest_mean", None)


@pytest.mark.e2e
def test_a_new_head_goes_all_the_way(config: Path) -> None:
    with pytest.raises(ConfigError, match=r"heads\[0\]\.sharpnes: unknown key, did you mean 'sharpness'"):
        load_config(config, ["heads.0.sharpnes=2"])
    with pytest.raises(ConfigError, match=r"heads\[0\]\.sharpness"):
        load_config(config, ["heads.0.sharpness=-1"])
    with pytest.raises(SystemExit) as end:
        main(["run", str(config)])
    assert not end.value.code
    loaded = load_config(config)
    table = pd.read_csv(loaded.run_dir / "report" / "results.csv").dropna(subset="head").set_index("head")
    assert set(table.index) == {"nearest-mean", "linear"}
    assert table.loc["nearest-mean", "accuracy"] > 0.7 and table.loc["nearest-mean", "params_trained"] > 0
    assert "nearest-mean" in (loaded.run_dir / "report" / "results.md").read_text(encoding="utf-8")
    folder = loaded.run_dir / "models" / "mfcc" / "nearest-mean"
    predictions = pd.read_parquet(folder / "predictions.parquet")
    corpus = load_corpus(loaded)
    manifest, inputs = corpus.manifest, read_inputs(loaded, corpus)
    features = features_of(inputs.tables["mfcc"], ["mean"], manifest, inputs)
    row_of = {clip: row for row, clip in enumerate(manifest.clips["id"])}
    paths = sorted(folder.glob("*.safetensors"))
    assert len(paths) == predictions["fold"].nunique() == 5
    for path in paths:
        head = load_head(path)
        mine = predictions[predictions["fold"].astype(str) == str(head.extra["fold"])]
        rows = [row_of[clip] for clip in mine["id"]]
        layer = inputs.tables["mfcc"].spec.layers.index(head.layer)
        predicted = head.predict(features.read(np.array(rows), layer))
        assert np.array_equal(predicted, np.stack(mine["probabilities"].to_list()))
