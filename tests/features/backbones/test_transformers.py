"""Encoders of transformers: the output of transformers for each clip alone, without frames of padding."""

import json
import shutil

import numpy as np
import pytest
import torch
import transformers

from features.backbones import describe, load
from features.backbones.base import pad
from features.errors import ConfigError, WeightsError
from recipes.parity.publishers.huggingface import layers_of
from tests.paths import SHARED

pytestmark = pytest.mark.thorough

TINY = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48}
HEADS = {"encoder_attention_heads": 4, "decoder_attention_heads": 4}
WHISPER = {"d_model": 32, "encoder_layers": 3, "decoder_layers": 1, **HEADS}
CLAP_AUDIO = {"patch_embeds_hidden_size": 16, "hidden_size": 128, "depths": [1, 1, 1, 1]}
ENCODEC = {"num_filters": 4, "hidden_size": 16, "num_lstm_layers": 1}
CODEC_LABELS = ("encodec", "encodec-music", "dac", "mimi")
NO_TOKENS = {f"{name}_token_id": 1 for name in ("pad", "bos", "eos", "cls", "sep")}
CONV = {"conv_dim": (24,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}
PE_AUDIO = {
    **TINY,
    "head_dim": 8,
    "dac_config": {"encoder_hidden_size": 4, "decoder_hidden_size": 16, "codebook_dim": 8},
}
# model class and its configuration, feature extractor and its settings
MODELS = {
    "ast": ("ASTForAudioClassification", TINY, "ASTFeatureExtractor", {}),
    "whisper": (
        "WhisperForConditionalGeneration",
        {**WHISPER, "decoder_attention_heads": 4},
        "WhisperFeatureExtractor",
        {},
    ),
    "whisper-128": (  # as large-v3
        "WhisperForConditionalGeneration",
        {**WHISPER, "num_mel_bins": 128},
        "WhisperFeatureExtractor",
        {"feature_size": 128},
    ),
    "clap-larger": (  # the proportions of larger_clap_general
        "ClapModel",
        {
            "audio_config": {**CLAP_AUDIO, "depths": [1, 1, 2, 1], "num_attention_heads": [2, 4, 8, 16]},
            "text_config": {**TINY, "vocab_size": 50},
        },
        "ClapFeatureExtractor",
        {"truncation": "rand_trunc", "sampling_rate": 48000, "frequency_min": 50},
    ),
    "clap": (
        "ClapModel",
        {"audio_config": CLAP_AUDIO, "text_config": {**TINY, "vocab_size": 50}},
        "ClapFeatureExtractor",
        {"truncation": "rand_trunc"},
    ),
    "clap-fused": (
        "ClapModel",
        {"audio_config": {**CLAP_AUDIO, "enable_fusion": True}, "text_config": {**TINY, "vocab_size": 50}},
        "ClapFeatureExtractor",
        {},
    ),
    "w2v-bert": ("Wav2Vec2BertModel", {**TINY, "output_hidden_size": 32}, "SeamlessM4TFeatureExtractor", {}),
    "conformer": ("Wav2Vec2ConformerModel", {**TINY, **CONV}, "Wav2Vec2FeatureExtractor", {}),
    "conformer-rope": (
        "Wav2Vec2ConformerModel",
        {**TINY, **CONV, "position_embeddings_type": "rotary"},
        "Wav2Vec2FeatureExtractor",
        {},
    ),
    "sew": ("SEWModel", TINY, "Wav2Vec2FeatureExtractor", {}),
    "encodec": ("EncodecModel", ENCODEC, "EncodecFeatureExtractor", {}),
    "encodec-music": (  # as MusicGen's: not causal
        "EncodecModel",
        {**ENCODEC, "use_causal_conv": False, "use_conv_shortcut": False, "sampling_rate": 32_000},
        "EncodecFeatureExtractor",
        {"sampling_rate": 32_000},
    ),
    "dac": (
        "DacModel",
        {"encoder_hidden_size": 4, "decoder_hidden_size": 16, "downsampling_ratios": [2, 4, 5, 8]},
        "DacFeatureExtractor",
        {"hop_length": 320},
    ),
    "mimi": (
        "MimiModel",
        {**TINY, "num_key_value_heads": 4, "num_filters": 4, "upsample_groups": 32, "sliding_window": 20},
        "EncodecFeatureExtractor",
        {},
    ),
    "pe-audio": (
        "PeAudioModel",
        {
            "text_config": {**TINY, "vocab_size": 50, **NO_TOKENS},
            "audio_config": PE_AUDIO,
        },
        "PeAudioFeatureExtractor",
        {},
    ),
    "pe-audio-frame": (  # as pe-a-frame-small
        "PeAudioFrameLevelModel",
        {"text_config": {**TINY, "vocab_size": 50, **NO_TOKENS}, "audio_config": PE_AUDIO},
        "PeAudioFeatureExtractor",
        {},
    ),
    "pe-audio-alone": ("PeAudioEncoder", PE_AUDIO, "PeAudioFeatureExtractor", {}),
    "flamingo": (
        "AudioFlamingo3ForConditionalGeneration",
        {
            "text_config": {**TINY, "model_type": "qwen2", "num_key_value_heads": 4, "vocab_size": 60},
            "audio_config": TINY,
            "audio_token_id": 5,
        },
        "WhisperFeatureExtractor",
        {"feature_size": 128},
    ),
    "flamingo-alone": ("AudioFlamingo3Encoder", TINY, "WhisperFeatureExtractor", {"feature_size": 128}),
    "parakeet": ("ParakeetEncoder", TINY, "ParakeetFeatureExtractor", {}),
}
SECONDS = (0.1, 0.35, 1.0, 1.0, 2.71, 7.003, 10.0)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Folders from `save_pretrained` with seeded weights, and the models and feature extractors in them."""
    made = {}

    def save(label):
        if label not in made:
            model_class, sizes, extractor_class, settings = MODELS[label]
            kind = getattr(transformers, model_class)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(3)
                model = kind(kind.config_class(**sizes)).eval()
                for name, tensor in model.named_parameters():
                    if name.endswith("bias"):
                        tensor.data.normal_(0.0, 0.2)
            extractor = getattr(transformers, extractor_class)(**settings)
            folder = tmp_path_factory.mktemp(label)
            model.save_pretrained(folder)
            extractor.save_pretrained(folder)
            made[label] = folder, model, extractor
        return made[label]

    return save


def error(a, b):
    """The largest ‖a − b‖/‖b‖ over layers."""
    assert a.shape == b.shape
    return max(np.linalg.norm(x - y) / np.linalg.norm(y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("label", MODELS)
def test_every_layer_is_what_transformers_gives_for_each_clip_alone(label, saved, make_clips):
    folder, model, extractor = saved(label)
    backbone = load({"name": "transformers", "weights": str(folder)})
    rate = backbone.spec.sample_rate
    assert rate == extractor.sampling_rate
    clips = [clip for clip in make_clips(*(round(s * rate) for s in SECONDS)) if len(clip) >= backbone.spec.min_samples]
    assert len(clips) >= 5
    for clip, frames in zip(clips, backbone.embed(clips), strict=True):
        assert error(frames, layers_of(model, extractor, clip)) <= 1e-5


@pytest.mark.parametrize("label", CODEC_LABELS)
def test_a_codecs_frames_are_what_its_quantiser_gets(label, saved, make_clips, monkeypatch):
    folder, model, extractor = saved(label)
    backbone = load({"name": "transformers", "weights": str(folder)})
    (clip,) = make_clips(2 * extractor.sampling_rate + 77)
    given = []
    method = "forward" if label == "dac" else "encode"
    quantise = getattr(model.quantizer, method)
    monkeypatch.setattr(model.quantizer, method, lambda frames, *rest: given.append(frames) or quantise(frames, *rest))
    with torch.no_grad():
        model.encode(extractor(clip, sampling_rate=extractor.sampling_rate, return_tensors="pt")["input_values"])
    assert error(backbone.embed([clip])[0], given[0].transpose(1, 2).numpy()) <= 1e-5


@pytest.mark.parametrize(
    "label",
    ["ast", "whisper", "clap", "clap-fused", "w2v-bert", "conformer", "sew", "flamingo", "pe-audio", *CODEC_LABELS],
)
def test_known_feature_extractors_run_as_batched_modules_on_the_device(label, saved, make_clips, monkeypatch):
    folder, _, extractor = saved(label)
    backbone = load({"name": "transformers", "weights": str(folder)}, device="cpu")
    clips = make_clips(*(round(seconds * backbone.spec.sample_rate) for seconds in SECONDS[:4]))
    monkeypatch.setattr(type(extractor), "__call__", lambda *args, **kwargs: pytest.fail("the extractor is called"))
    assert len(backbone.embed(clips)) == 4


@pytest.mark.parametrize(
    ("label", "layers", "dim", "rate", "longest_s"),
    [
        ("ast", 4, 32, 10, 10.255),
        ("whisper", 4, 32, 50, 30),
        ("clap", 1, 128, 0.1, 10),
        ("w2v-bert", 4, 32, 50, 30),
        ("conformer", 4, 32, 50, 30),
        ("parakeet", 4, 32, 12.5, 30),
        ("encodec", 1, 16, 75, 30),
        ("encodec-music", 1, 16, 100, 30),
        ("dac", 1, 64, 50, 30),
        ("mimi", 1, 32, 12.5, 30),
        ("pe-audio", 1, 32, 25, 30),
        ("flamingo", 1, 32, 25, 30),
    ],
)
def test_the_spec_comes_from_the_architecture_alone(label, layers, dim, rate, longest_s, saved):
    spec = describe({"name": "transformers", "weights": str(saved(label)[0])})
    assert (len(spec.layers), spec.dim) == (layers, dim)
    assert spec.frame_rate == pytest.approx(rate, rel=0.01)
    assert spec.max_duration_s == pytest.approx(longest_s, abs=1e-4)


def test_whisper_gives_no_frames_of_its_padding(saved, make_clips):
    backbone = load({"name": "transformers", "weights": str(saved("whisper")[0])})
    frames = backbone.embed_batch(*pad(make_clips(16_000, 160_000), 1))
    assert frames.lengths.tolist() == [50, 500]


def test_longer_clips_than_the_model_sees_go_through_in_its_windows(saved, make_clips):
    folder, model, extractor = saved("ast")
    backbone = load({"name": "transformers", "weights": str(folder)})
    (clip,) = make_clips(400_000)
    size = backbone.spec.max_samples
    assert size == 1_023 * 160 + 400
    parts = [layers_of(model, extractor, part) for part in (clip[:size], clip[size : 2 * size], clip[2 * size :])]
    assert error(backbone.embed([clip])[0], np.concatenate(parts, axis=1)) <= 1e-5
    assert [part.shape[1] for part in parts][:2] == [101, 101]


def test_asts_class_tokens_are_its_pooled_output(saved, make_clips):
    folder, model, extractor = saved("ast")
    backbone = load({"name": "transformers", "weights": str(folder), "embedding": "pooled"})
    clips = make_clips(9_000, 48_000)
    for clip, frames in zip(clips, backbone.embed(clips), strict=True):
        with torch.no_grad():
            output = model.base_model(extractor(clip, sampling_rate=16_000, return_tensors="pt").input_values)
        assert frames.shape == (4, 1, 32)
        np.testing.assert_allclose(frames[-1], output.pooler_output.numpy(), atol=1e-5)
    with pytest.raises(ConfigError, match="pooled is for AST; whisper has only frames"):
        describe({"name": "transformers", "weights": str(saved("whisper")[0]), "embedding": "pooled"})


def test_vectors_of_windows_count_by_length(saved, make_clips):
    backbone = load({"name": "transformers", "weights": str(saved("clap")[0])})
    frames = backbone.embed_batch(*pad(make_clips(120_000, 480_000), 1))
    np.testing.assert_allclose(frames.weights, [[0.25], [1.0]])


def test_the_digests_cover_weights_configuration_and_extractor(saved, tmp_path):
    folder, _, _ = saved("ast")
    copy = shutil.copytree(folder, tmp_path / "copy")
    first = describe({"name": "transformers", "weights": str(folder)})
    again = describe({"name": "transformers", "weights": str(copy)})
    assert (first.weights_sha256, first.settings) == (again.weights_sha256, again.settings)
    stated = json.loads((copy / "preprocessor_config.json").read_text())
    (copy / "preprocessor_config.json").write_text(json.dumps({**stated, "mean": -3.0}))
    assert describe({"name": "transformers", "weights": str(copy)}).settings != first.settings


@pytest.mark.parametrize("precision", ["bf16"])
@pytest.mark.parametrize("label", ["ast", "whisper", "clap", "w2v-bert"])
def test_half_precision_stays_close(label, precision, saved, make_clips):
    options = {"name": "transformers", "weights": str(saved(label)[0])}
    full, half = load(options), load(options, precision=precision)
    clips = make_clips(9_000, 30_000)
    for a, b in zip(half.embed(clips), full.embed(clips), strict=True):
        x, y = a.mean(axis=1), b.mean(axis=1)
        cosine = (x * y).sum(axis=1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)
        assert cosine.min() >= 0.999
        assert np.abs(a - b).max() > 0


def edit_config(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"model_type": "mert_model", "auto_map": {"AutoModel": "x.Y"}},
            "no model type 'mert_model'; .*read_as: hubert; .* cannot be run: .* has no x.py",
        ),
        ({"model_type": "hubert"}, "hubert belongs to the family wav2vec2, where padded batches are exact"),
        ({"model_type": "xyz"}, "transformers has no model type 'xyz'"),
        ({"hidden_size": 48}, "does not fit the architecture: .* has shape .*, expected "),
        ({"num_hidden_layers": 4}, r"does not fit the architecture: '.*3\..*' is missing"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused_in_one_line(change, message, saved, tmp_path):
    folder = shutil.copytree(saved("ast")[0], tmp_path / "copy")
    edit_config(folder, **change)
    with pytest.raises(WeightsError, match=message) as caught:
        load({"name": "transformers", "weights": str(folder)})
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_feature_extractor_is_refused(saved, tmp_path):
    folder = shutil.copytree(saved("ast")[0], tmp_path / "copy")
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(WeightsError, match=r"has no preprocessor_config.json; save the model's feature"):
        describe({"name": "transformers", "weights": str(folder)})


def test_text_models_are_refused(tmp_path, saved):
    config = transformers.BertConfig(**TINY, vocab_size=30)
    transformers.BertModel(config).save_pretrained(tmp_path)
    saved("ast")[2].save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="bert cannot embed audio with ASTFeatureExtractor: ") as caught:
        describe({"name": "transformers", "weights": str(tmp_path)})
    assert "\n" not in str(caught.value)


def test_a_mert_like_folder_loads_as_hubert(save_encoder, make_clips):
    folder, model = save_encoder("hubert")
    mert = {"feature_extractor_cqt": False, "deepnorm": False, "attention_relax": 32.0}
    edit_config(folder, model_type="mert_model", auto_map={"AutoModel": "x.Y"}, **mert)
    with pytest.raises(WeightsError, match="model type 'mert_model' is not a Wav2Vec2-like encoder"):
        describe({"name": "wav2vec2", "weights": str(folder)})
    backbone = load({"name": "wav2vec2", "weights": str(folder), "read_as": "hubert"})
    (clip,) = make_clips(16_000)
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=True)
    with torch.no_grad():
        inputs = extractor(clip, sampling_rate=16_000, return_tensors="pt").input_values
        expected = model(inputs).last_hidden_state
    assert error(backbone.embed([clip])[0][-1:], expected.numpy()) <= 1e-5
    preset = load({"name": "mert-v1-330m", "weights": str(folder)})
    assert error(preset.embed([clip])[0][-1:], expected.numpy()) <= 1e-5
    edit_config(folder, deepnorm=True)
    with pytest.raises(WeightsError, match="deepnorm is True, which needs the model's own code"):
        describe({"name": "wav2vec2", "weights": str(folder), "read_as": "hubert"})


def test_whispers_real_encoder_equals_the_one_of_transformers(make_clips):
    folder = SHARED / "weights" / "whisper-base-encoder"
    if not folder.is_dir():
        pytest.skip(f"needs {folder}")
    model = transformers.WhisperModel.from_pretrained(folder, dtype=torch.float32).eval()
    extractor = transformers.WhisperFeatureExtractor.from_pretrained(folder)
    backbone = load({"name": "transformers", "weights": str(folder)}, device="cpu")
    clips = make_clips(8000, 40_123)
    for clip, frames in zip(clips, backbone.embed(clips), strict=True):
        assert error(frames, layers_of(model, extractor, clip)) <= 1e-5
