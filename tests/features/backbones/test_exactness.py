"""Every layer of every clip in a padded batch equals the output of transformers for that clip alone."""

import itertools
import json

import numpy as np
import pytest
import torch
from transformers import Wav2Vec2FeatureExtractor

from features.backbones import describe, load

NORMS = [
    {"feat_extract_norm": norm, "do_stable_layer_norm": stable, "conv_bias": norm == "layer"}
    for norm, stable in itertools.product(("group", "layer"), (False, True))
]
VARIANTS = [
    *itertools.product(("wav2vec2", "hubert", "wavlm", "unispeech-sat", "unispeech"), NORMS),
    ("data2vec-audio", {}),
    ("data2vec-audio", {"conv_bias": True, "conv_pos_kernel_size": 8}),
    ("hubert", {"conv_pos_batch_norm": True}),
    ("hubert", {"conv_pos_batch_norm": True, "do_stable_layer_norm": True, "feat_extract_norm": "layer"}),
    ("hubert", {"feat_proj_layer_norm": False}),
    ("wav2vec2", {"num_conv_pos_embeddings": 15}),
    ("wav2vec2", {"do_stable_layer_norm": True, "feat_extract_norm": "layer", "adapter_attn_dim": 8}),
    ("wavlm", {"num_buckets": 16, "max_bucket_distance": 40}),
]
LENGTHS = (400, 719, 720, 1_003, 7_040, 16_000, 24_321, 48_127, 160_000)


def name_of(variant):
    model_type, architecture = variant
    return "-".join([model_type, *(f"{key.removeprefix('feat_extract_')}={v}" for key, v in architecture.items())])


def reference(model, clip, *, do_normalize):
    """(L, F, D) of one clip alone, by transformers."""
    extractor = Wav2Vec2FeatureExtractor(do_normalize=do_normalize, sampling_rate=16000)
    inputs = extractor(clip, sampling_rate=16000, return_tensors="pt").input_values
    with torch.no_grad():
        output = model(inputs, output_hidden_states=True)
    assert len(output.hidden_states) == model.config.num_hidden_layers + 1
    return torch.cat([*output.hidden_states[:-1], output.last_hidden_state]).numpy()


def errors(frames, expected):
    """‖a − b‖/‖b‖ per layer."""
    assert frames.shape == expected.shape
    return np.linalg.norm(frames - expected, axis=(1, 2)) / np.linalg.norm(expected, axis=(1, 2))


def _marked(variant):
    """A parameter; three types whose networks are like Wav2Vec2's run with one kind of norm in the quick tests."""
    more = variant[0] in ("hubert", "unispeech-sat", "unispeech") and variant[1] in NORMS[1:]
    return pytest.param(variant, marks=pytest.mark.thorough if more else (), id=name_of(variant))


@pytest.mark.parametrize("variant", [_marked(one) for one in VARIANTS])
def test_a_padded_batch_equals_transformers_one_clip_at_a_time(variant, save_encoder, make_clips):
    model_type, architecture = variant
    do_normalize = "layer" in architecture.values() or model_type == "data2vec-audio"
    folder, model = save_encoder(model_type, do_normalize=do_normalize, **architecture)
    backbone = load({"name": "wav2vec2", "weights": str(folder)})
    clips = make_clips(*LENGTHS)
    expected = [reference(model, clip, do_normalize=do_normalize) for clip in clips]
    for order in (range(len(clips)), (8, 0, 5)):
        for at, frames in zip(order, backbone.embed([clips[at] for at in order]), strict=True):
            assert errors(frames, expected[at]).max() <= 1e-5
    layers = np.stack([layer.ravel() for layer in expected[-1]])
    assert np.linalg.norm(np.diff(layers, axis=0), axis=1).min() > 1e-2  # no layer is another's copy


@pytest.mark.parametrize(
    ("stated", "override", "normalized", "assumed"),
    [
        (True, None, True, False),
        (False, None, False, False),
        (None, None, True, True),
        (True, False, False, False),
        (False, True, True, False),
        (None, False, False, False),
    ],
)
def test_inputs_are_normalised_as_the_folder_or_the_option_sets(
    stated, override, normalized, assumed, save_encoder, make_clips
):
    folder, model = save_encoder(do_normalize=stated, feat_extract_norm="layer")
    options = {"name": "wav2vec2", "weights": str(folder)} | ({} if override is None else {"normalize": override})
    backbone = load(options)
    assert backbone.spec.settings["normalize"] is normalized
    assert backbone.spec.settings["normalize_assumed"] is assumed
    assert backbone.spec.sample_rate == 16000
    clips = make_clips(5_000, 12_000, 30_000)
    for clip, frames in zip(clips, backbone.embed(clips), strict=True):
        assert errors(frames, reference(model, clip, do_normalize=normalized)).max() <= 1e-5
        assert errors(frames, reference(model, clip, do_normalize=not normalized)).max() > 1e-3


def test_a_processor_as_transformers_5_saves_it_counts_too(save_encoder):
    folder, _ = save_encoder(do_normalize=None)
    nested = {
        "processor_class": "Wav2Vec2Processor",
        "feature_extractor": {"do_normalize": False, "sampling_rate": 8000},
    }
    (folder / "processor_config.json").write_text(json.dumps(nested))
    spec = describe({"name": "wav2vec2", "weights": str(folder)})
    assert (spec.settings["normalize"], spec.settings["normalize_assumed"], spec.sample_rate) == (False, False, 8000)


def test_the_folder_cannot_choose_how_attention_is_computed(save_encoder, make_clips):
    folder, model = save_encoder()
    config = json.loads((folder / "config.json").read_text())
    asked = {"output_attentions": True, "output_hidden_states": True, "attn_implementation": "eager"}
    (folder / "config.json").write_text(json.dumps(config | asked))
    clips = make_clips(3_000, 20_000)
    backbone = load({"name": "wav2vec2", "weights": str(folder)})
    for clip, frames in zip(clips, backbone.embed(clips), strict=True):
        assert errors(frames, reference(model, clip, do_normalize=True)).max() <= 1e-5


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize(
    ("model_type", "architecture"),
    [
        ("wav2vec2", {}),
        ("wav2vec2", {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}),
        ("wavlm", {}),
        ("data2vec-audio", {}),
        ("hubert", {"conv_pos_batch_norm": True}),
    ],
)
def test_half_precision_stays_close(model_type, architecture, precision, make_clips):
    options = {"name": "wav2vec2", "model_type": model_type, "weights": "random", "size": "tiny"}
    options["architecture"] = architecture
    clips = make_clips(400, 9_000, 16_000, 40_000)
    full, half = (load(options, precision=p).embed(clips) for p in ("fp32", precision))
    for a, b in zip(half, full, strict=True):
        assert a.dtype == np.float32
        x, y = a.mean(axis=1), b.mean(axis=1)  # [L, D]
        cosine = (x * y).sum(axis=1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)
        assert cosine.min() >= 0.9995
        assert np.abs(a - b).max() > 0  # it did run in less


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_is_exact_under_padding_to_its_own_precision(precision, make_clips):
    backbone = load({"name": "wav2vec2", "weights": "random", "size": "tiny"}, precision=precision)
    clips = make_clips(700, 9_000, 40_000)
    for clip, frames in zip(clips, backbone.embed(clips), strict=True):
        assert errors(frames, backbone.embed([clip])[0]).max() <= 0.02
