"""Shards of one command: each trains its own fits, and none trains a fit that another process holds."""

import os
import signal
from functools import partial
from pathlib import Path

import pytest

from features.errors import UserError
from features.planning.run_shard import RunShard
from features.system.locks import claim
from pipeline.console import Console
from pipeline.fits.shard import CLAIMS, train_shard
from pipeline.fits.task import FitTask
from pipeline.results.run_folder import file_name
from pipeline.results.run_lock import joined, locked
from tests import processes


def tasks_in(folder: Path, count: int = 5) -> list[FitTask]:
    """Fits whose result is a file with the number of times that they were trained."""

    def train(file: Path) -> str:
        file.write_text(str(int(file.read_text() if file.exists() else 0) + 1))
        return "1 fold"

    files = [folder / f"fit-{number}" for number in range(count)]
    return [FitTask(f"train-heads x {file.name}", file, "job", file.exists, partial(train, file)) for file in files]


def train(folder: Path, shard: str, tasks: list[FitTask] | None = None) -> bool:
    tasks = tasks or tasks_in(folder)
    return train_shard(tasks, RunShard.parse(shard), folder, "cpu", "train-heads x", Console())


def trained(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(folder.glob("fit-*"))}


def test_each_shard_trains_its_own_fits_and_says_which_shards_are_missing(tmp_path, capsys):
    assert not train(tmp_path, "2/3")
    assert trained(tmp_path) == {"fit-1": "1", "fit-4": "1"}
    assert capsys.readouterr().out.splitlines()[-1] == (
        f"train-heads x: 3 fits of 5 still missing in {tmp_path}: --shard 1/3, 3/3"
    )
    assert not train(tmp_path, "1/3")
    assert train(tmp_path, "3/3")
    assert trained(tmp_path) == {f"fit-{number}": "1" for number in range(5)}
    assert train(tmp_path, "1/3")  # a shard that is started again trains nothing
    assert trained(tmp_path) == {f"fit-{number}": "1" for number in range(5)}
    assert list((tmp_path / CLAIMS).iterdir()) == []


def test_a_fit_that_another_process_is_training_is_left_to_it(tmp_path, capsys):
    name = file_name("train-heads x fit-0")
    with claim(tmp_path / CLAIMS / name) as held:
        assert held
        assert not train(tmp_path, "1/1")
    assert set(trained(tmp_path)) == {"fit-1", "fit-2", "fit-3", "fit-4"}
    printed = capsys.readouterr()
    assert printed.err == "train-heads x fit-0: left to another process, which is training it\n"
    assert "1 fit of 5 still missing" in printed.out
    assert train(tmp_path, "1/1")


def test_a_fit_finished_by_another_process_before_it_was_claimed_is_not_trained_again(tmp_path):
    (first, *others) = tasks_in(tmp_path)

    def also_the_second() -> str:
        others[0].train()
        return first.train()

    eager = FitTask(first.what, first.folder, first.job, first.is_done, also_the_second)
    assert train(tmp_path, "1/1", [eager, *others])
    assert trained(tmp_path)["fit-1"] == "1"


def hold_until_killed(folder: Path) -> None:
    """Claim the first fit, as a process that trains it does, and die."""
    with claim(folder / CLAIMS / file_name("train-heads x fit-0")) as held:
        assert held
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.crash
def test_the_claim_of_a_dead_process_does_not_hold(tmp_path):
    assert processes.run(hold_until_killed, tmp_path).returncode == -signal.SIGKILL
    assert list((tmp_path / CLAIMS).iterdir())
    assert train(tmp_path, "1/1")


def test_shards_hold_the_run_folder_together_and_other_commands_wait(tmp_path):
    fcntl = pytest.importorskip("fcntl", reason="no advisory locks on this system")
    prepared = []
    with joined(tmp_path, print, lambda: prepared.append("first")):
        with (tmp_path / "run.lock").open() as other:
            fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)  # another shard
        with (tmp_path / "run.lock").open() as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with locked([tmp_path], print):  # a stage inside takes the folder as held
            pass
    with (tmp_path / "run.lock").open() as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        with joined(tmp_path, print, lambda: prepared.append("second")):
            pass
    assert prepared == ["first"]


@pytest.mark.parametrize("text", ["3/2", "0/2", "1", "1/0", "a/b"])
def test_a_shard_that_cannot_be_is_one_line(text):
    with pytest.raises(UserError, match=rf"--shard {text}: should be I/N with I from 1 to N"):
        RunShard.parse(text)
