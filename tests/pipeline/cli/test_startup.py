"""Early errors and listings do not load the heavy libraries."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from heads.training.checkpoint import save_head
from tests.features import tables

HEAVY = ("torch", "pandas", "transformers", "lightning", "ray", "librosa", "sklearn", "scipy", "torchvision")
MODEL = "runs/exp/models/mfcc/linear"
THERE = "dataset: {kind: folder, root: sounds}\n"
GONE = "dataset: {kind: esc50, root: nowhere}\n"
CONFIGS = {
    "gone": GONE,
    "gone-csv": "dataset: {kind: csv, root: nowhere.csv}\n",
    "gone-cnn": GONE + "finetune: [{name: cnn}]\n",
    "gone-nano": GONE + "features: {backbones: [{name: wav2vec2-nano}]}\nfinetune: [{name: wav2vec2-nano}]\n",
    "there": THERE,
    "there-frames": THERE + "heads: [{name: attention}]\n",
    "typo": GONE + "sedes: [1]\n",
    "no-kind": "dataset: {kind: esc51, root: x}\n",
    "no-backbone": GONE + "features: {backbones: [{name: mffc}]}\n",
    "no-model": GONE + "finetune: [{name: cnnn}]\n",
    "no-head": GONE + "heads: [{name: linaer}]\n",
}
FOLDER_GONE = "nowhere: no such folder"
COMMANDS = [
    ("run no.yaml", 2, "no.yaml: no such config file"),
    ("run typo.yaml", 2, "did you mean 'seeds'"),
    ("run no-kind.yaml", 2, "unknown kind 'esc51'"),
    ("run no-backbone.yaml", 2, "unknown backbone 'mffc'"),
    ("run no-head.yaml", 2, "unknown name 'linaer'"),
    ("run no-model.yaml", 2, "unknown model 'cnnn'"),
    ("run gone.yaml", 2, FOLDER_GONE),
    ("run gone-csv.yaml", 2, "nowhere.csv: no such manifest file"),
    ("run gone-cnn.yaml", 2, FOLDER_GONE),
    ("run gone-nano.yaml", 2, FOLDER_GONE),
    ("features gone.yaml", 2, FOLDER_GONE),
    ("train-heads gone.yaml", 2, FOLDER_GONE),
    ("train-heads there.yaml", 2, "mfcc: no embeddings for these settings yet"),
    ("train-heads there-frames.yaml", 2, "add `frames` to features.pooling"),
    ("finetune gone.yaml", 0, "the config lists no models"),
    ("finetune gone-cnn.yaml", 2, FOLDER_GONE),
    ("report gone.yaml", 2, FOLDER_GONE),
    ("report there.yaml", 2, "mfcc linear is not trained yet"),
    ("datasets ls", 0, "UrbanSound8K"),
    ("datasets audit gone.yaml", 2, FOLDER_GONE),
    ("datasets index gone.yaml", 2, FOLDER_GONE),
    ("datasets download no", 2, "no corpus 'no'"),
    ("cache ls", 0, "mean, std"),
    ("cache ls empty", 0, "empty: no cache files"),
    ("cache ls no", 2, "no: no such cache"),
    ("cache verify no", 2, "no: no such cache"),
    ("cache verify", 0, "1 of 1 files are whole"),
    ("cache explain gone.yaml", 2, FOLDER_GONE),
    ("cache export gone.yaml", 2, FOLDER_GONE),
    ("cache export there.yaml", 2, "mfcc: no embeddings for these settings yet"),
    ("cache prune gone.yaml", 2, FOLDER_GONE),
    ("models ls", 0, MODEL),
    ("models ls empty", 0, "no trained models in empty"),
    ("predict no x.wav", 2, "no: no such model"),
    ("predict runs/no/models/mfcc/linear x.wav", 2, "no such model"),
    (f"predict {MODEL} x.wav", 2, "x.wav: no such file or folder"),
    (f"predict {MODEL} x.csv y.wav", 2, "x.csv: no such file or folder (none of the 2 arguments exists)"),
    (f"predict {MODEL} x.wav --format xml", 2, "--format xml"),
    (f"predict {MODEL} x.wav --release 0.5", 2, "need --events FILE"),
    ("export no out", 2, "no: no such model"),
    ("bench no", 2, "no: no such model"),
    ("leaderboard", 0, "no reports in runs"),
    ("leaderboard no", 2, "no: no such run or folder"),
    ("init no", 2, "no: no such folder or manifest file"),
]
# Runs all commands in one process, because starting a process costs as much as ten commands.
PROGRAM = """
import contextlib, io, json, sys
from pipeline.cli import main

before = set()
for line in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(line.split())
        except SystemExit as end:
            code = end.code
    loaded = {name.split(".")[0] for name in sys.modules} & set(json.loads(sys.argv[2]))
    print(json.dumps([line, code, out.getvalue(), err.getvalue(), sorted(loaded - before)]), flush=True)
    before |= loaded
"""


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str, str, list[str]]]:
    """By command: exit code, stdout, stderr, and the heavy modules that it loaded."""
    folder = tmp_path_factory.mktemp("startup")
    for name, text in CONFIGS.items():
        (folder / f"{name}.yaml").write_text(text)
    (folder / "sounds").mkdir()
    (folder / "empty").mkdir()
    tables.write(folder / "cache" / "toys" / "toy.h5", tables.rows("a", "b", failures=[("c", "k", "is no audio")]))
    _write_model(folder / MODEL)
    arguments = [json.dumps([command for command, _, _ in COMMANDS]), json.dumps(HEAVY)]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return {command: tuple(rest) for command, *rest in map(json.loads, done.stdout.splitlines())}


def _write_model(folder: Path) -> None:
    """A trained head as written by a run, with its score in the report."""
    save_head(
        folder / "fold-1-seed-0.safetensors",
        {"w_0": np.zeros((2, 4), np.float32)},
        head="linear",
        labels=["a", "b"],
        backbone={"name": "mfcc", "weights": "none"},
        pooling=["mean"],
        layer=0,
        configuration={},
        extra={"fold": 1, "seed": 0},
    )
    (folder / "fit.json").write_text(json.dumps({"model": "mfcc", "head": "linear", "dataset": "toys"}))
    report = folder.parents[2] / "report"
    report.mkdir()
    row = {"folder": "models/mfcc/linear", "metric": "accuracy", "accuracy": 0.5, "n_groups": 2}
    (report / "results.json").write_text(json.dumps({"rows": [row]}))


@pytest.mark.parametrize(("command", "code", "text"), COMMANDS, ids=[command for command, _, _ in COMMANDS])
def test_an_early_end_needs_no_heavy_library(ends, command: str, code: int, text: str) -> None:
    ended, out, err, heavy = ends[command]
    assert (ended, heavy) == (code, [])
    if code:
        assert text in err
        assert out == "" and len(err.splitlines()) == 1
    else:
        assert text in out + err
