"""Faults made to happen: folders that go away, full disks, files that change, decoders that break down."""

import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from features.audio import file as audio_file
from features.errors import RunError
from features.store import shard_set
from features.store.table import verify_table
from features.system import retry as patience
from tests.features.toys import NAMES, RATE, Toy, noise, rows_of, temporaries


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(patience, "PAUSE_S", 0.02)


class GoesAway:
    """Renames a folder at the n-th batch, and back after a while."""

    def __init__(self, corpus, folder: Path, batch: int, back: bool = True) -> None:
        self.folder, self.away, self.back = folder, folder.with_name("unmounted"), back
        self.left = batch
        self.thread = threading.Thread(target=self.come_back)
        gone = self

        class Leaving(Toy):
            def forward(self, waveforms, lengths):
                gone.left -= 1
                if gone.left == 0:
                    gone.folder.rename(gone.away)
                    gone.thread.start()
                return super().forward(waveforms, lengths)

        corpus.backbone = Leaving

    def come_back(self) -> None:
        time.sleep(0.5)
        if self.back:
            self.away.rename(self.folder)


@pytest.fixture
def undisturbed(seven, tmp_path):
    """Rows of a run that nothing happened to."""
    here, seven.cache = seven.cache, tmp_path / "undisturbed"
    rows = rows_of(seven.run(seven.manifest(*NAMES), block_rows=1, threads=1).path)
    seven.cache = here
    seven.log.notes.clear()
    return rows


@pytest.mark.parametrize("batch", [2, 7])
@pytest.mark.parametrize("set_bytes", [0, 1 << 30])
def test_a_cache_folder_that_goes_away_and_comes_back_is_waited_for(seven, undisturbed, monkeypatch, batch, set_bytes):
    monkeypatch.setattr(shard_set, "SET_BYTES", set_bytes)
    gone = GoesAway(seven, seven.cache, batch)
    summary = seven.run(seven.manifest(*NAMES), block_rows=1, threads=1)
    gone.thread.join()
    assert [note for note in seven.log.notes if "went away; waiting up to 600 s" in note]
    assert (summary.computed, summary.failures) == (7, {})
    rows = rows_of(summary.path)
    assert all(np.array_equal(rows[clip], undisturbed[clip]) for clip in NAMES)
    assert temporaries(seven.cache) == []


@pytest.mark.parametrize("seconds", [1, 25])
def test_a_folder_of_clips_that_goes_away_and_comes_back_fails_no_clip(seven, seconds):
    names = [f"more{n}.wav" for n in range(12)]
    for number, name in enumerate(names):
        seven.write(name, noise(RATE * seconds, number))
    gone = GoesAway(seven, seven.root, 2)
    summary = seven.run(seven.manifest(*names), block_rows=1)
    gone.thread.join()
    assert [note for note in seven.log.notes if "went away; waiting" in note]
    assert (summary.computed, summary.failures) == (12, {})


def test_a_folder_that_stays_away_is_one_line_and_the_next_run_goes_on(seven, monkeypatch):
    monkeypatch.setattr(patience, "PATIENCE_S", 0.3)
    gone = GoesAway(seven, seven.cache, 7, back=False)  # the shards lag behind by a few batches
    with pytest.raises(RunError, match=r"cache/birds went away and did not come back") as error:
        seven.run(seven.manifest(*NAMES), block_rows=1)
    assert "\n" not in str(error.value)
    gone.thread.join()
    assert not seven.cache.exists()
    gone.away.rename(seven.cache)
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


def test_a_decoder_that_breaks_down_costs_its_clip_and_not_the_run(seven, monkeypatch):
    def read(file, start, stop, right=audio_file._read):
        if file.name.endswith(NAMES[2]):
            raise AssertionError("decoder state is wrong")
        return right(file, start, stop)

    monkeypatch.setattr(audio_file, "_read", read)
    summary = seven.run(seven.manifest(*NAMES), block_rows=2)
    assert summary.failures == {NAMES[2]: "cannot be decoded (AssertionError: decoder state is wrong)"}
    assert set(rows_of(summary.path)) == {*NAMES} - {NAMES[2]}


FULL = """
    import sys
    from pathlib import Path
    from features.errors import RunError
    from features.inference import frame_buffer
    from features.store import shard_set
    from tests.features.toys import Corpus
    shard_set.SET_BYTES = int(sys.argv[3])
    frame_buffer.MEMORY_BYTES = 1000
    corpus = Corpus(Path(sys.argv[1]), Path(sys.argv[2]))
    try:
        corpus.run(corpus.manifest(*sys.argv[4:]), pooling=("mean", "frames"), block_rows=1)
    except RunError as error:
        print(error)
        sys.exit(3)
"""


@pytest.mark.parametrize("set_bytes", [0, 1 << 40])
@pytest.mark.parametrize("long_clip", [False, True])
def test_a_full_disk_is_one_line_and_the_next_run_finishes(seven, set_bytes, long_clip, monkeypatch):
    """A real file system of half a megabyte, where one may be mounted."""
    names = ["long.wav"] if long_clip else [f"more{n}.wav" for n in range(12)]
    for number, name in enumerate(names):
        seven.write(name, noise(RATE * (250 if long_clip else 9), number))
    names += NAMES
    script = textwrap.dedent(FULL)
    kept = seven.cache.with_name("kept")
    seven.cache.mkdir()
    mounted = 'mount -t tmpfs -o size=450k none "$2" && "$0" -c "$1" "${@:4}"; code=$?; cp -r "$2" "$3"; exit $code'
    arguments = [str(seven.root), str(seven.cache), str(set_bytes), *names]
    command = ["unshare", "-rm", "bash", "-c", mounted, sys.executable, script, str(seven.cache), str(kept), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    except FileNotFoundError:
        pytest.skip("needs unshare to mount a small file system")
    if done.returncode == 1 and ("unshare" in done.stderr or "mount" in done.stderr):
        pytest.skip("may not mount a small file system here")
    assert done.returncode == 3, done.stderr + done.stdout
    assert (done.stdout.count("\n"), done.stderr) == (1, "")
    assert "No space left on device" in done.stdout
    assert "run again to go on" in done.stdout
    monkeypatch.setattr(shard_set, "SET_BYTES", set_bytes)
    seven.cache.rmdir()
    kept.rename(seven.cache)
    summary = seven.run(seven.manifest(*names), pooling=("mean", "frames"), block_rows=1)
    assert summary.computed + summary.reused == len(names)
    assert long_clip or summary.reused > 0
    assert len(verify_table(summary.path)) == len(names)
    assert temporaries(seven.cache) == []
