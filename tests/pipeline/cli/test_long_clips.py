"""Every command with clips that are longer than a window of the backbone: 31 s, 65 s and 10 minutes."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from tests.once import made_once
from tests.pipeline.predicting.conftest import run

pytestmark = pytest.mark.e2e  # runs whole experiments

RATE = 8000
LONG = {"a/31.wav": 31.0, "b/65.wav": 65.0, "a/600.wav": 600.0}
CONFIG = """
name: long
dataset: {{kind: folder, root: {root}/audio}}
features: {{pooling: [mean, frames], frame_dtype: float16, backbones: [{{name: mfcc}}]}}
heads: [{{name: linear, l2: [1.0e-2]}}]
protocol: holdout
output: {{cache: {root}/cache, runs: {root}/runs}}
"""


def write_clips(root: Path) -> None:
    rng = np.random.default_rng(0)
    short = {f"{name}/{number}.wav": 0.5 for name in "ab" for number in range(6)}
    for name, seconds in {**LONG, **short}.items():
        path = root / "audio" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        tone = np.sin(np.arange(int(seconds * RATE)) * (0.1 if name[0] == "a" else 0.7))
        sf.write(path, 0.3 * tone + 0.01 * rng.standard_normal(len(tone)), RATE)


def make(root: Path) -> None:
    write_clips(root)
    (root / "long.yaml").write_text(CONFIG.format(root=root))
    assert run("run", root / "long.yaml", "--device", "cpu") == 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return made_once(tmp_path_factory, "long_clips", make)


def long_clips(folder: Path) -> list[Path]:
    return [folder / "audio" / name for name in LONG]


def predicted(text: str) -> dict[str, dict[str, str]]:
    return {Path(row["id"]).name: row for row in csv.DictReader(io.StringIO(text))}


def test_predict_scores_long_clips_to_stdout_and_to_a_file(folder, tmp_path, capsys):
    model = folder / "runs" / "long" / "models" / "mfcc" / "linear"
    assert run("predict", model, *long_clips(folder), "--device", "cpu") == 0
    printed = predicted(capsys.readouterr().out)
    assert {name: row["label"] for name, row in printed.items()} == {"31.wav": "a", "65.wav": "b", "600.wav": "a"}
    assert run("predict", model, *long_clips(folder), "--device", "cpu", "-o", tmp_path / "scores.csv") == 0
    assert predicted((tmp_path / "scores.csv").read_text()) == printed


def test_predict_reads_long_clips_with_an_exported_model(folder, tmp_path, capsys):
    model = folder / "runs" / "long" / "models" / "mfcc" / "linear"
    assert run("export", model, tmp_path / "exported") == 0
    capsys.readouterr()
    assert run("predict", tmp_path / "exported", *long_clips(folder)[:2], "--device", "cpu") == 0
    assert set(predicted(capsys.readouterr().out)) == {"31.wav", "65.wav"}


@pytest.mark.parametrize(
    "command",
    [
        ("features", "CONFIG"),
        ("train-heads", "CONFIG"),
        ("report", "CONFIG"),
        ("datasets", "audit", "CONFIG"),
        ("cache", "verify", "CACHE"),
        ("cache", "explain", "CONFIG"),
        ("cache", "export", "CONFIG", "--format", "npz", "-o", "OUT"),
        ("leaderboard", "RUNS"),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_other_commands_accept_long_clips(folder, tmp_path, command):
    paths = {
        "CONFIG": folder / "long.yaml",
        "CACHE": folder / "cache",
        "RUNS": folder / "runs",
        "OUT": tmp_path / "out",
    }
    assert run(*(paths.get(word, word) for word in command)) == 0
