"""Stage 1 from the command line: errors before any work, and the counts in its summary."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from transformers import Wav2Vec2Config, Wav2Vec2Model

from features.errors import ConfigError, ManifestError, RunError, WeightsError
from pipeline.cache.explain import explain
from pipeline.config.config import load_config
from pipeline.console import Console
from pipeline.stages.features import run_features
from tests.pipeline.small_corpora import tone

RATE = 16_000
CLIPS = 8  # per class, all usable


@pytest.fixture
def stage1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs stage 1 on two classes of tones, with overrides."""
    monkeypatch.chdir(tmp_path)
    for number, label in enumerate(("low", "high")):
        for take in range(CLIPS):
            tone(Path(f"sounds/{label}/{take}.wav"), 300 + 900 * number, 0.3, RATE, 10 * number + take)
    Path("sounds.yaml").write_text("dataset: {kind: folder, root: sounds}\nfeatures: {backbones: [{name: mfcc}]}\n")

    def run(*overrides: str, dry_run: bool = False, strict: bool = False) -> None:
        config = load_config("sounds.yaml", overrides)
        options = {"device": "cpu", "limit": None, "rehash": False, "console": Console()}
        run_features(config, dry_run=dry_run, strict=strict, **options)

    return run


def test_failed_clips_are_neither_computed_nor_reused(stage1, capsys: pytest.CaptureFixture[str]) -> None:
    nan = np.zeros(4000, np.float32)
    nan[9] = np.nan
    sf.write("sounds/low/nan.wav", nan, RATE, subtype="FLOAT")
    Path("sounds/low/empty.wav").touch()
    stage1(dry_run=True)
    assert "would compute 17 clips (5 s of audio), reuse 0, 1 failed → " in capsys.readouterr().out
    stage1()
    assert "mfcc: 16 computed, 0 reused, 2 failed, " in capsys.readouterr().out
    stage1()
    assert "mfcc: 0 computed, 16 reused, 2 failed → " in capsys.readouterr().out
    stage1(dry_run=True)
    assert "would compute 0 clips (0 s of audio), reuse 16, 2 failed → " in capsys.readouterr().out
    explain(load_config("sounds.yaml"), Console())
    assert "16 reused, 0 new, 0 changed, 2 failed earlier" in capsys.readouterr().out
    assert set(json.loads(Path("runs/sounds/failures.json").read_text())) == {"low/empty.wav", "low/nan.wav"}
    with pytest.raises(RunError, match="2 clip"):
        stage1(strict=True)


def test_weights_of_another_preset_are_refused_before_any_work(stage1) -> None:
    Path("BEATs_iter3.pt").write_bytes(b"weights")
    with pytest.raises(WeightsError, match=r"^beats-iter1: BEATs_iter3.pt has the name of the weights of beats-iter3"):
        stage1("features.backbones=[{name: beats-iter1, weights: BEATs_iter3.pt}]")
    assert not list(Path("cache").rglob("*.h5"))


def test_a_layer_that_is_not_there_is_refused_before_any_work(stage1) -> None:
    with pytest.raises(ConfigError, match=r"features.frame_layers: mfcc has no layer 3, its last is 0"):
        stage1("features.pooling=[mean, frames]", "features.frame_layers=[0, 3]")
    assert not Path("cache").exists() and not Path("runs").exists()


def test_strict_refuses_leaking_groups_before_any_work(stage1) -> None:
    rows = ["path,label,fold,group"]
    rows += [f"sounds/{label}/{take}.wav,{label},{take % 3},one" for label in ("low", "high") for take in range(CLIPS)]
    Path("list.csv").write_text("\n".join(rows) + "\n")
    listed = ("dataset.kind=csv", "dataset.root=list.csv")
    with pytest.raises(ManifestError, match=r"1 groups .*an error under --strict"):
        stage1(*listed, strict=True)
    assert not Path("cache").exists()
    stage1(*listed, dry_run=True)


def test_weights_that_do_not_fit_leave_nothing_half_written(stage1) -> None:
    small = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32, "conv_dim": (16,) * 7}
    shape = Wav2Vec2Config(hidden_size=16, num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2, **small)
    Wav2Vec2Model(shape).save_pretrained("weights")
    text = Path("weights/config.json").read_text()
    assert '"num_hidden_layers": 1' in text
    Path("weights/config.json").write_text(text.replace('"num_hidden_layers": 1', '"num_hidden_layers": 2'))
    with pytest.raises(WeightsError, match="does not fit the architecture"):
        stage1("features.backbones=[{name: wav2vec2, weights: weights}]")
    assert not list(Path("cache").rglob("*.parts"))


def test_the_config_of_the_run_names_its_dataset(stage1) -> None:
    stage1()
    assert load_config("runs/sounds/config.yaml").dataset.name == "sounds"  # type: ignore[attr-defined]
