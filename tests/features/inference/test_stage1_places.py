"""Stage 1 on a device: the cache of a CPU, one wait per batch, pinned copies, and a budget that holds."""

import numpy as np
import pytest
import torch

from features import backbones
from features.errors import RunError
from features.inference import device_resampling
from features.inference.embedder import Embedder
from features.inference.oom import find_budget
from features.pooling import Frames, Moments, pool
from features.store.verify import verify_table
from tests.features.toys import NAMES, Toy, noise, rows_of, toy_spec
from tests.places import DEVICES, PRETEND, at_each

RATE = 16_000
FEW_LAYERS = {"num_hidden_layers": 1, "conv_dim": [16] * 3, "conv_kernel": [10, 8, 8], "conv_stride": [5, 8, 8]}
TINY = {"name": "wav2vec2", "weights": "random", "size": "tiny", "architecture": FEW_LAYERS, "max_duration_s": 10.0}
ALL = ("mean", "std", "max", "frames")
CLIPS = [f"{number}.wav" for number in range(6)] + ["other-rate.wav", "long.wav"]


@pytest.fixture
def clips(corpus):
    """Clips of unlike lengths, one at another rate and one of several windows."""
    for number, name in enumerate(CLIPS[:6]):
        corpus.write(name, noise(4000 + 3000 * number, number), RATE)
    corpus.write("other-rate.wav", noise(20_000, 8), 22_050)
    corpus.write("long.wav", noise(12 * RATE, 9), RATE)
    return corpus


def extracted(clips, device, entry=TINY, names=CLIPS, **settings):
    """Run stage 1 into a sealed cache; return its path, and remove it from the next run's way."""
    spec = backbones.describe(entry)
    precision = settings.get("precision", "fp32")
    clips.backbone = lambda spec: backbones.load(entry, device, precision, spec)
    summary = clips.run(clips.manifest(*names), spec, device=device, **settings)
    assert (summary.computed, summary.failures) == (len(names), {})
    kept = summary.path.with_name(f"{device}.h5")
    summary.path.rename(kept)
    return kept


@at_each(*DEVICES)
@pytest.mark.parametrize(
    ("entry", "settings", "tolerance"),
    [
        (TINY, {"pooling": ALL}, 1e-5),
        (TINY, {"pooling": ALL, "resample": "device", "window_overlap_s": 1.0}, 1e-5),
        pytest.param(TINY, {"pooling": ("mean",), "precision": "bf16"}, 2e-2, marks=pytest.mark.thorough),
        pytest.param(
            {"name": "logmel", "max_duration_s": 10.0},
            {"pooling": ALL, "frame_dtype": "float16"},
            1e-3,
            marks=pytest.mark.thorough,
        ),
    ],
    ids=["wav2vec2", "resampled-overlapping", "bf16", "logmel-float16"],
)
def test_a_sealed_cache_holds_what_a_cpu_computes(clips, there, entry, settings, tolerance):
    found, expected = (extracted(clips, device, entry, **settings) for device in (there.device, "cpu"))
    for pooling in set(settings["pooling"]) - {"frames"}:
        rows = rows_of(expected, pooling)
        for name, row in rows_of(found, pooling).items():
            assert np.linalg.norm(row - rows[name]) <= tolerance * np.linalg.norm(rows[name]), (pooling, name)
    if "frames" in settings["pooling"]:
        for name in CLIPS:
            one, other = (verify_table(path).frames(name).astype("f8") for path in (found, expected))
            assert np.linalg.norm(one - other) <= tolerance * np.linalg.norm(other), name


@at_each(PRETEND)
@pytest.mark.parametrize("resample", ["cpu", "device"])
def test_the_host_waits_once_per_batch_and_copies_from_pinned_memory(clips, there, resample, monkeypatch):
    monkeypatch.setattr("features.inference.embedder.find_budget", lambda *_: None)
    device_resampling._kernel.cache_clear()
    runs = []
    plain = Embedder.embed

    def embed(self, decoded, batch):
        if not runs:
            there.pretend.reset()  # what loading the network needed
        plain(self, decoded, batch)
        runs.append(batch)

    monkeypatch.setattr(Embedder, "embed", embed)
    extracted(clips, there.device, pooling=("mean", "max", "frames"), resample=resample, batch_s=1.0)
    windows = 2  # the frames of each window are stored as they come
    assert len(runs) > 4
    kernels = {"copy to the device": 1} if resample == "device" else {}  # once for each rate
    assert there.pretend.waits == {"event": len(runs) + windows} | kernels
    assert there.pretend.pageable == len(kernels)
    assert not there.pretend.shortcuts


@at_each(PRETEND)
def test_a_device_that_is_too_small_splits_batches_and_loses_nothing(clips, there, monkeypatch):
    plain, room, loaded = Embedder.embed, [], []

    def embed(self, decoded, batch):
        if not loaded:
            loaded.append(there.pretend.allocated)  # the network
            there.pretend.memory = loaded[0] + room[0] if room else there.pretend.memory
        plain(self, decoded, batch)

    monkeypatch.setattr(Embedder, "embed", embed)
    expected = rows_of(extracted(clips, there.device, names=CLIPS[:7], batch_s=100.0))
    room.append((there.pretend.peak - loaded.pop()) * 2 // 3)
    found = rows_of(extracted(clips, there.device, names=CLIPS[:7], batch_s=100.0))
    assert any("out of memory with" in note for note in clips.log.notes)
    for name, row in found.items():
        np.testing.assert_allclose(row, expected[name], rtol=1e-4, atol=1e-6)


@at_each(PRETEND)
def test_memory_that_another_program_takes_is_one_line_and_the_next_run_finishes(clips, there, monkeypatch):
    plain, limit = Embedder.embed, there.pretend.memory

    def embed(self, decoded, batch):
        there.pretend.memory = there.pretend.allocated
        plain(self, decoded, batch)

    with monkeypatch.context() as patch, pytest.raises(RunError) as caught:
        patch.setattr(Embedder, "embed", embed)
        extracted(clips, there.device, names=CLIPS[:6])
    there.pretend.memory = limit
    message = str(caught.value)
    assert "\n" not in message
    assert "s at once need more memory than Pretend GPU has free, 0.0 of 0.0 GiB; set a lower" in message
    assert message.endswith("end other programs that use it (nvidia-smi lists them)")
    assert set(rows_of(extracted(clips, there.device, names=CLIPS[:6]))) == set(CLIPS[:6])


@at_each(PRETEND)
@pytest.mark.parametrize("entry", [TINY, {"name": "logmel"}], ids=["wav2vec2", "logmel"])
def test_a_mixed_batch_of_the_whole_budget_fits(there, entry):
    there.pretend.memory = 200 * 2**20
    backbone = backbones.load(entry, there.device)

    def work(waveforms, lengths):
        frames = backbone.embed_batch(waveforms, lengths)
        moved = Frames(frames.values, frames.lengths.to(there.device), frames.weights)
        return pool(moved, ("mean",)), frames.values.float().half()  # as if frames were stored

    budget = find_budget(backbone, work)
    assert budget is not None
    count = budget // RATE
    assert count > 20, "a small network on a large device gets large batches"
    torch.cuda.reset_peak_memory_stats()
    work(torch.zeros(count, RATE), torch.tensor([RATE - 100 * (row % 7) for row in range(count)]))
    assert there.pretend.peak <= there.pretend.memory
    assert there.pretend.peak >= 0.4 * there.pretend.memory, "most of it is used"


@at_each(PRETEND)
def test_what_runs_on_the_device_beside_the_network_is_split_too(clips, there, monkeypatch):
    """Resampling, pooling and frames to store run out of memory, each in a large batch only."""
    clips.backbone = None
    spec = toy_spec(sample_rate=RATE, frame_rate=RATE / 80)

    class OnDevice(Toy):
        def __init__(self, spec):
            super().__init__(spec)
            self.device = torch.device(there.device)

    def failing(plain, size):
        def run(*given):
            if size(given) > 2:
                raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")
            return plain(*given)

        return run

    for owner, name, size in (
        (device_resampling, "resample_batch", lambda given: len(given[0])),
        (Moments, "of", lambda given: len(given[0].values)),
        (Embedder, "_kept", lambda given: len(given[1].values)),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, failing(getattr(owner, name), size))
            clips.backbone = OnDevice
            for number in range(3):
                clips.write(f"more-{number}.wav", noise(9000, number), 22_050)
            manifest = clips.manifest(*CLIPS, *(f"more-{number}.wav" for number in range(3)))
            summary = clips.run(manifest, spec, pooling=("mean", "frames"), resample="device", batch_s=100.0)
            assert (summary.computed, summary.failures) == (len(CLIPS) + 3, {}), name
            assert any("out of memory with" in note for note in clips.log.notes), name
            summary.path.unlink()
            clips.log.notes.clear()


def test_every_clip_of_a_piece_is_contiguous_and_padded_to_that_piece(seven):
    seen = []

    class Observed(Toy):
        budget = 3000

        def forward(self, waveforms, lengths):
            seen.append((waveforms.is_contiguous(), waveforms.shape[1] == int(lengths.max())))
            return super().forward(waveforms, lengths)

    seven.backbone = Observed
    assert seven.run(seven.manifest(*NAMES)).computed == 7
    assert len(seen) > 3
    assert set(seen) == {(True, True)}
