"""A file whose decoding ended an earlier run is decoded in a process of its own, and the run goes on.

No file is known that crashes the present codecs, so a `sitecustomize` ends the process at certain files.
"""

import hashlib
import importlib.util
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from features.audio import file as audio_file
from features.audio.decoding import probe, read_waveform
from features.audio.isolated import IsolatedFile
from features.errors import AudioError, DecoderCrashError
from features.system.attempts import PREFIX, Attempts
from tests.features.toys import NAMES, RATE, noise, rows_of
from tests.paths import ROOT

CRASH = """
import ctypes
import features.audio.file as file
right = file._opened

class Crashing:
    def __init__(self, inner): self.inner = inner
    def read(self, *a, **k): ctypes.string_at(0)
    def __getattr__(self, name): return getattr(self.inner, name)

def opened(path):
    if path.name.startswith("header"):
        ctypes.string_at(0)
    found, info = right(path)
    return (Crashing(found) if path.name.startswith("crash") else found), info

file._opened = opened
"""
RUN = """
import sys
from pathlib import Path
from tests.features.toys import Corpus
from features.distributed.engine import RayEngine
from features.distributed.options import ActorOptions
corpus = Corpus(Path(sys.argv[1]), Path(sys.argv[2]))
ray = {"engine": RayEngine(ActorOptions(actors=1, cpus_per_actor=0.5, gpus_per_actor=0))}
summary = corpus.run(corpus.manifest(*sys.argv[4:]), block_rows=3, **(ray if sys.argv[3] == "ray" else {}))
print(summary.computed, dict(sorted(summary.failures.items())), *corpus.log.notes, sep="\\n")
"""


@pytest.fixture
def crashing(seven, tmp_path, monkeypatch):
    """Return a function that runs the corpus with a decoder that crashes at files named crash… and header…."""
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(CRASH)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(hook), str(ROOT)]))

    def run(*names, engine="local"):
        command = [sys.executable, "-c", RUN, seven.root, seven.cache, engine, *names]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    return run


def marks(corpus):
    return list(corpus.cache.rglob(f"{PREFIX}*"))


@pytest.mark.crash
def test_a_file_that_crashes_its_decoder_is_isolated_by_the_next_run(seven, crashing):
    seven.write("crash-short.wav", noise(1000))
    seven.write("crash-long.wav", noise(11 * RATE))
    names = [*NAMES, "crash-short.wav", "crash-long.wav"]
    for _ in range(4):  # each of the two may end a run of its own
        done = crashing(*names)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGSEGV
        assert marks(seven)
    assert done.returncode == 0, done.stderr
    reason = "cannot be decoded (the decoder crashes with SIGSEGV)"
    assert str({"crash-long.wav": reason, "crash-short.wav": reason}) in done.stdout
    assert "crash-short.wav: an earlier process ended while decoding it" in done.stdout
    assert set(rows_of(seven.file())) == set(NAMES)
    again = crashing(*names)  # the failures are recorded
    assert again.returncode == 0
    assert again.stdout.startswith("0\n")


@pytest.mark.crash
def test_a_file_whose_header_crashes_is_isolated_in_every_later_run(seven, crashing):
    seven.write("header.wav", noise(1000))
    assert crashing(*NAMES, "header.wav").returncode == -signal.SIGSEGV
    for computed in (len(NAMES), 0):
        done = crashing(*NAMES, "header.wav")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(
            f"{computed}\n{ {'header.wav': 'cannot be decoded (the decoder crashes with SIGSEGV)'} }"
        )


@pytest.mark.e2e
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra `ray`")
def test_an_actor_that_crashes_costs_its_file_and_not_the_run(seven, crashing):
    seven.write("crash.wav", noise(1000))
    done = crashing(*NAMES, "crash.wav", engine="ray")
    assert done.returncode == 0, done.stderr
    reason = "cannot be decoded (the decoder crashes with SIGSEGV)"
    assert done.stdout.startswith(f"{len(NAMES)}\n{ {'crash.wav': reason} }")
    assert "died; another one takes its" in done.stdout


def test_a_good_file_in_flight_when_the_user_killed_the_run_is_isolated_once(seven, tmp_path):
    right = seven.run(seven.manifest(*NAMES)).path
    expected = rows_of(right)
    keys = {content.key for content in seven.read(*NAMES).contents}
    right.unlink()
    died = Attempts(right.parent)
    for key in sorted(keys)[:3]:
        died._take(hashlib.sha256(key.encode()).digest())
    os.close(died._descriptor)  # as the system does when a process dies
    summary = seven.run(seven.manifest(*NAMES))
    assert summary.computed == len(NAMES)
    assert len([note for note in seven.log.notes if "in a process of its own" in note]) == 3
    assert {clip: row.tobytes() for clip, row in rows_of(right).items()} == {
        clip: row.tobytes() for clip, row in expected.items()
    }
    assert not marks(seven)


def test_marks_of_a_live_process_are_not_taken_for_those_of_a_dead_one(tmp_path):
    with Attempts(tmp_path) as mine, mine.attempt("a") as isolated:
        assert not isolated
        with Attempts(tmp_path) as other, other.attempt("a") as isolated:
            assert not isolated
    assert not list(tmp_path.iterdir())


def test_a_crash_keeps_its_mark_and_any_other_outcome_removes_it(tmp_path):
    died = Attempts(tmp_path)
    with died.attempt("bad"), died.attempt("good"):
        path, descriptor = died._path, died._descriptor
        content = path.read_bytes()
    os.pwrite(descriptor, content, 0)
    os.close(descriptor)
    for outcome in (DecoderCrashError("x"), AudioError("x")):
        with Attempts(tmp_path) as later, pytest.raises(AudioError), later.attempt("bad") as isolated:
            assert isolated
            raise outcome
    with Attempts(tmp_path) as later, later.attempt("bad") as isolated:
        assert not isolated
    with Attempts(tmp_path) as later, later.attempt("good") as isolated:
        assert isolated
    assert not list(tmp_path.iterdir())


def test_an_isolated_file_gives_the_same_samples_and_the_same_errors(seven):
    path = seven.write("stereo.flac", noise(30_000, channels=2), 44_100)
    assert probe(path, isolated=True) == probe(path)
    for segment in ((0.0, None), (0.1, 0.2)):
        alone = read_waveform(path, RATE, *segment, isolated=True)
        assert np.array_equal(alone.samples, read_waveform(path, RATE, *segment).samples)
        assert alone.samples.flags.writeable
    (seven.root / "text.wav").write_text("no audio")
    for isolated in (False, True):
        with pytest.raises(AudioError, match="its format is not recognised"):
            probe(seven.root / "text.wav", isolated=isolated)


def test_a_decoder_that_hangs_or_is_killed_is_a_failure(seven, monkeypatch):
    path = seven.write("a.wav")
    file = IsolatedFile(path)
    os.kill(file._process.pid, signal.SIGKILL)
    with pytest.raises(DecoderCrashError, match="was killed, perhaps for lack of memory"):
        file.read(0, 10)
    file.close()
    file = IsolatedFile(path)
    os.kill(file._process.pid, signal.SIGSTOP)
    monkeypatch.setattr("features.audio.isolated.ANSWER_S", 0.2)
    with pytest.raises(DecoderCrashError, match="does not come back within"):
        file.read(0, 10)
    file.close()


@pytest.mark.parametrize("seconds", [1, 11])
def test_a_decoder_killed_from_outside_is_tried_again_and_one_that_crashes_is_not(seven, monkeypatch, seconds):
    path = seven.write("killed.wav", noise(seconds * RATE))
    names = [*NAMES, "killed.wav"]
    (key,) = (content.file_key for content in seven.read("killed.wav").contents)
    died = Attempts(seven.file().parent)
    died._take(hashlib.sha256(key.encode()).digest())
    os.close(died._descriptor)
    how = [signal.SIGKILL]

    class Dies(IsolatedFile):
        def read(self, start, stop):
            if how:
                os.kill(self._process.pid, how[0])
            return super().read(start, stop)

    monkeypatch.setattr("features.audio.decoding.IsolatedFile", Dies)
    summary = seven.run(seven.manifest(*names))
    assert "killed, perhaps for lack of memory" in summary.failures["killed.wav"]
    assert seven.run(seven.manifest(*names)).failures == summary.failures, "and reports it each time"
    how[:] = [signal.SIGSEGV]
    summary = seven.run(seven.manifest(*names))
    assert "crashes with SIGSEGV" in summary.failures["killed.wav"]
    how.clear()
    assert seven.rerun(seven.manifest(*names)).failures == summary.failures
    os.utime(path, ns=(1, 1))
    path.write_bytes(path.read_bytes()[:-2] + bytes(2))  # another file
    assert seven.run(seven.manifest(*names)).computed == 1


def test_a_file_for_which_memory_ran_out_is_tried_again(seven, monkeypatch):
    def read(file, start, stop, right=audio_file._read):
        if file.name.endswith(NAMES[2]):
            raise MemoryError
        return right(file, start, stop)

    with monkeypatch.context() as patched:
        patched.setattr(audio_file, "_read", read)
        assert seven.run(seven.manifest(*NAMES)).failures == {NAMES[2]: "cannot be decoded (MemoryError: MemoryError)"}
    assert seven.run(seven.manifest(*NAMES)).computed == 1
