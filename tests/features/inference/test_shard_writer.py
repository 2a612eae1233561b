"""Concurrent writing: nothing is lost, errors are raised soon, and the model waits for a slow disk."""

import os
import threading
import time

import numpy as np
import pytest
import torch

from features.errors import RunError
from features.inference import worker
from features.inference.timing import Clock, Timings, machine_load
from features.store.verify import verify_table
from pipeline.stages.fit_metadata import throughput_of
from tests.features.toys import NAMES, RATE, Toy, noise


def test_the_model_continues_while_a_shard_is_written(seven, monkeypatch):
    """The first shard is only written after the model has started on the second block."""
    begun, threads = threading.Event(), set()

    class Signalling(Toy):
        calls = 0

        def forward(self, waveforms, lengths):
            Signalling.calls += 1
            if Signalling.calls == 2:
                begun.set()
            return super().forward(waveforms, lengths)

    def write_file(*arguments, **options):
        threads.add(threading.current_thread().name)
        assert begun.wait(240)
        return plain(*arguments, **options)

    plain = worker.write_file
    monkeypatch.setattr(worker, "write_file", write_file)
    seven.backbone = Signalling
    summary = seven.run(seven.manifest(*NAMES), block_rows=2)
    assert threads == {"write"}
    assert set(verify_table(summary.path).ids) == set(NAMES)


def test_an_error_of_the_writer_ends_the_run_and_keeps_what_was_written(seven, monkeypatch):
    numbers = []

    def write_file(path, *arguments, **options):
        numbers.append(path.name)
        if len(numbers) == 2:
            raise RunError(f"cannot write {path} (No space left on device)")
        return plain(path, *arguments, **options)

    plain = worker.write_file
    monkeypatch.setattr(worker, "write_file", write_file)
    with pytest.raises(RunError, match="No space left"):
        seven.run(seven.manifest(*NAMES), block_rows=1)
    assert len(numbers) == 2, "nothing is written after that"
    assert [thread.name for thread in threading.enumerate() if thread.name in ("write", "decode_0")] == []
    monkeypatch.undo()
    summary = seven.run(seven.manifest(*NAMES), block_rows=1)
    assert (summary.computed, summary.reused) == (6, 1)


def test_an_error_of_the_writer_is_raised_after_a_few_batches(corpus, monkeypatch):
    calls = []

    class Counting(Toy):
        def forward(self, waveforms, lengths):
            calls.append(len(lengths))
            return super().forward(waveforms, lengths)

    def write_file(path, *arguments, **options):
        raise RunError("No space left on device")

    names = [f"{n}.wav" for n in range(20)]
    for number, name in enumerate(names):
        corpus.write(name, noise(1000, number))
    monkeypatch.setattr(worker, "write_file", write_file)
    corpus.backbone = Counting
    with pytest.raises(RunError, match="No space left"):
        corpus.run(corpus.manifest(*names), block_rows=1)
    assert len(calls) <= 6


def test_an_error_of_the_model_leaves_blocks_before_it_written(corpus):
    class Broken(Toy):
        calls = 0

        def forward(self, waveforms, lengths):
            Broken.calls += 1
            if Broken.calls == 4:
                raise RuntimeError("a bug")
            return super().forward(waveforms, lengths)

    names = [f"{n}.wav" for n in range(5)]
    for number, name in enumerate(names):
        corpus.write(name, noise(1000, number))
    corpus.backbone = Broken
    with pytest.raises(RuntimeError, match="a bug"):
        corpus.run(corpus.manifest(*names), block_rows=1)
    corpus.backbone = Toy
    summary = corpus.run(corpus.manifest(*names), block_rows=1)
    assert (summary.computed, summary.reused) == (2, 3)


def test_the_model_waits_for_a_slow_disk(corpus, monkeypatch):
    ahead = []

    class Counting(Toy):
        calls = 0

        def forward(self, waveforms, lengths):
            Counting.calls += 1
            return super().forward(waveforms, lengths)

    def write_file(*arguments, **options):
        time.sleep(0.02)
        ahead.append(Counting.calls - len(ahead))
        return plain(*arguments, **options)

    names = [f"{n}.wav" for n in range(20)]
    for number, name in enumerate(names):
        corpus.write(name, noise(1000, number))
    plain = worker.write_file
    monkeypatch.setattr(worker, "write_file", write_file)
    corpus.backbone = Counting
    corpus.run(corpus.manifest(*names), block_rows=1)
    assert max(ahead) <= 5


def test_embeddings_that_are_not_finite_fail_alone(seven):
    class Nan(Toy):
        def forward(self, waveforms, lengths):
            frames = super().forward(waveforms, lengths)
            frames.values[lengths == 800] = torch.nan
            return frames

    seven.backbone = Nan
    summary = seven.run(seven.manifest(*NAMES))
    assert summary.failures == {NAMES[0]: "its embedding is not finite"}
    assert summary.computed == 6


def test_busy_times_are_recorded_and_shown(seven):
    class Slow(Toy):
        def forward(self, waveforms, lengths):
            time.sleep(0.05)
            return super().forward(waveforms, lengths)

    seven.backbone = Slow
    summary = seven.run(seven.manifest(*NAMES), block_rows=2)
    times = summary.timings
    assert times.forward_s >= 0.05 * 4
    assert times.read_s > 0
    assert times.forward_s + times.pool_s + times.idle_s <= summary.seconds + 1e-6
    cost = verify_table(summary.path).cost
    assert cost["clips"] == 7
    assert cost["forward_s"] == pytest.approx(times.forward_s)
    parts = str(times).split(" · ")
    assert [part.split(" ")[0] for part in parts] == ["read", "forward", "pool", "write", "idle", "limited"]


def test_a_run_of_one_batch_is_warmed_up_before_it_is_timed(seven):
    class Starting(Toy):
        started = False

        def forward(self, waveforms, lengths):
            if not Starting.started:
                Starting.started = True
                time.sleep(0.5)
            return super().forward(waveforms, lengths)

    more = [f"more{number}.wav" for number in range(5)]
    for number, name in enumerate(more):
        seven.write(name, noise(RATE + number))
    seven.backbone = Starting
    summary = seven.run(seven.manifest(*NAMES, *more), block_rows=100, batch_s=100.0)
    cost = verify_table(summary.path).cost
    assert cost["steady_clips"] == cost["clips"] == 12
    assert cost["forward_s"] < 0.5


@pytest.mark.parametrize(("names", "batch_s"), [(NAMES, 100.0), (NAMES[:1], 100.0), (NAMES, 1.0)])
def test_few_clips_and_several_batches_are_not_warmed_up(seven, names, batch_s):
    class Counting(Toy):
        clips = 0

        def forward(self, waveforms, lengths):
            Counting.clips += len(waveforms)
            return super().forward(waveforms, lengths)

    seven.backbone = Counting
    seven.run(seven.manifest(*names), block_rows=100, batch_s=batch_s)
    assert Counting.clips == len(names)


def test_times_add_up_and_read_well():
    first = Timings(read_s=41.4, forward_s=312.0, pool_s=1.24, write_s=0.001, idle_s=6.0)
    assert str(first) == "read 41 s · forward 312 s · pool 1.2 s · write 0 s · idle 6 s · limited by forward"
    assert (first + first).forward_s == 624.0
    assert str(Timings(compile_s=48.2)).startswith("compile 48 s · read 0 s")


def test_a_clock_counts_what_threads_do():
    clock = Clock()

    def busy():
        with clock.measure("read"):
            time.sleep(0.01)
        clock.add("forward", 2.0)

    threads = [threading.Thread(target=busy) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clock.seconds()["forward"] == 8.0
    assert clock.seconds()["read"] >= 0.04
    assert np.isfinite(list(clock.seconds().values())).all()


def test_the_first_batch_of_a_run_is_not_counted_as_throughput(seven, monkeypatch):
    class Warming(Toy):
        calls = 0

        def forward(self, waveforms, lengths):
            Warming.calls += 1
            if Warming.calls == 1:
                time.sleep(0.3)  # libraries start
            return super().forward(waveforms, lengths)

    seven.backbone = Warming
    monkeypatch.setattr(os, "getloadavg", lambda: (9.0, 1.0, 1.0))
    summary = seven.run(seven.manifest(*NAMES), block_rows=2)
    cost = verify_table(summary.path).cost
    assert cost["clips"] == 7
    assert 0 < cost["steady_clips"] < 7
    assert cost["compute_s"] - cost["steady_s"] >= 0.3
    assert throughput_of(cost) == (cost["steady_clips"], cost["steady_audio_s"], cost["steady_s"])
    assert cost["load"] > 0
    older = {"clips": 4, "audio_s": 2.0, "compute_s": 8.0}
    assert throughput_of(older) == (4, 2.0, 8.0)
    assert throughput_of({**older, "steady_clips": 0, "steady_audio_s": 0.0, "steady_s": 0.1}) == (4, 2.0, 8.0)


def test_load_leaves_out_the_threads_of_the_run_itself(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(4), raising=False)
    monkeypatch.setattr(os, "getloadavg", lambda: (6.0, 1.0, 1.0), raising=False)
    assert [machine_load(threads) for threads in (2, 4, 6, 20)] == [1.5, 1.5, 1.0, 0.0]

    def absent():
        raise OSError

    monkeypatch.setattr(os, "getloadavg", absent)
    assert machine_load(2) is None
