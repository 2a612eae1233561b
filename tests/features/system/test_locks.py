"""One lock per cache file: planning and finalizing are exclusive, and a rival between two locks does no harm."""

import errno
import os
import threading

import pytest

from features.errors import RunError
from features.store.verify import verify_table
from features.system import locks
from features.system.locks import CacheLock
from tests.features.toys import NAMES, temporaries

fcntl = pytest.importorskip("fcntl", reason="no advisory locks on this system")


def test_a_second_process_is_notified_and_waits(tmp_path):
    notes, taken = [], threading.Event()

    def take():
        with CacheLock(tmp_path / "t.h5", notes.append):
            taken.set()

    with CacheLock(tmp_path / "t.h5", notes.append) as lock:
        other = threading.Thread(target=take)
        other.start()
        assert not taken.wait(0.2)
        lock.shared()
        assert not taken.wait(0.2), "planning waits for workers too"
    other.join(240)
    assert taken.is_set()
    assert notes == [f"waiting for another run on {tmp_path / 't.h5'}"]


def test_workers_share(tmp_path):
    notes = []
    with CacheLock(tmp_path / "t.h5", notes.append) as one:
        one.shared()
        descriptor = (tmp_path / "t.h5.lock").open()
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        descriptor.close()
    assert notes == []


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"cannot write .*file"), CacheLock(tmp_path / "file" / "t.h5", print):
        pass


@pytest.mark.crash
@pytest.mark.parametrize("rival", ["the same clips", "more clips"])
def test_a_rival_that_finalizes_during_the_lock_upgrade(seven, monkeypatch, rival):
    """The system releases a shared lock before it grants the exclusive one."""
    manifest = seven.manifest(*NAMES)
    seven.write("more.wav")
    others = manifest if rival == "the same clips" else seven.manifest(*NAMES, "more.wav")
    ours, rivals = [], []
    take = CacheLock.exclusive

    def exclusive(lock):
        ours.append(lock)
        if ours.count(lock) == 2 and not rivals:
            rivals.append(lock)
            lock.__exit__(None, None, None)
            rivals.append(seven.run(others, block_rows=2))
            lock.__enter__()
        take(lock)

    monkeypatch.setattr(CacheLock, "exclusive", exclusive)
    summary = seven.run(manifest, block_rows=2)
    assert summary.computed == 7
    assert (rivals[1].computed, rivals[1].reused) == ((0, 7) if rival == "the same clips" else (1, 7))
    assert set(verify_table(summary.path).ids) == set(others.clips["id"])
    assert temporaries(seven.cache) == []


class NoLocks:
    """A file system without locks."""

    LOCK_EX, LOCK_SH, LOCK_NB = fcntl.LOCK_EX, fcntl.LOCK_SH, fcntl.LOCK_NB

    def flock(self, descriptor, flags):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


@pytest.mark.parametrize("begin", ["exclusive", "join", "alone"])
def test_a_folder_without_locks_says_what_to_do_and_works_when_that_is_done(tmp_path, monkeypatch, begin):
    monkeypatch.setattr(locks, "fcntl", NoLocks())
    with (
        pytest.raises(RunError, match=r"no locks; .*--set output.cache=FOLDER.*AUDIOHEADS_NO_LOCKS=1 and"),
        CacheLock(tmp_path / "t.h5", print, begin=begin),
    ):
        pass
    monkeypatch.setenv("AUDIOHEADS_NO_LOCKS", "1")
    with CacheLock(tmp_path / "t.h5", print, begin=begin) as lock:
        assert lock.is_alone
        lock.shared()
        lock.exclusive()
