"""Presets of Wav2Vec2 and related encoders.

Sizes, rates and normalisation are those of the published `config.json` and `preprocessor_config.json`; corpora and
licences are those that the publications and the model cards state. The licence of WavLM and UniSpeech-SAT is left
unknown: their cards refer to CC BY-SA 3.0 of the repository UniSpeech, torchaudio distributes WavLM under MIT, and
issue 1757 of github.com/microsoft/unilm, which asks about it, is open. Revisions are commits on the hub's public
pages, with all files that are used; a model without one is loaded in its newest revision. `size`, `architecture` and
`random_normalize` apply to untrained weights.
"""

from __future__ import annotations

from dataclasses import replace

from features.backbones.presets.record import SNAPSHOT_FILES, InputContract, Preset

NORMALISED = InputContract(
    sample_rate_hz=16_000,
    window_samples=400,
    hop_samples=320,
    shortest_s=0.025,
    normalisation="zero mean and unit variance per clip",
    padding="zeros at the end, masked in every layer",
)
AS_IT_IS = replace(NORMALISED, normalisation="none")

WAV2VEC2 = "Baevski et al. 2020, wav2vec 2.0, arXiv:2006.11477"
ROBUST = "Hsu et al. 2021, Robust wav2vec 2.0, arXiv:2104.01027"
XLS_R = "Babu et al. 2021, XLS-R, arXiv:2111.09296"
MMS = "Pratap et al. 2023, Scaling Speech Technology to 1,000+ Languages, arXiv:2305.13516"
HUBERT = "Hsu et al. 2021, HuBERT, arXiv:2106.07447"
WAVLM = "Chen et al. 2022, WavLM, arXiv:2110.13900"
DATA2VEC = "Baevski et al. 2022, data2vec, arXiv:2202.03555"
UNISPEECH_SAT = "Chen et al. 2022, UniSpeech-SAT, arXiv:2110.05752"

BASE = Preset(
    options={"size": "base"},
    files=SNAPSHOT_FILES,
    input=NORMALISED,
    layers=13,
    dim=768,
    parameters=94_371_712,
    pretrained_on=("LibriSpeech",),
)
_BILLION = {"hidden_size": 1280, "num_hidden_layers": 48, "num_attention_heads": 16, "intermediate_size": 5120}
_TWO_BILLION = {**_BILLION, "hidden_size": 1920, "intermediate_size": 7680}
ROBUST_CORPORA = ("Libri-Light", "Common Voice", "Switchboard", "Fisher")
_XLS_R_CORPORA = ("VoxPopuli", "Multilingual LibriSpeech", "Common Voice", "VoxLingua107", "BABEL")
LARGE = replace(BASE, options={"size": "large-stable"}, layers=25, dim=1024, parameters=315_438_720)

PRESETS = {
    "wav2vec2-nano": Preset(  # recipes/nano
        weights="bundled:wav2vec2-nano",
        options={"size": "nano"},
        files=("config.json", "preprocessor_config.json", "model.safetensors"),
        input=NORMALISED,
        layers=7,
        dim=192,
        parameters=3_166_464,
        licence="apache-2.0",
        citation="audioheads, recipes/nano",
        pretrained_on=("synthetic sounds of audioheads",),
    ),
    "wav2vec2-base": replace(
        BASE,
        weights="facebook/wav2vec2-base",
        revision="0b5b8e868dd84f03fd87d01f9c4ff0f080fecfe8",
        licence="apache-2.0",
        citation=WAV2VEC2,
    ),
    "wav2vec2-base-960h": replace(
        BASE,
        weights="facebook/wav2vec2-base-960h",
        revision="22aad52d435eb6dbaf354bdad9b0da84ce7d6156",
        licence="apache-2.0",
        citation=WAV2VEC2,
        finetuned_on=("LibriSpeech",),
    ),
    "wav2vec2-large": replace(
        LARGE,
        weights="facebook/wav2vec2-large",
        revision="312b2410566b698c7a649068d413b2067848bd75",
        options={"size": "large"},
        parameters=315_428_992,
        licence="apache-2.0",
        citation=WAV2VEC2,
    ),
    "wav2vec2-large-lv60": replace(
        LARGE,
        weights="facebook/wav2vec2-large-lv60",
        licence="apache-2.0",
        citation=WAV2VEC2,
        pretrained_on=("Libri-Light",),
    ),
    "wav2vec2-xls-r-300m": replace(
        LARGE,
        weights="facebook/wav2vec2-xls-r-300m",
        revision="1a640f32ac3e39899438a2931f9924c02f080a54",
        licence="apache-2.0",
        citation=XLS_R,
        pretrained_on=_XLS_R_CORPORA,
    ),
    "wav2vec2-xls-r-1b": replace(
        LARGE,
        weights="facebook/wav2vec2-xls-r-1b",
        revision="35eaea9a0ed0f97592277d79208e40ab8917d1e3",
        options={"size": "large-stable", "architecture": _BILLION},
        layers=49,
        dim=1280,
        parameters=962_497_408,
        licence="apache-2.0",
        citation=XLS_R,
        pretrained_on=_XLS_R_CORPORA,
    ),
    "wav2vec2-xls-r-2b": replace(
        LARGE,
        weights="facebook/wav2vec2-xls-r-2b",
        revision="3b6d89d0fabead7da552eaaa07549c7c9c36d303",
        options={"size": "large-stable", "architecture": _TWO_BILLION},
        layers=49,
        dim=1920,
        parameters=2_159_259_648,
        licence="apache-2.0",
        citation=XLS_R,
        pretrained_on=_XLS_R_CORPORA,
    ),
    "wav2vec2-large-robust": replace(
        LARGE,
        weights="facebook/wav2vec2-large-robust",
        revision="b0f1fc09a26486a009ebd4afaddb69c4cd6f0882",
        licence="apache-2.0",
        citation=ROBUST,
        pretrained_on=ROBUST_CORPORA,
    ),
    "mms-300m": replace(
        LARGE,
        weights="facebook/mms-300m",
        revision="4ee317ce793c53dbc041fc4376c7558292dd38dc",
        licence="cc-by-nc-4.0",
        citation=MMS,
        pretrained_on=("MMS-lab-U", *_XLS_R_CORPORA),
    ),
    "mms-1b": replace(
        LARGE,
        weights="facebook/mms-1b",
        revision="0d2f7adb9903d98894d70ae11f7fbdfc8cb71a69",
        options={"size": "large-stable", "architecture": _BILLION},
        layers=49,
        dim=1280,
        parameters=962_497_408,
        licence="cc-by-nc-4.0",
        citation=MMS,
        pretrained_on=("MMS-lab-U", *_XLS_R_CORPORA),
    ),
    "hubert-base": replace(
        BASE,
        weights="facebook/hubert-base-ls960",
        revision="dba3bb02fda4248b6e082697eee756de8fe8aa8a",
        options={"model_type": "hubert", "size": "base"},
        licence="apache-2.0",
        citation=HUBERT,
    ),
    "hubert-large": replace(
        LARGE,
        weights="facebook/hubert-large-ll60k",
        revision="ff022d095678a2995f3c49bab18a96a9e553f782",
        options={"model_type": "hubert", "size": "large-stable"},
        licence="apache-2.0",
        citation=HUBERT,
        pretrained_on=("Libri-Light",),
    ),
    "hubert-xlarge": replace(
        LARGE,
        weights="facebook/hubert-xlarge-ll60k",
        revision="b0cef767123fe004883915a053f538f1737a1e47",
        options={"model_type": "hubert", "size": "large-stable", "architecture": _BILLION},
        layers=49,
        dim=1280,
        parameters=962_497_408,
        licence="apache-2.0",
        citation=HUBERT,
        pretrained_on=("Libri-Light",),
    ),
    "wavlm-base": replace(
        BASE,
        weights="microsoft/wavlm-base",
        revision="efa81aae7ff777e464159e0f877d54eac5b84f81",
        options={"model_type": "wavlm", "size": "base", "random_normalize": False},
        input=AS_IT_IS,
        parameters=94_381_936,
        citation=WAVLM,
    ),
    "wavlm-base-plus": replace(
        BASE,
        weights="microsoft/wavlm-base-plus",
        revision="4c66d4806a428f2e922ccfa1a962776e232d487b",
        options={"model_type": "wavlm", "size": "base", "random_normalize": False},
        input=AS_IT_IS,
        parameters=94_381_936,
        citation=WAVLM,
        pretrained_on=("Libri-Light", "GigaSpeech", "VoxPopuli"),
    ),
    "wavlm-large": replace(
        LARGE,
        weights="microsoft/wavlm-large",
        revision="c1423ed94bb01d80a3f5ce5bc39f6026a0f4828c",
        options={"model_type": "wavlm", "size": "large-stable", "architecture": {"conv_bias": False}},
        parameters=315_453_120,
        citation=WAVLM,
        pretrained_on=("Libri-Light", "GigaSpeech", "VoxPopuli"),
    ),
    "data2vec-audio-base": replace(
        BASE,
        weights="facebook/data2vec-audio-base",
        options={"model_type": "data2vec-audio", "size": "base"},
        parameters=93_164_288,
        licence="apache-2.0",
        citation=DATA2VEC,
    ),
    "unispeech-sat-base": replace(
        BASE,
        weights="microsoft/unispeech-sat-base",
        revision="ca010627e5d232d9179ebdcd615eaa02cea382ed",
        options={"model_type": "unispeech-sat", "size": "base"},
        citation=UNISPEECH_SAT,
    ),
}
