"""The table of backbones and presets: options are checked, presets carry what was published, describing is cheap."""

import subprocess
import sys

import pytest

from features.backbones import describe, list_backbones, load, parse_options, presets
from features.backbones.options import BackboneOptions
from features.backbones.table import get_record
from features.errors import ConfigError

RANDOM = {"name": "wav2vec2", "weights": "random", "size": "tiny"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("mfcc", "should be a mapping such as .*, got 'mfcc'"),
        (None, "should be a mapping"),
        ({}, "needs a name, got None; `audioheads backbones ls` lists all names"),
        ({"name": ["mfcc"]}, "needs a name"),
        ({"name": "wav2vec"}, "unknown backbone 'wav2vec': did you mean 'wav2vec2'\\? `audioheads backbones ls`"),
        ({"name": "zzz"}, "unknown backbone 'zzz': the families are mfcc, .*`audioheads backbones ls` lists all names"),
        ({"name": "mfcc", "weights": "random"}, "'mfcc': weights: unknown key"),
        (
            {"name": "wav2vec2", "weigths": "random"},
            "weights: is required|weigths: unknown key, did you mean 'weights'",
        ),
        ({"name": "wav2vec2-base", "weigths": "x"}, "weigths: unknown key, did you mean 'weights'"),
        ({"name": "wav2vec2"}, "'wav2vec2': weights: is required"),
        ({"name": "mfcc", "max_duration_s": 9}, "max_duration_s: .*greater than or equal to 10"),
        ({**RANDOM, "seed": -1}, "seed: "),
        ({**RANDOM, "seed": 2**63}, "seed: "),
        ({**RANDOM, "normalize": "often"}, "normalize: .*boolean"),
        ({**RANDOM, "size": "huge"}, "wav2vec2: unknown size 'huge': use one of tiny, nano, base, large, large-stable"),
        ({**RANDOM, "model_type": "bert"}, "model type 'bert' is not .*: known are wav2vec2"),
        ({**RANDOM, "architecture": {"layers": 3}}, "architecture.layers is not a key of a wav2vec2 configuration"),
        ({**RANDOM, "architecture": {"num_attention_heads": 5}}, "embed_dim must be divisible by num_heads"),
        ({**RANDOM, "architecture": {"feat_extract_norm": "batch"}}, "feat_extract_norm"),
        ({**RANDOM, "architecture": {"add_adapter": True}}, "add_adapter"),
        ({**RANDOM, "architecture": {"conv_stride": [5, 2]}}, "conv_stride|conv_kernel"),
    ],
)
def test_bad_options_are_one_line(options, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load(options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"precision": "fp8"}, "precision 'fp8': use one of fp32, bf16, fp16"),
        ({"device": "abacus"}, "device 'abacus' is not available .*; use cpu"),
        ({"device": "cuda:99"}, "device 'cuda:99' is not available"),
    ],
)
@pytest.mark.parametrize("options", [RANDOM, {"name": "mfcc"}], ids=["wav2vec2", "mfcc"])
def test_bad_devices_and_precisions_are_one_line(options, arguments, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load(options, **arguments)
    assert "\n" not in str(caught.value)


def test_a_configs_own_options_win_over_the_presets():
    parsed = parse_options({"name": "hubert-base", "weights": "random", "size": "tiny"})
    assert (parsed.weights, parsed.size, parsed.model_type) == ("random", "tiny", "hubert")
    assert parse_options(parsed) == parsed
    assert isinstance(parsed, BackboneOptions)


# What the published config.json and preprocessor_config.json say: normalised, group or layer norm, stable layer norm,
# bias of the convolutions, layers, dimensions.
PUBLISHED = {
    "wav2vec2-base": (True, "group", False, False, 12, 768),
    "wav2vec2-base-960h": (True, "group", False, False, 12, 768),
    "wav2vec2-large": (True, "group", False, False, 24, 1024),
    "wav2vec2-large-lv60": (True, "layer", True, True, 24, 1024),
    "wav2vec2-xls-r-300m": (True, "layer", True, True, 24, 1024),
    "mms-300m": (True, "layer", True, True, 24, 1024),
    "wav2vec2-xls-r-1b": (True, "layer", True, True, 48, 1280),
    "wav2vec2-xls-r-2b": (True, "layer", True, True, 48, 1920),
    "wav2vec2-large-robust": (True, "layer", True, True, 24, 1024),
    "mms-1b": (True, "layer", True, True, 48, 1280),
    "hubert-xlarge": (True, "layer", True, True, 48, 1280),
    "hubert-base": (True, "group", False, False, 12, 768),
    "hubert-large": (True, "layer", True, True, 24, 1024),
    "wavlm-base": (False, "group", False, False, 12, 768),
    "wavlm-base-plus": (False, "group", False, False, 12, 768),
    "wavlm-large": (True, "layer", True, False, 24, 1024),
    "data2vec-audio-base": (True, "layer", False, False, 12, 768),
    "unispeech-sat-base": (True, "group", False, False, 12, 768),
    "distilhubert": (True, "group", False, False, 2, 768),
    "mert-v1-95m": (True, "group", False, False, 12, 768),
    "mert-v1-330m": (True, "layer", True, True, 24, 1024),
    "wav2vec2-emotion-msp-dim": (True, "layer", True, True, 12, 1024),
}


def test_every_preset_of_an_encoder_is_compared_with_what_was_published():
    encoders = {name for name, family in presets().items() if family == "wav2vec2"}
    assert set(PUBLISHED) == encoders - {"wav2vec2-nano"}  # published here, see test_bundled.py


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_presets_untrained_control_has_the_published_architecture(name):
    from features.backbones.wav2vec2 import _random_config

    normalized, norm, stable, bias, layers, dim = PUBLISHED[name]
    options = parse_options({"name": name, "weights": "random"})
    spec, config = describe(options), _random_config(options)
    assert spec.untrained
    assert spec.settings["normalize"] is normalized
    assert (len(spec.layers) - 1, spec.dim) == (layers, dim)
    assert spec.sample_rate == (24_000 if name.startswith("mert") else 16_000)
    assert (spec.min_samples, spec.frame_rate) == (400, spec.sample_rate / 320)
    assert config.conv_bias is bias
    if name.startswith("data2vec"):  # layer norm is all it knows, five positional convolutions
        assert (config.num_conv_pos_embeddings, config.conv_pos_kernel_size) == (5, 19)
    else:
        assert (config.feat_extract_norm, config.do_stable_layer_norm) == (norm, stable)
        assert (config.num_conv_pos_embeddings, config.num_conv_pos_embedding_groups) == (128, 16)


def test_an_override_wins_over_a_presets_normalisation():
    for value in (True, False):
        spec = describe({"name": "wavlm-base", "weights": "random", "normalize": value})
        assert spec.settings["normalize"] is value


def test_a_presets_architecture_is_for_untrained_weights_only(save_encoder):
    folder, _ = save_encoder("wavlm", do_normalize=True)
    spec = describe({"name": "wavlm-base", "weights": str(folder)})
    assert spec.settings["normalize"] is True
    assert spec.dim == 32


def test_every_name_is_listed_with_what_it_is():
    rows = {row["name"]: row for row in list_backbones()}
    assert set(presets()) < set(rows)
    assert rows["hubert-base"]["weights"].startswith("facebook/hubert-base-ls960@dba3bb02")
    assert rows["yamnet"]["sample_rate_hz"] == 16_000
    assert all(row["summary"] for row in rows.values())


def test_the_list_and_the_records_name_the_same_rates():
    listed = {row["name"]: row["sample_rate_hz"] for row in list_backbones()}
    records = {name: get_record(name) for name in presets()}
    recorded = {name: record.input.sample_rate_hz for name, record in records.items() if record and record.input}
    assert recorded == {name: listed[name] for name in recorded}


def test_describing_an_encoder_imports_no_modelling_code(save_encoder):
    folder, _ = save_encoder("hubert")
    code = f"""
import sys
from features.backbones import describe
describe({{"name": "wav2vec2-base", "weights": "random"}})
describe({{"name": "hubert-base", "weights": {str(folder)!r}}})
heavy = [m for m in sys.modules if m.rpartition(".")[2] in ("modeling_utils", "modeling_wav2vec2", "modeling_hubert")]
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
