"""Several commands on one run folder: one waits for the other, and no file is lost, torn or mixed."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf

from features.errors import RunError, UserError
from heads.training.checkpoint import load_head, save_head
from pipeline.predicting.locate import find_model
from pipeline.predicting.predictor import Predictor
from pipeline.results.run_folder import start_fit
from pipeline.results.run_lock import locked
from tests.paths import ROOT
from tests.pipeline.small_corpora import tone

CONFIG = """
name: shared
dataset: {kind: folder, root: sounds}
features: {backbones: [{name: mfcc}]}
heads: [{name: linear, l2: [1.0e-2]}]
protocol: holdout
seeds: [0]
"""


def test_a_second_command_waits_and_says_for_which_folder(tmp_path):
    notes, entered = [], threading.Event()

    def second():
        with locked([tmp_path / "run"], notes.append):
            entered.set()

    (tmp_path / "run").mkdir()
    with (tmp_path / "run" / "run.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        thread = threading.Thread(target=second)
        thread.start()
        while not notes:
            assert thread.is_alive(), "does not wait"
            time.sleep(0.01)
        assert not entered.is_set()
    thread.join()
    assert notes == [f"waiting for another command that writes {tmp_path / 'run'}"]


def test_a_stage_inside_a_command_takes_the_same_lock_again(tmp_path):
    with locked([tmp_path, tmp_path / "report"], print), locked([tmp_path], print):
        pass
    with locked([tmp_path], print), (tmp_path / "run.lock").open() as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_other_ranks_of_a_training_take_no_lock(tmp_path, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    with locked([tmp_path / "run"], print):
        assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "runs").write_text("in the way")
    with pytest.raises(RunError, match="cannot write"), locked([tmp_path / "runs" / "x"], print):
        pass


def test_weights_are_not_read_with_the_fit_json_of_another_training(tmp_path, monkeypatch):
    folder = tmp_path / "run" / "models" / "mfcc" / "linear"
    about = {"labels": ["a", "b"], "backbone": {}, "pooling": ["mean"], "layer": 0, "configuration": {}}
    about["extra"] = {"fold": "1", "seed": 0, "stage1": {"backbone": {"name": "mfcc"}}}

    def train(job):
        start_fit(folder)
        state = {"weight_0": np.zeros((2, 40), "f4"), "bias_0": np.zeros(2, "f4")}
        save_head(folder / "fold-1-seed-0.safetensors", state, head="linear", **about)
        (folder / "fit.json").write_text(json.dumps({"job": job}))

    def load_after_another_training(path, trusted=()):
        train("second")
        return load_head(path, trusted)

    train("first")
    monkeypatch.setattr("pipeline.predicting.fitted.load_head", load_after_another_training)
    with pytest.raises(UserError, match="was trained again while it was read; run the same command again"):
        Predictor(find_model(folder))


def command(*arguments, cwd, **how):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | how.pop("env", {})
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", *map(str, arguments)],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **how,
    )


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shared")
    for number, label in enumerate(("low", "high")):
        for take in range(10):
            tone(folder / "sounds" / label / f"{take}.wav", 300 + 500 * number, 0.5, 16_000, 100 * number + take)
    (folder / "config.yaml").write_text(CONFIG)
    return folder


@pytest.mark.e2e
def test_the_same_command_twice_and_three_reports_at_once_lose_and_tear_nothing(experiment):
    """The second `run` uses what the first one has trained; readers see whole files at any time."""
    both = [command("run", "config.yaml", cwd=experiment) for _ in range(2)]
    for process in both:
        out, err = process.communicate(timeout=400)
        assert process.returncode == 0, err
        assert "Traceback" not in out + err
    report = experiment / "runs" / "shared" / "report"
    files = sorted(path.relative_to(report) for path in report.rglob("*"))
    assert not [path for path in files if path.suffix == ".tmp"]
    reports = [command("report", "config.yaml", cwd=experiment) for _ in range(3)]
    while any(process.poll() is None for process in reports):
        assert len(pd.read_csv(report / "results.csv")) == 2  # the head and the majority row
        assert json.loads((report / "results.json").read_text())["rows"]
        assert (report / "index.html").read_text().rstrip().endswith("</html>")
        assert (report / "results.tex").stat().st_size
        assert len(pd.read_csv(report.parent / "manifest.csv")) == 20
        time.sleep(0.002)
    for process in reports:
        err = process.communicate()[1]
        assert process.returncode == 0, err
    assert sorted(path.relative_to(report) for path in report.rglob("*")) == files


@pytest.mark.e2e
def test_a_predict_that_is_terminated_leaves_no_folder(experiment, tmp_path):
    if not (experiment / "runs").exists():
        trained = command("run", "config.yaml", cwd=experiment)
        err = trained.communicate(timeout=400)[1]
        assert trained.returncode == 0, err
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    clips = tmp_path / "clips"
    clips.mkdir()
    for number in range(40):  # minutes of work
        sf.write(clips / f"{number}.flac", np.zeros(16_000 * 600, "f4"), 16_000)
    model = Path("runs") / "shared" / "models" / "mfcc" / "linear"
    process = command("predict", model, clips, cwd=experiment, env={"TMPDIR": str(scratch)})
    deadline = time.monotonic() + 200
    while not list(scratch.glob("audioheads-*/*")):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=200)
    assert process.returncode in (128 + signal.SIGTERM, -signal.SIGTERM)
    assert list(scratch.iterdir()) == []
