"""Ctrl-C while a file is written ends the run without a traceback and leaves no partial file."""

import os
import signal
import threading

import pytest

from features.store.verify import verify_table
from features.system.guarded_file import GuardedFile
from features.system.signals import interrupts_held
from tests.features.toys import NAMES


@pytest.mark.parametrize("at", [1, 4, 10])
def test_an_interrupt_while_hdf5_writes_is_quiet_and_loses_nothing(seven, monkeypatch, capfd, at):
    manifest = seven.manifest(*NAMES)
    path = seven.run(seven.manifest(*NAMES[:3])).path
    before = path.read_bytes()
    writes = []

    def write(sink, data):
        writes.append(len(data))
        if len(writes) == at:
            os.kill(os.getpid(), signal.SIGINT)
        return whole(sink, data)

    whole = GuardedFile.write
    monkeypatch.setattr(GuardedFile, "write", write)
    with pytest.raises(KeyboardInterrupt):
        seven.run(manifest)
    monkeypatch.undo()
    assert len(writes) > at  # it was inside HDF5
    assert path.read_bytes() == before
    assert not list(seven.cache.rglob("*.tmp"))
    assert capfd.readouterr() == ("", "")
    seven.run(manifest)
    assert set(verify_table(path).ids) == set(NAMES)


def test_it_is_raised_where_that_is_safe_and_the_handler_is_restored():
    before = signal.getsignal(signal.SIGINT)
    steps = []
    with pytest.raises(KeyboardInterrupt), interrupts_held() as check:
        os.kill(os.getpid(), signal.SIGINT)
        steps.append("held")
        check()
        steps.append("not reached")
    assert (steps, signal.getsignal(signal.SIGINT)) == (["held"], before)


def test_a_thread_defers_nothing():
    before = signal.getsignal(signal.SIGINT)
    found = []

    def hold():
        with interrupts_held() as check:
            check()
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=hold)
    thread.start()
    thread.join()
    assert found == [before]
