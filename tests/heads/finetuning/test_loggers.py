"""Curves in TensorBoard, SwanLab and CSV, several at once; no output; unusable loggers are reported first."""

import csv
from importlib.util import find_spec

import pytest

from features.errors import ConfigError
from heads.finetuning import loggers
from heads.finetuning.finetune import finetune
from heads.finetuning.loggers import check_tracking, open_loggers
from heads.finetuning.options import Tracking
from heads.models.options import CnnOptions
from tests.heads.learnables import Task


def test_all_loggers_hold_every_epoch_of_a_resumed_fit_and_print_nothing(tmp_path, capfd):
    pytest.importorskip("tensorboard")
    pytest.importorskip("swanlab")
    entries = [Tracking(name=name) for name in ("tensorboard", "swanlab", "csv")]
    check_tracking(entries)
    task = Task(CnnOptions(name="cnn", epochs=3, batch_size=8, channels=[4], threads=1))

    def run(fit, on_step=lambda clips: None):
        return finetune(
            task.build,
            task.clips,
            task.rows,
            task.options,
            0,
            tmp_path / fit,
            loggers=lambda state: open_loggers(entries, tmp_path, "exp", f"cnn/{fit}", {"epochs": 3}),
            on_step=on_step,
        )

    steps = []

    def kill(clips):
        steps.append(clips)
        if len(steps) == 2 * 3 + 1:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        run("fold-1-seed-0", kill)
    curves = run("fold-1-seed-0").state.curves
    run("fold-2-seed-0")
    assert capfd.readouterr() == ("", "")

    with (tmp_path / "csv" / "cnn" / "fold-1-seed-0" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    assert [{name: float(row[name]) for name in curves[0]} for row in rows] == curves
    assert "epochs: 3" in (tmp_path / "csv" / "cnn" / "fold-1-seed-0" / "hparams.yaml").read_text()

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "tensorboard" / "cnn" / "fold-1-seed-0")).Reload()
    assert set(events.Tags()["scalars"]) == {"epoch", *curves[0]}
    logged = [(event.step, event.value) for event in events.Scalars("valid/loss")]
    assert logged == [(epoch, pytest.approx(row["valid/loss"])) for epoch, row in enumerate(curves)]
    assert events.Tags()["tensors"] == ["config/text_summary"]

    runs = list((tmp_path / "swanlab").glob("run-*/*.swanlab"))
    assert len(runs) == 3  # a resumed fit has a second run, which holds all its epochs
    assert all(b"valid/loss" in run.read_bytes() for run in runs)


def test_a_mode_that_cannot_work_is_one_line(monkeypatch):
    monkeypatch.setattr(loggers, "find_spec", lambda name: None if name == "swanboard" else find_spec(name))
    with pytest.raises(ConfigError, match=r"pip install 'swanlab\[dashboard\]'") as caught:
        check_tracking([Tracking(name="swanlab", mode="local")])
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["tensorboard", "swanlab"])
def test_a_tracker_that_is_not_installed_is_one_line(monkeypatch, name):
    monkeypatch.setattr(loggers, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=f"{name} is not installed"):
        check_tracking([Tracking(name="csv"), Tracking(name=name)])
