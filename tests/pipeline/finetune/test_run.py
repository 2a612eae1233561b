"""`audioheads finetune`: shipped recipes on miniature corpora, resumption after a kill, and output files."""

import json
import os
import signal
import socket
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors import safe_open

from features.errors import UserError, WeightsError
from heads.finetuning.lightning_module import Learner
from pipeline.config.config import load_config
from pipeline.console import Console
from pipeline.finetune import run as finetuning
from tests import processes
from tests.paths import ROOT
from tests.pipeline import small_corpora

pytestmark = pytest.mark.e2e  # runs whole experiments

pytest.importorskip("lightning")
pytest.importorskip("torchvision")
CONFIGS = ROOT / "configs"
SMALL = {"threads": 1, "epochs": 1, "precision": "fp32"}


def run(config, **options):
    finetuning.run_finetune(
        config, **{"device": "cpu", "dry_run": False, "strict": False, "console": Console(), **options}
    )


def overrides(models, tmp_path, **changes):
    """`--set` texts that make each model of a shipped config small."""
    texts = [f"output.cache={tmp_path / 'cache'}", f"output.runs={tmp_path / 'runs'}", "tracking=[csv]"]
    for model in models:
        values = {"label": model, **SMALL, **changes}  # with a label, it is found by that if its name changes
        texts += [f"finetune.{model}.{key}={json.dumps(value)}" for key, value in values.items()]
    return texts


def steps_taken(monkeypatch):
    """Counts the training steps of every fit."""
    taken = []
    step = Learner.training_step

    def counted(self, number, batch_idx):
        taken.append(number)
        return step(self, number, batch_idx)

    monkeypatch.setattr(Learner, "training_step", counted)
    return taken


IMAGES = {"weights": "none", "image_size": 32, "batch_size": 4}
SMALLER = {"name": "resnext50_32x4d"}  # a network of 89 million parameters takes 3 GB to train
SHIPPED = {
    "gtzan-resnet.yaml": (small_corpora.gtzan, ["resnet18", "resnet18-log"], IMAGES),
    "gtzan-resnext.yaml": (small_corpora.gtzan, ["resnext101_32x8d", "resnext101-log"], {**IMAGES, **SMALLER}),
    "urbansound8k-m5.yaml": (small_corpora.urbansound8k, ["m5", "m5-augmented"], {"batch_size": 2}),
}


@pytest.mark.e2e
@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_recipe_trains_two_steps_on_a_small_tree(name, tmp_path, monkeypatch):
    make, models, changes = SHIPPED[name]
    as_it_is = load_config(CONFIGS / name)
    assert [model.title for model in as_it_is.finetune] == models
    root = make(tmp_path / "corpus")
    config = load_config(CONFIGS / name, [f"dataset.root={root}", *overrides(models, tmp_path, **changes)])
    taken = steps_taken(monkeypatch)
    run(config)
    n_folds = 3 if "urbansound" in name else 1
    assert len(taken) == 2 * n_folds * len(models)
    for model in models:
        folder = tmp_path / "runs" / config.name / "models" / model / "none"
        about = json.loads((folder / "fit.json").read_text())
        assert (about["family"], about["weights"], about["head"], about["n_folds"]) == (
            "scratch",
            "none",
            "none",
            n_folds,
        )
        assert about["params_trained"] == about["params_total"] > 100_000
        predictions = pd.read_parquet(folder / "predictions.parquet")
        assert np.allclose(np.stack(predictions["probabilities"].to_list()).sum(axis=1), 1, atol=1e-5)


@pytest.mark.e2e
def test_the_real_run_of_esc10_trains_all_four_models(tmp_path):
    models = ["cnn", "crnn", "m5", "resnet18"]
    settings = overrides(models, tmp_path, batch_size=6)
    config = load_config(
        CONFIGS / "esc10-finetune.yaml",
        [f"dataset.root={small_corpora.esc10(tmp_path / 'corpus')}", "finetune.resnet18.image_size=32", *settings],
    )
    assert [model.title for model in config.finetune] == models
    run(config)
    table = pd.read_parquet(config.run_dir / "predictions.parquet")
    assert set(table["model"]) == {*models, "majority"}
    assert (table.groupby("model")["id"].nunique() == 20).all()
    assert (table.groupby(["model", "fold"])["id"].nunique() == 4).all()


CRNN = """
name: killed
dataset: {{kind: gtzan, root: {root}}}
finetune:
  - name: crnn
    epochs: 4
    batch_size: 3
    learning_rate: 3e-3
    channels: [4, 8]
    hidden: 8
    dropout: 0.5
    threads: 1
    schedule: cosine
    mel: {{sample_rate_hz: 8000, n_fft: 256, hop_length: 128, n_mels: 16}}
    augment: {{time_mask_frames: 5, noise: 1.0, gain: [0.5, 2.0], time_shift_s: 0.2, mixup: 0.1}}
protocol: holdout
tracking: [csv]
output: {{cache: {folder}/cache, runs: {folder}/{runs}}}
"""


def run_until_killed(path: Path, epoch: int) -> None:
    """A run that is killed in the middle of an epoch, as a power cut would."""
    step = Learner.training_step

    def deadly(self: Learner, number: int, batch_idx: int):
        if self.current_epoch == epoch and number == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(self, number, batch_idx)

    Learner.training_step = deadly
    run(load_config(path))


@pytest.mark.crash
def test_a_run_killed_in_epoch_3_gives_bit_equal_predictions(tmp_path, monkeypatch):
    root = small_corpora.gtzan(tmp_path / "corpus")
    paths = {}
    for runs in ("undisturbed", "killed"):
        paths[runs] = tmp_path / f"{runs}.yaml"
        paths[runs].write_text(CRNN.format(root=root, folder=tmp_path, runs=runs))
    run(load_config(paths["undisturbed"]))
    killed = processes.run(run_until_killed, paths["killed"], 2)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    curves = next((tmp_path / "killed").rglob("csv/**/*.csv")).read_text().splitlines()
    assert len(curves) == 1 + 2  # two epochs were finished
    taken = steps_taken(monkeypatch)
    run(load_config(paths["killed"]))
    for runs in paths:  # the kept weights are of an epoch after the kill, else this would compare nothing
        about = json.loads((tmp_path / runs / "killed/models/crnn/none/fit.json").read_text())
        assert about["chosen"][0]["epoch"] > 2
    assert len(taken) == 2 * 3  # only epochs 3 and 4 are trained
    tables = [pd.read_parquet(tmp_path / runs / "killed" / "predictions.parquet") for runs in paths]
    probabilities = [np.stack(table["probabilities"].to_list()) for table in tables]
    assert len(probabilities[0]) > 0
    np.testing.assert_array_equal(*probabilities)
    run(load_config(paths["killed"]))
    assert len(taken) == 2 * 3  # nothing is trained again


END_TO_END = """
name: whole
dataset: {{kind: gtzan, root: {root}}}
finetune:
  - {{name: wav2vec2, weights: random, size: tiny, epochs: 1, batch_size: 4, threads: 1, gradient_checkpointing: true}}
  - {{name: vggish, weights: random, epochs: 1, batch_size: 8, threads: 1, duration_s: 1.0}}
protocol: holdout
output: {{cache: {folder}/cache, runs: {folder}/runs}}
"""


@pytest.mark.e2e
def test_backbones_are_trained_end_to_end(tmp_path):
    path = tmp_path / "whole.yaml"
    path.write_text(END_TO_END.format(root=small_corpora.gtzan(tmp_path / "corpus"), folder=tmp_path))
    config = load_config(path)
    run(config)
    from features.backbones import load

    frozen_parts = {"wav2vec2": "feature_extractor", "vggish": "features"}
    for model in config.finetune:
        folder = config.run_dir / "models" / f"{model.name}-finetuned" / "mlp"
        about = json.loads((folder / "fit.json").read_text())
        assert (about["family"], about["weights"], about["pooling"]) == ("scratch", "untrained", "mean")
        assert 0 < about["params_trained"] < about["params_total"]
        first = load(
            {"name": model.name, "weights": "random", **({"size": "tiny"} if model.name == "wav2vec2" else {})}
        )
        with safe_open(next(folder.glob("*.safetensors")), framework="np") as weights:
            moved = {
                name.removeprefix("model.encoder.module."): not np.array_equal(weights.get_tensor(name), before.numpy())
                for name in weights.keys()  # noqa: SIM118
                if name.startswith("model.encoder.")
                for before in [first.module.state_dict()[name.removeprefix("model.encoder.module.")]]
            }
        frozen = {name for name in moved if name.startswith(frozen_parts[model.name])}
        assert frozen
        assert not any(moved[name] for name in frozen)
        assert any(moved[name] for name in moved if name not in frozen)


def test_unreachable_weights_are_reported_before_any_work(tmp_path, monkeypatch):
    def unreachable(*_, **__):
        raise OSError("Network is unreachable")

    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    root = small_corpora.gtzan(tmp_path / "corpus")
    output = [f"output.cache={tmp_path / 'cache'}", f"output.runs={tmp_path / 'runs'}"]
    config = load_config(CONFIGS / "gtzan-resnet.yaml", [f"dataset.root={root}", "tracking=[]", *output])
    with pytest.raises(WeightsError) as caught:
        run(config)
    lines = str(caught.value).splitlines()
    assert len(lines) == 2  # one for each model
    assert all("Network is unreachable" in line and "`none`" in line and ".safetensors" in line for line in lines)
    assert not (tmp_path / "cache").exists()


@pytest.mark.e2e
def test_local_weights_are_loaded_and_named(tmp_path):
    import torch
    from torchvision.models import resnet18

    torch.save(resnet18().state_dict(), tmp_path / "mine.pth")
    config = load_config(
        CONFIGS / "gtzan-resnet.yaml",
        [
            f"dataset.root={small_corpora.gtzan(tmp_path / 'corpus')}",
            *overrides(["resnet18", "resnet18-log"], tmp_path, **IMAGES),
            f"finetune.resnet18.weights={tmp_path / 'mine.pth'}",
        ],
    )
    run(config)
    about = json.loads((config.run_dir / "models" / "resnet18" / "none" / "fit.json").read_text())
    assert (about["family"], about["weights"]) == ("finetuned", "pretrained:mine.pth")


def test_a_dry_run_writes_nothing_and_an_empty_section_is_reported(tmp_path, capsys):
    path = tmp_path / "x.yaml"
    text = f"dataset: {{kind: gtzan, root: {small_corpora.gtzan(tmp_path / 'corpus')}}}\n"
    text += f"output: {{cache: {tmp_path}/cache, runs: {tmp_path}/runs}}\n"
    path.write_text(text + "finetune: [{name: cnn}]\n")
    run(load_config(path), dry_run=True)
    assert "cnn: would train" in capsys.readouterr().out
    assert not (tmp_path / "cache").exists()
    assert not (tmp_path / "runs").exists()
    path.write_text(text)
    run(load_config(path))
    assert "lists no models" in capsys.readouterr().err


def test_an_unusable_tracker_is_reported_before_any_work(tmp_path):
    from importlib.util import find_spec

    if find_spec("swanboard") is not None:
        pytest.skip("SwanLab's dashboard is installed")
    path = tmp_path / "x.yaml"
    path.write_text(
        f"dataset: {{kind: gtzan, root: {tmp_path}}}\nfinetune: [{{name: cnn}}]\n"
        "tracking: [{name: swanlab, mode: local}]\n"
    )
    with pytest.raises(UserError, match=r"swanlab\[dashboard\]"):
        run(load_config(path))
