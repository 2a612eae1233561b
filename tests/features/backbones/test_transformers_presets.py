"""Presets and random weights of the encoders of transformers."""

import pytest

from features.backbones import describe
from features.errors import ConfigError

pytestmark = pytest.mark.thorough

# layers, dimensions, Hz, frames per second, longest window in seconds: as published
PRESETS = {
    "ast": (13, 768, 16_000, 10, 10.255),
    "clap": (1, 768, 48_000, 0.1, 10),
    "larger-clap-general": (1, 1024, 48_000, 0.1, 10),
    "larger-clap-music-and-speech": (1, 1024, 48_000, 0.1, 10),
    "whisper-tiny": (5, 384, 16_000, 50, 30),
    "whisper-base": (7, 512, 16_000, 50, 30),
    "whisper-small": (13, 768, 16_000, 50, 30),
    "whisper-medium": (25, 1024, 16_000, 50, 30),
    "whisper-large-v3": (33, 1280, 16_000, 50, 30),
    "w2v-bert-2.0": (25, 1024, 16_000, 50, 30),
    "sew-tiny": (1, 512, 16_000, 50, 30),
    "sew-mid": (1, 512, 16_000, 50, 30),
    "sew-small": (1, 768, 16_000, 50, 30),
    "wav2vec2-conformer-rel-pos-large": (25, 1024, 16_000, 50, 30),
    "wav2vec2-conformer-rope-large": (25, 1024, 16_000, 50, 30),
    "encodec-24khz": (1, 128, 24_000, 75, 30),
    "encodec-32khz": (1, 128, 32_000, 50, 30),
    "dac-16khz": (1, 1024, 16_000, 50, 30),
    "dac-24khz": (1, 1024, 24_000, 75, 30),
    "dac-44khz": (1, 1024, 44_100, 86.13, 30),
    "mimi": (1, 512, 24_000, 12.5, 30),
    "pe-a-frame-small": (1, 768, 48_000, 25, 30),
    "pe-av-large": (1, 1792, 48_000, 25, 30),
    "audio-flamingo-3": (1, 1280, 16_000, 25, 30),
}


@pytest.mark.parametrize("name", PRESETS)
def test_a_presets_untrained_control_has_the_published_architecture(name):
    layers, dim, rate, frame_rate, longest_s = PRESETS[name]
    spec = describe({"name": name, "weights": "random"})
    assert spec.untrained
    assert (len(spec.layers), spec.dim, spec.sample_rate) == (layers, dim, rate)
    assert spec.frame_rate == pytest.approx(frame_rate, rel=0.01)
    assert spec.max_duration_s == pytest.approx(longest_s, abs=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "transformers has no model type 'None'"),
        (
            {"model_type": "whisper", "architecture": {"layers": 3}},
            "architecture.layers is not a key of a whisper config",
        ),
        ({"model_type": "bert"}, "no feature extractor is known for bert"),
        ({"model_type": "wav2vec2"}, "belongs to the family wav2vec2"),
        ({"model_type": "encodec", "architecture": {"audio_channels": 2}}, "only codecs of mono audio are supported"),
        ({"model_type": "encodec", "architecture": {"chunk_length_s": 1.0}}, "only codecs that encode a clip as it is"),
    ],
)
def test_bad_random_architectures_are_one_line(options, message):
    with pytest.raises(ConfigError, match=message) as caught:
        describe({"name": "transformers", "weights": "random", **options})
    assert "\n" not in str(caught.value)
