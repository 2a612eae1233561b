"""`train-heads` and `finetune` in shards, from the command line: the same files as one process writes."""

import importlib.util
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from pipeline.cli.app import main
from tests import processes
from tests.pipeline.small_corpora import tone

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("global_state")]

CONFIG = """
name: alone
dataset: {kind: folder, root: sounds}
features: {pooling: [mean, std], threads: 1, backbones: [{name: mfcc}, {name: mfcc, label: other, max_duration_s: 10}]}
heads: [{name: linear, l2: [1.0e-2, 1.0]}, {name: mlp, hidden: [4], max_epochs: 3}]
label_efficiency: {shots: [2, all], draws: 2, backbones: [mfcc]}
finetune:
  - name: m5
    epochs: 2
    batch_size: 4
    threads: 1
protocol: kfold
seeds: [0]
"""
TakesArguments = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> TakesArguments:
    """Runs a command in a folder with a corpus of two classes, whose clips are embedded."""
    monkeypatch.chdir(tmp_path)
    for number, label in enumerate(("low", "high")):
        for take in range(10):
            tone(Path(f"sounds/{label}/{take}.wav"), 300 + 900 * number, 0.6, 16_000, 10 * number + take)
    Path("x.yaml").write_text(CONFIG)

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return call


def embed(command: TakesArguments, *names: str) -> None:
    for name in names:
        code, _, err = command("features", "x.yaml", "--set", f"name={name}")
        assert code == 0, err


def results(name: str) -> dict[str, object]:
    """All numbers of a run's models and predictions, by file."""
    folder = Path("runs") / name
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".safetensors":
            found[str(path.relative_to(folder))] = {key: value.tolist() for key, value in load_file(path).items()}
        elif path.suffix == ".parquet":
            table = pd.read_parquet(path).drop(columns="run", errors="ignore")
            if "probabilities" in table:
                table["probabilities"] = [np.asarray(row).tolist() for row in table["probabilities"]]
            found[str(path.relative_to(folder))] = table.astype(object).to_numpy().tolist()
    return found


def test_heads_trained_by_three_shards_are_bit_equal_to_those_of_one_process(command: TakesArguments) -> None:
    embed(command, "alone", "parts")
    assert command("train-heads", "x.yaml")[0] == 0
    shards = ["train-heads", "x.yaml", "--set", "name=parts", "--shard"]
    code, out, _ = command(*shards, "3/3", "--dry-run")
    assert code == 0
    assert [line.split(":")[0] for line in out.splitlines()] == [
        "train-heads sounds other linear",
        "label-efficiency sounds mfcc linear all per class",
    ]
    assert not Path("runs/parts/models").exists()
    code, out, _ = command(*shards, "3/3")
    assert (code, "4 fits of 6 still missing in runs/parts: --shard 1/3, 2/3" in out) == (0, True)
    assert command(*shards, "1/3")[0] == 0
    assert not Path("runs/parts/predictions.parquet").exists()
    code, out, err = command(*shards, "2/3")
    assert (code, "missing" in out, err) == (0, False, "")
    alone, parts = results("alone"), results("parts")
    assert len(alone) > 10
    assert parts == alone
    assert command("train-heads", "x.yaml", "--set", "name=parts")[1].count("reused") == 6
    assert command("report", "x.yaml", "--set", "name=parts", "--set", "finetune=[]")[0] == 0


def test_models_trained_end_to_end_by_two_shards_are_bit_equal_to_those_of_one_process(command) -> None:
    pytest.importorskip("lightning")
    assert command("finetune", "x.yaml")[0] == 0
    shards = ["finetune", "x.yaml", "--set", "name=parts", "--shard"]
    assert command(*shards, "1/2", "--dry-run")[1].count("would train") == 3  # of five folds
    code, out, _ = command(*shards, "1/2")
    assert (code, "2 fits of 5 still missing in runs/parts: --shard 2/2" in out) == (0, True)
    assert not Path("runs/parts/models/m5/none/fit.json").exists()
    code, out, _ = command(*shards, "2/2")
    assert (code, "finetune sounds m5: 5 fits, " in out) == (0, True)
    assert results("parts") == results("alone")
    assert command("finetune", "x.yaml", "--set", "name=parts")[1].count("m5: reused") == 1


def run_shard_until_killed(arguments: list[str]) -> None:
    """A shard that is killed while it writes its second fit."""
    from pipeline.stages import head_tasks

    finish = head_tasks.finish_fit
    calls = []

    def deadly(*given: object) -> None:
        calls.append(given)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        finish(*given)  # type: ignore[arg-type]

    head_tasks.finish_fit = deadly  # type: ignore[assignment]
    main(arguments)


@pytest.mark.crash
def test_a_killed_shard_is_started_again_and_trains_what_it_had_not_finished(command: TakesArguments) -> None:
    embed(command, "alone", "parts")
    assert command("train-heads", "x.yaml")[0] == 0
    shards = ["train-heads", "x.yaml", "--set", "name=parts", "--shard"]
    killed = processes.run(run_shard_until_killed, [*shards, "1/2"])
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert "2 fits of 6 still missing in runs/parts: --shard 1/2" in command(*shards, "2/2")[1]
    code, out, err = command(*shards, "1/2")
    assert (code, out.count("reused"), err) == (0, 1, "")
    assert results("parts") == results("alone")


def test_shards_with_another_config_or_other_clips_are_refused_while_others_train(command: TakesArguments) -> None:
    fcntl = pytest.importorskip("fcntl", reason="no advisory locks on this system")
    embed(command, "alone")
    shard = ["train-heads", "x.yaml", "--shard", "1/2"]
    assert command(*shard)[0] == 0
    before = Path("runs/alone/config.yaml").read_text()
    with Path("runs/alone/run.lock").open() as other:
        fcntl.flock(other, fcntl.LOCK_SH)  # as another shard that is at work
        code, out, err = command(*shard, "--set", "seeds=[1]")
        assert (code, out) == (2, "")
        assert err == (
            "runs/alone: other shards train there with another config (seeds); start all shards with the same config "
            "and the same --set options, or give this config another `name`\n"
        )
        Path("sounds/low/0.wav").unlink()
        code, out, err = command(*shard)
        assert (code, out) == (2, "")
        assert err.startswith(
            "runs/alone: other shards train there on other clips than the 19 found here; all machines"
        )
        assert len(err.splitlines()) == 1
    assert Path("runs/alone/config.yaml").read_text() == before
    assert sorted(path.suffix for path in Path("runs/alone").glob("*.tmp")) == []


@pytest.mark.parametrize("stage", ["train-heads", "finetune"])
def test_bad_options_are_one_line(command: TakesArguments, stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments, line in (
        (["--shard", "3/2"], "--shard 3/2: should be I/N with I from 1 to N, such as 1/8 for the first of eight"),
        (["--shard", "1/2", "--engine", "ray"], "--shard 1/2 and --engine ray: use only one of them"),
        (["--engine", "ray", "--set", "ray.actors=0"], "ray.actors"),
    ):
        code, out, err = command(stage, "x.yaml", *arguments)
        assert (code, out, len(err.splitlines())) == (2, "", 1)
        assert line in err
    embed(command, "alone")
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *of: None if name == "ray" else found(name, *of))
    code, out, err = command(stage, "x.yaml", "--engine", "ray")
    assert (code, err) == (2, "--engine ray: ray is not installed; pip install 'audioheads[ray]'\n")
