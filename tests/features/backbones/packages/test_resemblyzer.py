"""Resemblyzer's voice encoder equals the publisher's computation, with its file or any other weights."""

import numpy as np
import pytest
import torch

from features.backbones import get_record, load
from features.backbones.packages.networks.ge2e import VoiceEncoder, raise_level, window_starts
from features.errors import WeightsError
from tests.features.backbones.presets.agreement import agrees
from tests.paths import SHARED

PUBLISHED = SHARED / "weights" / "ge2e" / "ge2e.pt"
RATE = 16_000


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A checkpoint in the publisher's format, with seeded weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        state = {name: tensor * 2 for name, tensor in VoiceEncoder().state_dict().items()}
    state |= {"similarity_weight": torch.ones(1), "similarity_bias": torch.zeros(1)}
    file = tmp_path_factory.mktemp("ge2e") / "pretrained.pt"
    torch.save({"step": 7, "model_state": state, "optimizer_state": {}}, file)
    return file


def by_resemblyzer(file, clip):
    """(F, 256) of one clip: `normalize_volume`, `wav_to_mel_spectrogram` and `embed_utterance`, written out."""
    import librosa

    level = 20 * np.log10(np.sqrt(np.mean((clip * 32_767) ** 2)) / 32_767)
    wav = clip * 10 ** ((-30 - level) / 20) if level < -30 else clip
    n_frames, starts = int(np.ceil((len(wav) + 1) / 160)), []
    for start in range(0, max(1, n_frames - 160 + 77 + 1), 77):
        starts.append(start)
    if (len(wav) - starts[-1] * 160) / 25_600 < 0.75 and len(starts) > 1:
        starts.pop()
    wav = np.pad(wav, (0, max(0, (starts[-1] + 160) * 160 - len(wav))))
    mel = librosa.feature.melspectrogram(y=wav, sr=RATE, n_fft=400, hop_length=160, n_mels=40).astype(np.float32).T
    lstm, linear = torch.nn.LSTM(40, 256, 3, batch_first=True), torch.nn.Linear(256, 256)
    state = torch.load(file, weights_only=True, map_location="cpu")["model_state"]
    for name, module in (("lstm.", lstm), ("linear.", linear)):
        module.load_state_dict({key.removeprefix(name): state[key] for key in state if key.startswith(name)})
    with torch.no_grad():
        _, (hidden, _) = lstm(torch.from_numpy(np.stack([mel[start : start + 160] for start in starts])))
        raw = torch.relu(linear(hidden[-1]))
        return (raw / torch.norm(raw, dim=1, keepdim=True)).numpy()


def assert_equal(file, clips):
    backbone = load({"name": "ge2e", "weights": str(file)})
    for clip, frames in zip(clips, backbone.embed(clips), strict=True):
        expected = by_resemblyzer(file, clip)
        assert frames[0].shape == expected.shape
        assert np.linalg.norm(frames[0] - expected) / np.linalg.norm(expected) <= 1e-5


# one window, all but complete, just covered, not covered, many; loud and quiet
LENGTHS = (4_000, 25_599, 25_600, 35_000, 32_000, 5 * RATE, 10 * RATE)


def test_windows_of_a_batch_are_the_publishers(checkpoint, make_clips):
    clips = make_clips(*LENGTHS)
    assert_equal(checkpoint, [*clips, clips[-2] * 1e-3])


def test_the_published_file_gives_the_publishers_values(make_clips):
    if not PUBLISHED.is_file():
        pytest.skip("no ../shared/weights/ge2e/ge2e.pt next to the checkout")
    assert_equal(PUBLISHED, make_clips(*LENGTHS[3:]))


def test_the_last_window_is_left_out_if_the_clip_covers_too_little_of_it():
    assert window_starts(1) == window_starts(25_599) == [0]
    assert window_starts(12_320 + 19_199) == [0]
    assert window_starts(12_320 + 19_200) == [0, 77]


def test_only_clips_below_the_target_level_are_raised(make_clips):
    waveforms = torch.from_numpy(make_clips(RATE)[0]).repeat(4, 1)
    waveforms /= waveforms.square().mean(1, keepdim=True).sqrt()
    levels = torch.tensor([0.1, 0.01, 1e-5, 0.0])[:, None]
    raised = raise_level(waveforms * levels, torch.full((4,), RATE)).square().mean(1).sqrt()
    np.testing.assert_allclose(raised, [0.1, 10**-1.5, 10**-1.5, 0], rtol=1e-5)


def test_the_record_is_that_of_the_network():
    record, backbone = get_record("ge2e"), load({"name": "ge2e", "weights": "random"})
    agrees(record, backbone.spec)
    assert record.parameters == backbone.parameters
    assert record.input.sample_rate_hz / record.input.hop_samples == backbone.spec.frame_rate


def test_a_missing_file_is_one_line_that_says_where_it_is(tmp_path):
    with pytest.raises(WeightsError, match=r"^ge2e: no file '.*none.pt'; .*Resemblyzer.*") as caught:
        load({"name": "ge2e", "weights": str(tmp_path / "none.pt")})
    assert "\n" not in str(caught.value)


def test_weights_of_another_network_are_one_line(tmp_path):
    torch.save({"model_state": {"lstm.weight_ih_l0": torch.zeros(8, 40)}}, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match=r"does not fit the architecture: 'lstm.weight_ih_l0' has shape"):
        load({"name": "ge2e", "weights": str(tmp_path / "other.pt")})
