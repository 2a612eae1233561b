"""Front ends on the host run in the decoding threads, next to the model."""

import threading
from typing import ClassVar

import numpy as np
import pytest
import soundfile as sf
import torch

from features.backbones.base import pad
from features.inference.timing import Timings
from features.store.verify import verify_table
from tests.features.toys import NAMES, RATE, Toy, noise, rows_of, toy_spec


class Prepared(Toy):
    """The toy, whose samples are halved by a front end on the host."""

    threads: ClassVar[set[str]] = set()

    def prepare(self, samples):
        if len(samples) == 1234:
            raise ValueError("cannot prepare 1234 samples")
        self.threads.add(threading.current_thread().name.split("_")[0])
        return {"halved": samples / 2}

    def forward(self, waveforms, lengths):
        raise AssertionError("stage 1 passes prepared clips")

    def forward_prepared(self, inputs, lengths):
        waveforms, _ = pad([each["halved"] for each in inputs], self.spec.min_samples)
        return super().forward(waveforms, lengths)


def halved(path):
    """Frames of the toy alone for half the samples of a file."""
    return Toy(toy_spec()).embed([sf.read(path, dtype="float32")[0] / 2])[0]


def test_clips_are_prepared_in_the_decoding_threads(seven):
    seven.write("long.wav", noise(RATE * 25 + 70))
    seven.backbone, Prepared.threads = Prepared, set()
    summary = seven.run(seven.manifest(*NAMES, "long.wav"), pooling=("frames", "mean"))
    assert summary.failures == {}
    assert Prepared.threads == {"decode"}
    table = verify_table(summary.path)
    for name in (*NAMES, "long.wav"):
        np.testing.assert_allclose(table.frames(name), halved(seven.root / name).transpose(1, 0, 2), atol=1e-7)
    assert summary.timings.front_end_s > 0
    assert " · front end " in str(summary.timings)


def test_a_clip_shorter_than_the_minimum_is_prepared_at_that_length(seven):
    seven.write("short.wav", noise(30))
    seven.backbone = Prepared
    summary = seven.run(seven.manifest("short.wav", *NAMES))
    padded = np.pad(sf.read(seven.root / "short.wav", dtype="float32")[0] / 2, (0, 50))
    expected = Toy(toy_spec()).embed([padded])[0].mean(1)
    np.testing.assert_allclose(rows_of(summary.path)["short.wav"], expected, atol=1e-7)


def test_a_clip_that_cannot_be_prepared_is_that_clips_failure(seven):
    seven.write("odd.wav", noise(1234))
    seven.backbone = Prepared
    summary = seven.run(seven.manifest("odd.wav", *NAMES))
    assert summary.computed == len(NAMES)
    assert summary.failures["odd.wav"] == "cannot be prepared for the model (cannot prepare 1234 samples)"


@pytest.mark.parametrize(
    ("busy", "limit"),
    [
        ({"read_s": 3.0, "forward_s": 2.0, "pool_s": 0.5}, "read"),
        ({"read_s": 3.0, "forward_s": 2.0, "pool_s": 1.5}, "forward"),
        ({"front_end_s": 3.0, "forward_s": 2.0}, "front end"),
        ({"write_s": 3.0, "forward_s": 2.0, "idle_s": 9.0}, "write"),
    ],
)
def test_the_part_that_was_busy_longest_limits(busy, limit):
    assert Timings(**busy).limit == limit
    assert str(Timings(**busy)).endswith(f"limited by {limit}")


def test_the_front_end_on_the_device_does_not_count_as_forward(seven):
    class Measured(Toy):
        def forward(self, waveforms, lengths):
            with self.measure("front end"):
                torch.linalg.svd(torch.randn(120, 120))
            return super().forward(waveforms, lengths)

    seven.backbone = Measured
    timings = seven.run(seven.manifest(*NAMES)).timings
    assert timings.front_end_s > 0
    assert timings.forward_s >= 0
