"""A batch that does not fit in memory is split; no clip is lost and the budget is adapted."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from features.inference.oom import Splitter, budget_of, find_budget
from features.store.verify import verify_table
from features.system.out_of_memory import is_out_of_memory
from tests.features.toys import NAMES, RATE, Toy, noise, rows_of, toy_spec

POOLINGS = ("mean", "std", "max", "frames")


class Small(Toy):
    """Has memory for at most `room` padded samples."""

    room = 3000

    def __init__(self, spec):
        super().__init__(spec)
        self.seen = []

    def forward(self, waveforms, lengths):
        if waveforms.numel() > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate more than there is")
        self.seen.append(tuple(waveforms.shape))
        return super().forward(waveforms, lengths)


def test_no_clip_is_lost_and_every_value_is_that_of_a_clip_alone(seven):
    whole = seven.run(seven.manifest(*NAMES), pooling=POOLINGS)
    expected = {pooling: rows_of(whole.path, pooling) for pooling in POOLINGS[:3]}
    frames = {name: verify_table(whole.path).frames(name) for name in NAMES}
    whole.path.unlink()
    made = []
    seven.backbone = lambda spec: made.append(Small(spec)) or made[-1]
    summary = seven.run(seven.manifest(*NAMES), pooling=POOLINGS)
    assert (summary.computed, summary.failures) == (7, {})
    for pooling, rows in expected.items():
        for name, row in rows_of(summary.path, pooling).items():
            np.testing.assert_allclose(row, rows[name], atol=1e-6)
    for name in NAMES:
        np.testing.assert_array_equal(verify_table(summary.path).frames(name), frames[name])
    assert sum(rows for rows, _ in made[0].seen) == 7
    assert [note for note in seven.log.notes if "out of memory" in note]


def test_later_batches_are_cut_to_what_fitted(corpus):
    names = [f"{n}.wav" for n in range(16)]
    for number, name in enumerate(names):
        corpus.write(name, noise(1000, number))
    made = []
    corpus.backbone = lambda spec: made.append(Small(spec)) or made[-1]
    corpus.run(corpus.manifest(*names), batch_s=1.0)  # eight clips each
    assert made[0].seen == [(2, 1000)] * 8
    assert len([note for note in corpus.log.notes if "out of memory" in note]) == 2, "eight, four, and never again"


def test_a_clip_too_large_by_itself_fails_alone_and_is_tried_again(seven):
    seven.write("large.wav", noise(3100))
    seven.backbone = Small
    summary = seven.run(seven.manifest(*NAMES, "large.wav"))
    assert summary.computed == 7
    assert list(summary.failures) == ["large.wav"]
    assert "0.4 s at once need more memory than cpu has; set a lower max_duration_s" in summary.failures["large.wav"]
    seven.backbone = Toy
    assert seven.run(seven.manifest(*NAMES, "large.wav")).computed == 1


def test_a_window_too_large_fails_its_clip_and_no_other(corpus):
    corpus.write("long.wav", noise(RATE * 25))
    corpus.write("short.wav", noise(1000))
    corpus.backbone = Small
    summary = corpus.run(corpus.manifest("long.wav", "short.wav"))
    assert (summary.computed, list(summary.failures)) == (1, ["long.wav"])


@given(st.lists(st.integers(1, 50), min_size=1, max_size=20), st.integers(1, 400), st.none() | st.integers(1, 400))
def test_sub_batches_cover_the_batch_in_order_and_fit(lengths, room, budget):
    lengths = sorted(lengths, reverse=True)

    def work(rows):
        if len(rows) * lengths[rows[0]] > room:
            raise torch.OutOfMemoryError
        return list(rows)

    splitter = Splitter(lambda message: None, budget)
    pieces = list(splitter.run(lengths, work))
    assert [row for piece in pieces for row in piece.rows] == list(range(len(lengths)))
    for piece in pieces:
        if piece.result is None:
            assert len(piece.rows) == 1
            assert lengths[piece.rows[0]] > room
        else:
            assert piece.result == list(piece.rows)
    before = splitter.budget
    list(splitter.run(lengths, work))
    assert splitter.budget == before or splitter.budget < before, "it never grows"


def test_other_errors_are_raised(seven):
    class Broken(Toy):
        def forward(self, waveforms, lengths):
            raise RuntimeError("a bug")

    seven.backbone = Broken
    with pytest.raises(RuntimeError, match="a bug"):
        seven.run(seven.manifest(*NAMES))


def test_the_budget_comes_from_two_small_batches():
    assert budget_of([1000, 2000], [150_000, 250_000], 1_000_000) == pytest.approx((700_000 - 50_000) / 100, abs=1)
    assert budget_of([1000, 2000], [150_000, 150_000], 1_000_000) is None
    assert budget_of([1000, 1000], [150_000, 250_000], 1_000_000) is None
    assert find_budget(Toy(toy_spec()), lambda waveforms, lengths: None) is None


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
        RuntimeError("cuFFT error: CUFFT_ALLOC_FAILED"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] . DefaultCPUAllocator: can't allocate memory: you tried to"),
        RuntimeError("[ONNXRuntimeError] : 1 : FAIL : Failed to allocate memory for requested buffer of size 9"),
        RuntimeError("[ONNXRuntimeError] : 6 : Available memory of 10 is smaller than requested bytes of 20"),
        RuntimeError("std::bad_alloc"),
    ],
)
def test_every_way_to_run_out_of_memory_splits_the_batch(seven, error):
    class Full(Small):
        def forward(self, waveforms, lengths):
            if waveforms.numel() > self.room:
                raise error
            return Toy.forward(self, waveforms, lengths)

    assert is_out_of_memory(error)
    seven.backbone = Full
    summary = seven.run(seven.manifest(*NAMES))
    assert (summary.computed, summary.failures) == (7, {})
    wrapped = RuntimeError("the model fails")
    wrapped.__cause__ = error
    assert is_out_of_memory(wrapped)


@pytest.mark.parametrize(
    "error", [ValueError("out of memory"), OSError(12, "x"), RuntimeError("CUBLAS_STATUS_NOT_INITIALIZED")]
)
def test_other_errors_are_not_taken_for_it(error):
    assert not is_out_of_memory(error)


@pytest.mark.gpu
def test_a_budget_is_found_on_a_gpu_and_batches_of_it_fit():
    from features import backbones

    backbone = backbones.load({"name": "wav2vec2", "weights": "random", "size": "tiny"}, "cuda")
    budget = find_budget(backbone, backbone.embed_batch)
    assert budget is not None
    assert budget > 20 * backbone.spec.sample_rate
