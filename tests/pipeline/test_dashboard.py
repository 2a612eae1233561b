"""`make dashboard` opens the recorded curves, or explains how to record some."""

import pytest

from features.errors import UserError
from pipeline import dashboard


def test_tensorboard_shows_what_it_can_read(tmp_path):
    pytest.importorskip("tensorboard")
    (tmp_path / "exp" / "tracking" / "tensorboard").mkdir(parents=True)
    (tmp_path / "exp" / "tracking" / "csv").mkdir()
    command = dashboard.viewer(tmp_path, ["--port", "1"])
    assert command[1:] == ["-m", "tensorboard.main", "--logdir", str(tmp_path), "--port", "1"]


@pytest.mark.parametrize(("kind", "words"), [("csv", "add `tensorboard`"), ("swanlab", r"swanlab\[dashboard\]")])
def test_curves_without_a_viewer_are_reported(tmp_path, monkeypatch, kind, words):
    monkeypatch.setattr(dashboard, "find_spec", lambda name: None)
    (tmp_path / "exp" / "tracking" / kind).mkdir(parents=True)
    with pytest.raises(UserError, match=words):
        dashboard.viewer(tmp_path)


def test_missing_curves_are_reported(tmp_path):
    with pytest.raises(UserError, match="no training curves"):
        dashboard.viewer(tmp_path)
