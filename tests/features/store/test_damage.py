"""Interrupts, damaged files and full disks: nothing finished is lost, nothing damaged is used."""

import os
import resource
import shutil
import sys
import time
from pathlib import Path

import h5py
import pytest

import features.store.finalize
from features.errors import CacheError, RunError
from features.store import hdf5_file as checked_file
from features.store import table
from features.store.checks import InvalidCacheError
from features.store.verify import verify_table
from features.store.writer import write_file
from tests import processes
from tests.features.toys import NAMES, RATE, Corpus, Log, Toy, noise, rows_of, temporaries


def interrupted(corpus, manifest, after=3):
    """Run until `after` blocks are done."""

    class Stops(Toy):
        calls = 0

        def forward(self, waveforms, lengths):
            Stops.calls += 1
            if Stops.calls > after:
                raise KeyboardInterrupt
            return super().forward(waveforms, lengths)

    corpus.backbone = Stops
    with pytest.raises(KeyboardInterrupt):
        corpus.run(manifest, block_rows=1)
    corpus.backbone = Toy
    corpus.log = Log()
    return sorted(corpus.file().with_suffix(".parts").glob("shard-*.h5"))


def test_finished_blocks_survive_an_interrupt(seven):
    manifest = seven.manifest(*NAMES)
    assert len(interrupted(seven, manifest)) == 3
    summary = seven.run(manifest, block_rows=1)
    assert (summary.computed, summary.reused, seven.log.started) == (4, 3, [4])
    assert set(rows_of(summary.path)) == set(NAMES)
    assert temporaries(seven.cache) == []


def test_a_resumed_run_keeps_the_plan_despite_other_settings(seven):
    manifest = seven.manifest(*NAMES)
    interrupted(seven, manifest)
    summary = seven.run(manifest, block_rows=100, batch_s=100.0)
    assert (summary.computed, summary.reused) == (4, 3)
    assert seven.log.batches == 4


def test_files_touched_or_moved_between_a_kill_and_its_resume_are_still_the_same_audio(seven, tmp_path):
    manifest = seven.manifest(*NAMES)
    interrupted(seven, manifest)
    for name in NAMES:
        os.utime(seven.root / name, ns=(1, 1))
    seven.root.rename(tmp_path / "elsewhere")
    seven.root = tmp_path / "elsewhere"
    summary = seven.run(seven.manifest(*NAMES), block_rows=1)
    assert (summary.computed, summary.reused, summary.failures) == (4, 3, {})


def test_another_manifest_after_an_interrupt_keeps_the_finished_blocks(seven):
    done = len(interrupted(seven, seven.manifest(*NAMES)))
    seven.write("new.wav")
    summary = seven.run(seven.manifest(*NAMES, "new.wav"), block_rows=1)
    assert (summary.computed, summary.reused) == (8 - done, done)
    assert any("keeping 3 finished block" in note for note in seven.log.notes)
    assert temporaries(seven.cache) == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b[:3000] + b"!!" + b[3002:],
        *(pytest.param(damage, marks=pytest.mark.crash) for damage in (lambda b: b[:-1], lambda b: b"")),
    ],
)
def test_a_damaged_shard_is_computed_again_and_noted(seven, damage):
    manifest = seven.manifest(*NAMES)
    shard = interrupted(seven, manifest)[1]
    shard.write_bytes(damage(shard.read_bytes()))
    summary = seven.run(manifest, block_rows=1)
    assert (summary.computed, summary.reused) == (5, 2)
    assert seven.log.notes == [f"{shard.name} is damaged: its block is computed again"]
    assert set(rows_of(summary.path)) == set(NAMES)


@pytest.mark.crash
@pytest.mark.parametrize("loss", ["damaged", "deleted", "replaced"])
def test_a_shard_damaged_before_finalizing_is_computed_again_and_noted(seven, loss):
    shard = seven.file().with_suffix(".parts") / "shard-000002.h5"

    class Harming(Log):
        """Damages the third block's shard at the last batch of the four blocks."""

        def advance(self, *counts):
            super().advance(*counts)
            if self.batches != 4:
                return
            until = time.monotonic() + 60
            while not shard.exists() and time.monotonic() < until:
                time.sleep(0.001)
            shard.unlink()
            if loss == "damaged":
                shard.write_bytes(b"\x89HDF garbage")
            elif loss == "replaced":
                with h5py.File(shard, "w") as file:
                    file["x"] = 1

    seven.log = Harming()
    summary = seven.run(seven.manifest(*NAMES), block_rows=2)
    assert seven.log.batches == 5
    assert set(rows_of(summary.path)) == set(NAMES)
    assert seven.log.notes == ["shard-000002.h5 is damaged: its block is computed again"]
    assert temporaries(seven.cache) == []


def test_a_block_that_is_damaged_again_ends_the_run_in_one_line_that_names_it(seven, monkeypatch):
    """As when the writer and the checks disagree about what a cache file may hold."""
    computed = []

    class Counts(Toy):
        def forward(self, waveforms, lengths):
            computed.append(len(lengths))
            assert len(computed) < 20, "computes for ever"
            return super().forward(waveforms, lengths)

    def disagrees(ids, *columns, right=table.check_clips):
        right(ids, *columns)
        if ids.to_pylist() == NAMES[2:3]:
            raise InvalidCacheError("a clip is not to this check's taste")

    seven.backbone = Counts
    with monkeypatch.context() as patched:
        patched.setattr(table, "check_clips", disagrees)
        with pytest.raises(RunError, match=r"parts/shard-000004\.h5 is damaged again .*this check's taste") as error:
            seven.run(seven.manifest(*NAMES), block_rows=1, batch_s=0.01)
    assert "\n" not in str(error.value)
    assert len(computed) == len(NAMES) + 1
    assert seven.log.notes == ["shard-000004.h5 is damaged: its block is computed again"]
    summary = seven.run(seven.manifest(*NAMES), block_rows=1)  # nothing was lost
    assert (summary.computed, summary.reused) == (0, len(NAMES))


def test_a_shard_of_other_settings_is_rejected(seven, monkeypatch):
    manifest = seven.manifest(*NAMES)
    shard = interrupted(seven, manifest)[0]
    other = seven.run(manifest, block_rows=100, pooling=("max",)).path
    shutil.copy(other, shard)
    assert seven.run(manifest, block_rows=1).computed == 5


@pytest.mark.crash
@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b"x" * 900, lambda b: b[:2000] + b"!!" + b[2002:]])
@pytest.mark.parametrize("grown", [False, True])
def test_a_damaged_cache_file_is_an_error_and_stays_as_it_is(seven, damage, grown):
    path = seven.run(seven.manifest(*NAMES)).path
    path.write_bytes(damage(path.read_bytes()))
    before = path.read_bytes()
    seven.write("new.wav")
    with pytest.raises(CacheError, match=r"damaged.*nothing was deleted"):
        seven.rerun(seven.manifest(*NAMES, *["new.wav"] * grown))
    assert path.read_bytes() == before
    path.unlink()
    assert seven.run(seven.manifest(*NAMES)).computed == 7


def test_a_cache_file_of_another_version_is_an_error_and_stays_as_it_is(seven, monkeypatch):
    monkeypatch.setattr(checked_file, "FORMAT_VERSION", 9)
    path = seven.run(seven.manifest(*NAMES)).path
    monkeypatch.undo()
    before = path.read_bytes()
    with pytest.raises(CacheError, match="cache format 9, this program reads 1"):
        seven.rerun(seven.manifest(*NAMES))
    assert path.read_bytes() == before


def test_a_cache_folder_that_is_a_file_is_one_line(seven):
    seven.cache.write_text("I am a file")
    with pytest.raises(RunError, match=r"cannot write .*cache") as error:
        seven.run(seven.manifest(*NAMES))
    assert "\n" not in str(error.value)
    assert seven.cache.read_text() == "I am a file"


@pytest.mark.crash
def test_a_disk_that_fills_while_finalizing_leaves_the_old_file_and_the_blocks(seven, monkeypatch):
    path = seven.run(seven.manifest(*NAMES[:3])).path
    before = path.read_bytes()

    def full(target, *args, **options):
        if target == path:
            raise RunError(f"cannot write {target} (No space left on device)")
        return write_file(target, *args, **options)

    monkeypatch.setattr(features.store.finalize, "write_file", full)
    with pytest.raises(RunError, match="No space left"):
        seven.run(seven.manifest(*NAMES))
    assert path.read_bytes() == before
    monkeypatch.undo()
    summary = seven.rerun(seven.manifest(*NAMES))
    assert (summary.reused, set(rows_of(path))) == (7, set(NAMES))


def write_little(root: Path, cache: Path, names: list[str]) -> None:
    """Run in a process that limits files to 60 kB."""
    corpus = Corpus(root, cache)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
    try:
        corpus.run(corpus.manifest(*names), pooling=("frames",), block_rows=2)
    except RunError as error:
        sys.stdout.write(f"{error}\n")
        sys.exit(3)


@pytest.mark.crash
def test_a_full_disk_is_one_line_and_the_next_run_finishes(seven):
    """A real limit on file size, in a separate process: the shards fit, the merged file does not."""
    seven.run(seven.manifest(*NAMES[:2]), pooling=("frames",))
    path = seven.file(pooling=("frames",))
    before = path.read_bytes()
    for number in range(12):
        seven.write(f"more{number}.wav", noise(RATE * 4, number))
    names = [*NAMES, *(f"more{number}.wav" for number in range(12))]
    done = processes.run(write_little, seven.root, seven.cache, names)
    assert done.returncode == 3, done.stderr
    assert (done.stdout.count("\n"), done.stderr) == (1, "")
    assert done.stdout.startswith(f"cannot write {path} (File too large)")
    assert path.read_bytes() == before
    summary = seven.rerun(seven.manifest(*names), pooling=("frames",))
    assert summary.reused == len(names)
    assert len(verify_table(path)) == len(names)
    assert temporaries(seven.cache) == []
