"""Stage 1 in Ray actors: rows equal those of a local run, even if actors die."""

import importlib.util
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from features import backbones
from features.distributed.cluster import ray_cluster
from features.distributed.engine import RayEngine
from features.distributed.options import ActorOptions
from features.distributed.pool import ATTEMPTS
from features.errors import RunError, UserError, WeightsError
from features.extract import extract
from features.planning.settings import Settings
from tests.features.toys import NAMES, Log, Toy, noise, rows_of, temporaries

if importlib.util.find_spec("ray") is None:  # not imported here: `import_ray` sets what Ray reads on import
    pytest.skip("needs the extra `ray`", allow_module_level=True)
ONE = ActorOptions(actors=1, cpus_per_actor=0.5, gpus_per_actor=0)
TWO = ActorOptions(actors=2, cpus_per_actor=0.5, gpus_per_actor=0)
FOUR = {"block_rows": 2}  # seven clips: four blocks


@pytest.fixture(scope="module")
def cluster():
    """One cluster for all tests; starting one takes seconds."""
    with ray_cluster() as ray:
        yield ray


on_ray = pytest.mark.usefixtures("cluster")


class Mortal(Toy):
    """Dies at its second batch while `lives` has files; its values contain the number of threads."""

    lives: Path

    def __init__(self, spec):
        super().__init__(spec)
        self.batches = 0

    def forward(self, waveforms, lengths):
        self.batches += 1
        if self.batches == 2 and (left := sorted(self.lives.iterdir())):
            left[0].unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        frames = super().forward(waveforms, lengths)
        frames.values[:, 0] = torch.get_num_threads()
        return frames


@pytest.fixture
def mortal(seven, tmp_path, monkeypatch):
    """Makes `times` actors die."""

    def prepare(times):
        lives = tmp_path / "lives"
        lives.mkdir()
        for number in range(times):
            (lives / str(number)).touch()

        def backbone(spec):
            made = Mortal(spec)
            made.lives = lives
            return made

        seven.backbone = backbone
        return seven

    return prepare


def equal(rows, others):
    return rows.keys() == others.keys() and all(np.array_equal(rows[clip], others[clip]) for clip in rows)


@pytest.mark.e2e
@on_ray
@pytest.mark.parametrize("name", [pytest.param("mfcc", marks=pytest.mark.slow), "wav2vec2"])
def test_rows_are_bit_equal_to_those_of_a_run_without_ray(corpus, tmp_path, name):
    options = {"name": "mfcc"} if name == "mfcc" else {"name": "wav2vec2", "weights": "random", "size": "tiny"}
    for number in range(7):
        corpus.write(f"{number}.wav", noise(6000 + 1117 * number, number), 16_000)
    spec, manifest = backbones.describe(options), corpus.manifest(*NAMES)
    settings = Settings(block_rows=2, threads=2, pooling=("mean", "std"))
    rows = {}
    for way, how in {"here": {}, "ray": {"engine": RayEngine(TWO)}}.items():
        load = lambda: backbones.load(options, spec=spec)  # noqa: E731
        summary = extract(manifest, spec, load, settings, tmp_path / way, Log(), **how)
        assert summary.computed == 7
        assert summary.audio_s == pytest.approx(sum(6000 + 1117 * n for n in range(7)) / 16_000)
        rows[way] = [rows_of(summary.path, pooling) for pooling in settings.pooling]
    for here, there in zip(rows["here"], rows["ray"], strict=True):
        assert equal(here, there)


@pytest.mark.e2e
@on_ray
def test_blocks_of_an_actor_that_is_killed_are_computed_by_another_with_the_plans_threads(mortal, tmp_path, capfd):
    seven = mortal(1)
    summary = seven.run(seven.manifest(*NAMES), engine=RayEngine(ONE), **FOUR, batch_s=0.1, threads=3)
    assert (summary.computed, list((tmp_path / "lives").iterdir())) == (7, [])
    # no block is missing at the end; on a busy machine, starting an actor may take long
    others = ("waiting for the cluster", "in a process of its own")  # what the actor was decoding is isolated
    (note,) = [note for note in seven.log.notes if not any(text in note for text in others)]
    assert "died; another one takes its" in note
    assert temporaries(seven.cache) == []
    assert capfd.readouterr() == ("", "")
    rows = rows_of(summary.path)
    assert {float(row[0].mean()) for row in rows.values()} == {3.0}
    seven.cache = tmp_path / "undisturbed"
    assert equal(rows, rows_of(seven.run(seven.manifest(*NAMES), **FOUR, batch_s=0.1, threads=3).path))


@pytest.mark.slow
@on_ray
def test_a_block_that_kills_every_actor_ends_the_run(mortal):
    seven = mortal(ATTEMPTS)
    with pytest.raises(RunError, match=rf"{ATTEMPTS} actors died at block \d \(its first clip is '\d.wav'\)"):
        seven.run(seven.manifest(*NAMES), engine=RayEngine(ONE), block_rows=7, batch_s=0.1)
    seven.backbone = Toy
    assert seven.run(seven.manifest(*NAMES)).computed == 7


@pytest.mark.e2e
@on_ray
def test_what_goes_wrong_in_an_actor_is_the_same_one_line(seven):
    def weightless(spec):
        raise WeightsError("no weights")

    seven.backbone = weightless
    with pytest.raises(WeightsError, match=r"^no weights$"):
        seven.run(seven.manifest(*NAMES), engine=RayEngine(ONE))
    assert temporaries(seven.cache) == []


@pytest.mark.e2e
@on_ray
def test_more_than_the_cluster_has_is_one_line(seven):
    with pytest.raises(
        RunError, match=r"the Ray cluster has \d+ CPU, \d GPU, but an actor needs 1000 CPU, 0 GPU; see features.ray"
    ):
        seven.run(seven.manifest(*NAMES), engine=RayEngine(ActorOptions(cpus_per_actor=1000)))


def test_without_ray_one_line_names_the_extra(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"ray is not installed; pip install 'audioheads\[ray\]'"):
        RayEngine(TWO)
