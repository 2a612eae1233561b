"""Front ends on the device give what transformers' feature extractors give for each clip alone."""

from functools import partial

import numpy as np
import pytest
import torch
import transformers

from features.backbones.networks.encoders.calls import prepare
from features.backbones.networks.front_ends import TOLERANCE, front_end_of

pytestmark = pytest.mark.thorough

# feature extractor, its settings, the longest clip in seconds (None: any), an encoder of it
SUPPORTED = {
    "ast": ("ASTFeatureExtractor", {}, None, "ASTModel"),
    "ast-unnormalised": (
        "ASTFeatureExtractor",
        {"num_mel_bins": 64, "max_length": 300, "do_normalize": False},
        None,
        "ASTModel",
    ),
    "whisper": ("WhisperFeatureExtractor", {}, None, "WhisperModel"),
    "whisper-large-v3": ("WhisperFeatureExtractor", {"feature_size": 128}, None, "WhisperModel"),
    "whisper-5s": ("WhisperFeatureExtractor", {"chunk_length": 5}, None, "WhisperModel"),
    "clap": ("ClapFeatureExtractor", {"truncation": "rand_trunc", "frequency_min": 50}, 10.0, "ClapModel"),
    "clap-fused": ("ClapFeatureExtractor", {}, 10.0, "ClapModel"),
    "clap-repeat": ("ClapFeatureExtractor", {"padding": "repeat"}, 10.0, "ClapModel"),
    "clap-pad": ("ClapFeatureExtractor", {"padding": "pad"}, 10.0, "ClapModel"),
    "w2v-bert": ("SeamlessM4TFeatureExtractor", {}, None, "Wav2Vec2BertModel"),
    "conformer": ("Wav2Vec2FeatureExtractor", {}, None, "Wav2Vec2ConformerModel"),
    "conformer-unnormalised": ("Wav2Vec2FeatureExtractor", {"do_normalize": False}, None, "Wav2Vec2ConformerModel"),
}
UNKNOWN = {
    "dither": ("WhisperFeatureExtractor", {"dither": 0.1}, "WhisperModel"),
    "stride": ("SeamlessM4TFeatureExtractor", {"stride": 3}, "Wav2Vec2BertModel"),
    "padding": ("ClapFeatureExtractor", {"padding": "mirror", "truncation": "rand_trunc"}, "ClapModel"),
    "other extractor": ("ParakeetFeatureExtractor", {}, "ParakeetEncoder"),
}
# one frame, odd and even numbers of frames, whole seconds, beyond the windows of AST and Whisper
SECONDS = (0.026, 0.045, 0.1, 0.333, 0.9999, 1.0, 3.14159, 9.99, 10.0, 30.0, 33.0)
CPU = torch.device("cpu")


def extractor_and_preparation(name, settings, model):
    """An extractor, and the function that runs it on one clip for an encoder's arguments."""
    extractor = getattr(transformers, name)(**settings)
    kind = getattr(transformers, model)
    encoder = {"WhisperModel": transformers.models.whisper.modeling_whisper.WhisperEncoder}.get(model, kind)
    if model == "ClapModel":
        encoder = transformers.models.clap.modeling_clap.ClapAudioModel
    return extractor, partial(prepare, extractor, encoder)


def clips_of(rate, longest_s):
    """Noise, a chord with pauses, and nearly silent noise, of many lengths."""
    rng = np.random.default_rng(1)
    clips = []
    for number, seconds in enumerate(sorted({min(each, longest_s or each) for each in SECONDS})):
        times = np.arange(round(seconds * rate)) / rate
        noise = rng.standard_normal(len(times))
        bursts = np.where(times % 0.2 < 0.1, np.sin(2 * np.pi * 440 * times) + 0.1 * noise, 0.0)
        clips.append((0.1 * noise, 0.3 * bursts, 1e-4 * noise)[number % 3].astype(np.float32))
    return clips


@pytest.mark.filterwarnings("ignore:.*(Degrees of freedom|degrees of freedom|invalid value):")
@pytest.mark.parametrize("label", SUPPORTED)
def test_a_batch_equals_the_extractor_for_each_clip(label):
    name, settings, longest_s, model = SUPPORTED[label]
    extractor, alone = extractor_and_preparation(name, settings, model)
    front_end = front_end_of(extractor, alone, CPU)
    assert front_end is not None
    clips = clips_of(extractor.sampling_rate, longest_s)
    batch = torch.full((len(clips), max(map(len, clips))), 99.0)  # padding is not read
    for row, clip in zip(batch, clips, strict=True):
        row[: len(clip)] = torch.from_numpy(clip)

    seen = []
    for rows, inputs in front_end(batch, [len(clip) for clip in clips]):
        for at, row in enumerate(rows):
            seen.append(row)
            expected = alone(clips[row])
            assert inputs.keys() == expected.keys()
            for key, value in expected.items():
                assert inputs[key].dtype == value.dtype
                torch.testing.assert_close(inputs[key][at : at + 1], value, rtol=0, atol=TOLERANCE, equal_nan=True)
    assert sorted(seen) == list(range(len(clips)))


@pytest.mark.parametrize("label", UNKNOWN)
def test_settings_that_a_front_end_does_not_know_leave_the_extractor(label):
    name, settings, model = UNKNOWN[label]
    extractor, alone = extractor_and_preparation(name, settings, model)
    assert front_end_of(extractor, alone, CPU) is None
