"""Injected faults: unavailable folders, full disks, changing files, failing decoders."""

import os
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from features.audio import file as audio_file
from features.errors import RunError
from features.inference import frame_buffer
from features.store import shard_set
from features.store.verify import verify_table
from features.system import retry
from tests import processes
from tests.features.toys import NAMES, RATE, Corpus, Toy, noise, rows_of, temporaries


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(retry, "RETRY_EVERY_S", 0.02)


class Unavailable:
    """Renames a folder at the n-th batch, and back after half a second."""

    def __init__(self, corpus, folder: Path, batch: int, back: bool = True) -> None:
        self.folder, self.moved, self.back = folder, folder.with_name("unmounted"), back
        self.left = batch
        self.thread = threading.Thread(target=self.come_back)
        gone = self

        class Leaving(Toy):
            def forward(self, waveforms, lengths):
                gone.left -= 1
                if gone.left == 0:
                    gone.folder.rename(gone.moved)
                    gone.thread.start()
                return super().forward(waveforms, lengths)

        corpus.backbone = Leaving

    def come_back(self) -> None:
        time.sleep(0.5)
        if self.back:
            self.moved.rename(self.folder)


@pytest.fixture
def undisturbed(seven, tmp_path):
    """Rows of an uninterrupted run."""
    here, seven.cache = seven.cache, tmp_path / "undisturbed"
    rows = rows_of(seven.run(seven.manifest(*NAMES), block_rows=1, threads=1).path)
    seven.cache = here
    seven.log.notes.clear()
    return rows


@pytest.mark.crash
@pytest.mark.parametrize("batch", [2, 7])
@pytest.mark.parametrize("set_bytes", [0, 1 << 30])
def test_a_run_waits_for_an_unavailable_cache_folder(seven, undisturbed, monkeypatch, batch, set_bytes):
    monkeypatch.setattr(shard_set, "SET_BYTES", set_bytes)
    gone = Unavailable(seven, seven.cache, batch)
    summary = seven.run(seven.manifest(*NAMES), block_rows=1, threads=1)
    gone.thread.join()
    assert [note for note in seven.log.notes if "is unavailable; waiting up to 600 s" in note]
    assert (summary.computed, summary.failures) == (7, {})
    rows = rows_of(summary.path)
    assert all(np.array_equal(rows[clip], undisturbed[clip]) for clip in NAMES)
    assert temporaries(seven.cache) == []


@pytest.mark.crash
@pytest.mark.parametrize("seconds", [1, 25])
def test_an_unavailable_folder_of_clips_fails_no_clip(seven, seconds):
    names = [f"more{n}.wav" for n in range(12)]
    for number, name in enumerate(names):
        seven.write(name, noise(RATE * seconds, number))
    gone = Unavailable(seven, seven.root, 2)
    summary = seven.run(seven.manifest(*names), block_rows=1)
    gone.thread.join()
    assert [note for note in seven.log.notes if "is unavailable; waiting" in note]
    assert (summary.computed, summary.failures) == (12, {})


@pytest.mark.crash
def test_a_folder_that_stays_unavailable_is_one_line_and_the_next_run_continues(seven, monkeypatch):
    monkeypatch.setattr(retry, "GIVE_UP_AFTER_S", 0.3)
    gone = Unavailable(seven, seven.cache, 7, back=False)  # the shards lag behind by a few batches
    with pytest.raises(RunError, match=r"cache/birds is still unavailable after 0.3 s") as error:
        seven.run(seven.manifest(*NAMES), block_rows=1)
    assert "\n" not in str(error.value)
    gone.thread.join()
    assert not seven.cache.exists()
    gone.moved.rename(seven.cache)
    seven.backbone = Toy
    summary = seven.run(seven.manifest(*NAMES), block_rows=1)
    assert summary.reused >= 1
    assert summary.computed + summary.reused == 7


def test_a_file_that_changes_while_it_is_streamed_fails_and_is_tried_again(seven):
    path = seven.write("long.wav", noise(RATE * 25, 1))
    windows = []

    class Changes(Toy):
        def forward(self, waveforms, lengths):
            windows.append(waveforms.shape[1])
            if len(windows) == 2:
                with path.open("r+b") as file:
                    file.seek(1000)
                    file.write(bytes(1000))
                os.utime(path, ns=(1, 1))
            return super().forward(waveforms, lengths)

    seven.backbone = Changes
    manifest = seven.manifest("long.wav", *NAMES)
    summary = seven.run(manifest)
    assert summary.failures == {"long.wav": "changed while it was read; run again"}
    seven.backbone = Toy
    assert (seven.run(manifest).computed, len(rows_of(summary.path))) == (1, 8)


def test_a_crashing_decoder_fails_its_clip_and_not_the_run(seven, monkeypatch):
    def read(file, start, stop, right=audio_file._read):
        if file.name.endswith(NAMES[2]):
            raise AssertionError("decoder state is wrong")
        return right(file, start, stop)

    monkeypatch.setattr(audio_file, "_read", read)
    summary = seven.run(seven.manifest(*NAMES), block_rows=2)
    assert summary.failures == {NAMES[2]: "cannot be decoded (AssertionError: decoder state is wrong)"}
    assert set(rows_of(summary.path)) == {*NAMES} - {NAMES[2]}


def fill_the_disk(root: Path, cache: Path, names: list[str], set_bytes: int) -> None:
    """Run with a cache on a file system of 240 kB; exit with code 3 on a `RunError`."""
    shard_set.SET_BYTES = set_bytes
    frame_buffer.MEMORY_BYTES = 1000
    corpus = Corpus(root, cache)
    with processes.small_disk(cache, "240k"):
        try:
            corpus.run(corpus.manifest(*names), pooling=("mean", "frames"), block_rows=1)
        except RunError as error:
            sys.stdout.write(f"{error}\n")
            sys.exit(3)


@pytest.mark.parametrize(
    ("set_bytes", "long_clip"),
    [
        pytest.param(0, False, marks=pytest.mark.crash),
        pytest.param(0, True, marks=pytest.mark.crash),
        (1 << 40, False),
        pytest.param(1 << 40, True, marks=pytest.mark.crash),
    ],
)
def test_a_full_disk_is_one_line_and_the_next_run_finishes(seven, set_bytes, long_clip, monkeypatch):
    """Uses a real file system of 240 kB, if mounting is permitted."""
    names = ["long.wav"] if long_clip else [f"more{n}.wav" for n in range(12)]
    for number, name in enumerate(names):
        seven.write(name, noise(RATE * (130 if long_clip else 4), number))
    names += NAMES
    seven.cache.mkdir()
    done = processes.run(fill_the_disk, seven.root, seven.cache, names, set_bytes)
    if done.returncode == processes.NO_MOUNTS:
        pytest.skip(f"may not mount a small file system here ({done.stderr.strip()})")
    assert done.returncode == 3, done.stderr + done.stdout
    assert (done.stdout.count("\n"), done.stderr) == (1, "")
    assert "No space left on device" in done.stdout
    assert "run again to continue" in done.stdout
    monkeypatch.setattr(shard_set, "SET_BYTES", set_bytes)
    summary = seven.run(seven.manifest(*names), pooling=("mean", "frames"), block_rows=1)
    assert summary.computed + summary.reused == len(names)
    assert long_clip or summary.reused > 0
    assert len(verify_table(summary.path)) == len(names)
    assert temporaries(seven.cache) == []
