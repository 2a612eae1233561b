"""The options under which each backbone of the table is held to the contract."""

from pathlib import Path

from features.backbones import family_of, preset_options

# Options under which each line is cheap enough to test; None: only with a file from `../shared`.
TINY_SIZE = {"weights": "random", "size": "tiny"}
TINY_TRANSFORMER = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
TINY_CODEC = {"num_filters": 4, "hidden_size": 16, "num_lstm_layers": 1}
HERE = {"folder": str(Path(__file__).parent)}


def _conformer(positions):
    architecture = {"conv_dim": (16,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}
    return {
        "weights": "random",
        "architecture": {**TINY_TRANSFORMER, **architecture, "position_embeddings_type": positions},
    }


def _dac(name):
    architecture = {**preset_options(name)["architecture"], "encoder_hidden_size": 4, "decoder_hidden_size": 16}
    return {"weights": "random", "architecture": architecture}


CASES = {
    "mfcc": {},
    "opensmile": {},
    "compare2016": {},
    "aves": TINY_SIZE,
    "dasheng": TINY_SIZE,
    "beats": TINY_SIZE,
    "ecapa": TINY_SIZE,
    "m2d": TINY_SIZE,
    "muq": TINY_SIZE,
    "openl3": {**TINY_SIZE, "hop_s": 0.5},
    "panns": TINY_SIZE,
    "passt": TINY_SIZE,
    "passt-s-p16-s16-128-ap468": {**TINY_SIZE, "embedding": "frames"},
    "resemblyzer": {"weights": "random"},
    "logmel": {},
    "waveform": {},
    "wav2vec2": TINY_SIZE,
    "vggish": {"weights": "random"},
    "litert": None,
    "onnx": None,
    "transformers": {
        "weights": "random",
        "model_type": "wav2vec2-bert",
        "architecture": {**TINY_TRANSFORMER, "output_hidden_size": 32},
    },
    "ast": {"weights": "random", "architecture": TINY_TRANSFORMER},
    "whisper-base": {
        "weights": "random",
        "architecture": {
            "d_model": 32,
            "encoder_layers": 2,
            "decoder_layers": 1,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "max_source_positions": 500,
        },
        "extractor": {"chunk_length": 10},  # s; 500 frames of 20 ms
    },
    "whisper-large-v3": {  # 128 mel bands
        "weights": "random",
        "architecture": {
            "d_model": 32,
            "encoder_layers": 2,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "num_mel_bins": 128,
            "max_source_positions": 500,
        },
        "extractor": {"chunk_length": 10, "feature_size": 128},
    },
    "clap": {
        "weights": "random",
        "architecture": {
            "audio_config": {"patch_embeds_hidden_size": 16, "hidden_size": 128, "depths": [1, 1, 1, 1]},
            "text_config": {**TINY_TRANSFORMER, "vocab_size": 50},
        },
    },
    "hear": {"module": "tiny_models", **HERE},
    "python": {"callable": "tiny_models:load", "sample_rate_hz": 16_000, "weights": "random", **HERE},
    "wavlm-base": TINY_SIZE,
    "data2vec-audio-base": TINY_SIZE,
    "distilhubert": {**TINY_SIZE, "architecture": {"num_hidden_layers": 2, "feat_proj_layer_norm": False}},
    "mert-v1-95m": TINY_SIZE,
    "wav2vec2-emotion-msp-dim": {
        **TINY_SIZE,
        "architecture": {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True},
    },
    "sew-tiny": {"weights": "random", "architecture": {**TINY_TRANSFORMER, "conv_dim": (16,) * 13}},
    "wav2vec2-conformer-rel-pos-large": _conformer("relative"),
    "wav2vec2-conformer-rope-large": _conformer("rotary"),
    "encodec-24khz": {"weights": "random", "architecture": TINY_CODEC},
    "encodec-32khz": {
        "weights": "random",
        "architecture": {**preset_options("encodec-32khz")["architecture"], **TINY_CODEC},
    },
    "dac-16khz": _dac("dac-16khz"),
    "dac-44khz": _dac("dac-44khz"),
    "mimi": {
        "weights": "random",
        "architecture": {
            **TINY_TRANSFORMER,
            "num_filters": 4,
            "upsample_groups": 32,
            "sliding_window": 10,
            "num_key_value_heads": 4,
        },
    },
    "pe-a-frame-small": {
        "weights": "random",
        "architecture": {
            **TINY_TRANSFORMER,
            "head_dim": 8,
            "dac_config": {"encoder_hidden_size": 4, "decoder_hidden_size": 16, "codebook_dim": 8},
        },
    },
    "audio-flamingo-3": {
        "weights": "random",
        "architecture": {**TINY_TRANSFORMER, "max_source_positions": 500},
        "extractor": {"chunk_length": 10, "feature_size": 128},  # s; 500 frames of 20 ms
    },
    "hubert-large": {**TINY_SIZE, "architecture": {"feat_extract_norm": "layer", "do_stable_layer_norm": True}},
}
# one of each kind of network is checked in `make test`, the others in `make test-all`
MORE = (
    "compare2016",
    "vggish",
    "whisper-large-v3",
    "data2vec-audio-base",
    "hubert-large",
    "distilhubert",
    "mert-v1-95m",
    "wav2vec2-emotion-msp-dim",
    "sew-tiny",
    "wav2vec2-conformer-rel-pos-large",
    "encodec-24khz",
    "encodec-32khz",
    "dac-44khz",
    "mimi",
    "passt-s-p16-s16-128-ap468",
    "pe-a-frame-small",
    "audio-flamingo-3",
)
QUICKLY_PRETENDED = ("logmel", "wav2vec2", "whisper-base", "panns", "hear")  # on the pretend device in `make test`
SEEDED = [name for name, chosen in CASES.items() if chosen and chosen.get("weights") == "random"]
DIFFERENTIABLE = {
    "wav2vec2",
    "vggish",
    "python",
    "transformers",
    "resemblyzer",
    "panns",
    "aves",
    "dasheng",
    "beats",
    "ecapa",
    "openl3",
    "m2d",
    "muq",
    "passt",
}
TRAINABLE = [name for name in CASES if family_of(name) in DIFFERENTIABLE]
FIXED_FRONT_END = {"transformers", "openl3"}  # gradients reach the network, not the waveform
ON_THE_CPU = {"mfcc", "waveform", "litert", "onnx", "opensmile"}  # whatever device a run has
NOT_PRETENDED = {"resemblyzer"}  # the pretend device has no kernel for an LSTM
