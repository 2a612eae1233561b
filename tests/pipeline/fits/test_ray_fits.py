"""Fits in Ray actors: the same files as without Ray, also if an actor dies."""

import importlib.util
import os
import signal
from functools import partial
from pathlib import Path

import pytest

from features.distributed.cluster import ray_cluster
from features.distributed.pool import ATTEMPTS
from features.errors import ManifestError, RunError
from pipeline.config.config import load_config
from pipeline.console import Console
from pipeline.fits.pool import train_on_ray
from pipeline.fits.task import FitTask
from tests.pipeline.fits.test_stage2_shards import command, embed, results  # noqa: F401

if importlib.util.find_spec("ray") is None:  # not imported here: `import_ray` sets what Ray reads on import
    pytest.skip("needs the extra `ray`", allow_module_level=True)
pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("global_state", "cluster")]
ONE = ["ray.actors=1", "ray.cpus_per_actor=0.5", "ray.gpus_per_actor=0"]


@pytest.fixture(scope="module")
def cluster():
    """One cluster for all tests; starting one takes seconds."""
    with ray_cluster() as ray:
        yield ray


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("dataset: {kind: folder, root: sounds}\n")
    return load_config(path, [*ONE, f"output.runs={tmp_path}"])


def tasks_of(config, device, console, job="job"):
    """Three fits that write the number of torch's threads; an actor dies at the second one while `lives` has files."""

    def train(file):
        import torch

        lives = sorted((config.output.runs / "lives").iterdir())
        if file.name == "1" and lives:
            lives[0].unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        file.write_text(str(torch.get_num_threads()))
        return f"on {device}"

    files = [config.output.runs / str(number) for number in range(3)]
    return [FitTask(f"fit {file.name}", file, job, file.exists, partial(train, file)) for file in files]


def give_lives(folder: Path, count: int) -> None:
    (folder / "lives").mkdir()
    for number in range(count):
        (folder / "lives" / str(number)).touch()


def test_the_fit_of_an_actor_that_died_is_trained_by_another(config, tmp_path, capsys):
    give_lives(tmp_path, 1)
    train_on_ray(tasks_of(config, "cpu", None), tasks_of, config, "cpu", "train-heads x", Console())
    assert [(tmp_path / str(number)).read_text() for number in range(3)] == ["1", "1", "1"]
    printed = capsys.readouterr()
    assert sorted(printed.out.splitlines()) == [f"fit {n}: on cpu → {tmp_path / str(n)}" for n in range(3)]
    notes = [line for line in printed.err.splitlines() if "waiting for the cluster" not in line]
    assert [note.startswith("an actor on ") and note.endswith("died; another one trains fit 1") for note in notes] == [
        True
    ], notes


@pytest.mark.slow
def test_a_fit_that_kills_every_actor_ends_the_run(config, tmp_path):
    give_lives(tmp_path, ATTEMPTS)
    with pytest.raises(RunError, match=rf"{ATTEMPTS} actors died while training fit 1, the last on .*finished fits"):
        train_on_ray(tasks_of(config, "cpu", None), tasks_of, config, "cpu", "train-heads x", Console())


def blind(config, device, console):
    raise ManifestError("sounds: no such folder")


def test_an_actor_that_sees_no_clips_or_other_clips_is_one_line(config, tmp_path):
    give_lives(tmp_path, 0)
    tasks = tasks_of(config, "cpu", None)
    for opened, line in (
        (blind, r"^\S+: sounds: no such folder \(dataset.root, output.cache and output.runs must be folders that all"),
        (partial(tasks_of, job="another"), r"^fit 0: \S+ sees other clips or cache files than the machine that"),
    ):
        with pytest.raises(RunError, match=line):
            train_on_ray(tasks, opened, config, "cpu", "train-heads x", Console())
    assert not (tmp_path / "0").exists()


def test_heads_trained_in_two_actors_are_bit_equal_to_those_of_one_process(command):  # noqa: F811
    embed(command, "alone", "parts")
    assert command("train-heads", "x.yaml")[0] == 0
    actors = ["--set", "ray={actors: 2, cpus_per_actor: 0.5}", "--engine", "ray"]
    code, out, err = command("train-heads", "x.yaml", "--set", "name=parts", *actors)
    assert (code, out.count(" → runs/parts/")) == (0, 6), err
    assert results("parts") == results("alone")


@pytest.mark.slow
def test_models_trained_in_an_actor_are_bit_equal_to_those_of_one_process(command):  # noqa: F811
    pytest.importorskip("lightning")
    assert command("finetune", "x.yaml")[0] == 0
    actors = ["--set", "ray={actors: 1, cpus_per_actor: 1}", "--engine", "ray"]
    code, out, err = command("finetune", "x.yaml", "--set", "name=parts", *actors)
    assert (code, out.count("2 epochs"), out.count("m5: 5 fits, ")) == (0, 5, 1), err
    assert results("parts") == results("alone")
