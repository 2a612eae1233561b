"""Time and size of the models of a run, measured after training."""

import json
import shutil

import pandas as pd
import pytest

from pipeline.results.device_costs import DEVICE_FILE
from pipeline.results.table import DEVICE_COLUMNS
from tests.pipeline.benching.test_bench import size_of
from tests.pipeline.predicting.conftest import run

pytestmark = pytest.mark.e2e
COLUMNS = list(DEVICE_COLUMNS)
CHOICE = ">time of one clip on the CPU<"  # of the chart of costs


def table_of(run_dir) -> pd.DataFrame:
    return pd.read_csv(run_dir / "report" / "results.csv").set_index(["model", "head"])


def copied(measured_run, tmp_path):
    """A copy of the run, its config and its clips."""
    root = tmp_path / "copy"
    shutil.copytree(measured_run.parents[1], root)
    text = (root / "small.yaml").read_text().replace(str(measured_run.parents[1]), str(root))
    config = root / "small.yaml"
    heads = "[{name: linear, l2: [1.0e-2]}, {name: knn, k: [3]}, {name: attention, units: 4, max_epochs: 2}]"
    backbones = "[{name: mfcc}, {name: wav2vec2, weights: random, size: tiny}]"
    models = "[{name: cnn, epochs: 1, batch_size: 8, channels: [4, 8], threads: 1}]"
    config.write_text(text)
    sets = (f"heads={heads}", f"features.backbones={backbones}", f"finetune={models}", "seeds=[0]", "bench.clips=3")
    return root / "runs" / "small", [config, "--device", "cpu", *(part for one in sets for part in ("--set", one))]


def test_every_model_has_its_figures_in_all_tables(measured_run):
    table = table_of(measured_run)
    rows = json.loads((measured_run / "report" / "results.json").read_text())["rows"]
    page = (measured_run / "report" / "index.html").read_text(encoding="utf-8")
    markdown = (measured_run / "report" / "results.md").read_text(encoding="utf-8")
    assert list(table.columns[-3:]) == COLUMNS and "ms/clip" in markdown and CHOICE in page
    assert len(rows) == len(table) == 8
    for row in rows:
        own = table.loc[(row["model"], row["head"]) if row["head"] else (row["model"], pd.NA)].squeeze()
        if row["family"] == "baseline":
            assert own[COLUMNS].isna().all() and row["device"] is None
            continue
        folder = measured_run / "models" / row["model"] / row["head"]
        kept = json.loads((folder / DEVICE_FILE).read_text())
        (weights,) = folder.glob("*.safetensors")
        assert kept["sizes"]["head"] == size_of(weights)
        assert kept["size_mb"] == (kept["sizes"]["backbone"] + kept["sizes"]["head"]) / 1e6
        assert kept["latency"]["n_clips"] == 3 and kept["machine"]["threads"] == 1 and row["device"] == kept
        for name in COLUMNS:
            assert row[name] == kept[name] and own[name] == pytest.approx(kept[name]) and kept[name] > 0
        assert f"{kept['latency_ms']:.1f}</td>" in page
    frozen = [row for row in rows if row["model"] == "wav2vec2"]
    assert len({row["device"]["sizes"]["backbone"] for row in frozen}) == 1


def test_models_are_measured_once_and_only_if_the_config_says_so(measured_run, tmp_path, capsys):
    run_dir, arguments = copied(measured_run, tmp_path)
    before = table_of(run_dir)
    files = sorted(run_dir.rglob(DEVICE_FILE))
    times = [file.stat().st_mtime_ns for file in files]
    assert run("train-heads", *arguments) == 0 and len(files) == 7
    assert times == [file.stat().st_mtime_ns for file in files] and "bench" not in capsys.readouterr().err
    for file in files:
        file.unlink()
    assert run("train-heads", *arguments, "--set", "bench=null") == 0
    assert run("report", arguments[0], *arguments[3:]) == 0
    after = table_of(run_dir)
    assert not sorted(run_dir.rglob(DEVICE_FILE)) and after[COLUMNS].isna().all().all()
    pd.testing.assert_frame_equal(before.drop(columns=COLUMNS), after.drop(columns=COLUMNS))
    text = (run_dir / "report" / "results.md").read_text(encoding="utf-8")
    assert "ms/clip" not in text and CHOICE not in (run_dir / "report" / "index.html").read_text(encoding="utf-8")
    capsys.readouterr()
    assert run("train-heads", *arguments) == 0
    assert "bench wav2vec2: 3 models, from" in capsys.readouterr().err
    assert sorted(run_dir.rglob(DEVICE_FILE)) == files


def test_a_model_that_cannot_be_measured_costs_one_line(measured_run, tmp_path, capsys, monkeypatch):
    run_dir, arguments = copied(measured_run, tmp_path)
    for file in run_dir.rglob(DEVICE_FILE):
        file.unlink()

    def fail(*_args, **_options):
        raise RuntimeError("no such instruction")

    monkeypatch.setattr("features.backbones.wav2vec2.load", fail)
    capsys.readouterr()
    assert run("train-heads", *arguments) == 0
    error = capsys.readouterr().err
    assert (
        "bench wav2vec2: not measured: wav2vec2: cannot be loaded (RuntimeError: no such instruction)" in error
        and "bench mfcc: 3 models" in error
    )
