"""Curves in TensorBoard, SwanLab and CSV, several at once; nothing printed; what cannot work is said first."""

import csv
from importlib.util import find_spec

import pytest

from features.errors import ConfigError
from heads.finetuning import loggers as tracking
from heads.finetuning.loggers import Tracking, check_tracking, open_trackers

CURVES = [
    {"train/loss": 2.0, "valid/loss": 3.0, "learning_rate": 0.1},
    {"train/loss": 1.0, "valid/loss": 2.5, "learning_rate": 0.05},
]


def test_all_trackers_take_the_same_curves_and_print_nothing(tmp_path, capfd):
    pytest.importorskip("tensorboard")
    pytest.importorskip("swanlab")
    entries = [Tracking(name=name) for name in ("tensorboard", "swanlab", "csv")]
    check_tracking(entries)
    for epochs in (1, 2):  # the second as after a kill: one epoch is there
        trackers = open_trackers(entries, tmp_path, "exp", "cnn/fold-1-seed-0", {"epochs": 2}, epochs - 1)
        for tracker in trackers:
            tracker.log(CURVES[:epochs])
            tracker.close()
    assert capfd.readouterr() == ("", "")

    with (tmp_path / "csv" / "cnn" / "fold-1-seed-0.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["epoch"], float(row["train/loss"])) for row in rows] == [("0", 2.0), ("1", 1.0)]
    assert "epochs: 2" in (tmp_path / "csv" / "cnn" / "fold-1-seed-0.yaml").read_text()

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "tensorboard" / "cnn" / "fold-1-seed-0")).Reload()
    assert set(events.Tags()["scalars"]) == set(CURVES[0])
    assert [(event.step, event.value) for event in events.Scalars("valid/loss")] == [(0, 3.0), (1, 2.5)]

    runs = list((tmp_path / "swanlab").glob("run-*/*.swanlab"))
    assert len(runs) == 2
    assert all(b"valid/loss" in run.read_bytes() for run in runs)


def test_a_mode_that_cannot_work_is_one_line(monkeypatch):
    monkeypatch.setattr(tracking, "find_spec", lambda name: None if name == "swanboard" else find_spec(name))
    with pytest.raises(ConfigError, match=r"pip install 'swanlab\[dashboard\]'") as caught:
        check_tracking([Tracking(name="swanlab", mode="local")])
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["tensorboard", "swanlab"])
def test_a_tracker_that_is_not_installed_is_one_line(monkeypatch, name):
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=f"{name} is not installed"):
        check_tracking([Tracking(name="csv"), Tracking(name=name)])
