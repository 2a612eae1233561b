"""Presets of audio encoders of transformers outside the Wav2Vec2 family.

Input contracts are those of the published `preprocessor_config.json`; corpora and licences are those that the
publications and the model cards state. `model_type`, `architecture` and `extractor` apply to untrained weights.
"""

from __future__ import annotations

from features.backbones.presets.record import ALL_STATES, SNAPSHOT_FILES, InputContract, Preset

LAION_CLAP = "Wu et al. 2023, LAION-CLAP, arXiv:2211.06687"
_CLAP_EXTRACTOR = {"sampling_rate": 48000, "frequency_min": 50, "truncation": "rand_trunc"}
_CLAP_INPUT = InputContract(
    sample_rate_hz=48_000,
    window_samples=480_000,
    hop_samples=480_000,
    shortest_s=0.1,
    longest_s=10.0,
    normalisation="log-mels of 64 bands",
    padding="the clip repeated as often as it fits, then zeros, to 10 s",
)
_CLAP_LAYER = "the pooled output of the audio encoder"


def _larger_clap(variant: str, revision: str) -> Preset:
    """Return the record of a variant of the larger CLAP; what it was trained on is not stated in full."""
    audio = {
        "hidden_size": 1024,
        "patch_embeds_hidden_size": 128,
        "depths": [2, 2, 12, 2],
        "num_attention_heads": [4, 8, 16, 32],
    }
    return Preset(
        weights=f"laion/larger_clap_{variant}",
        revision=revision,
        options={"model_type": "clap", "architecture": {"audio_config": audio}, "extractor": _CLAP_EXTRACTOR},
        files=SNAPSHOT_FILES,
        input=_CLAP_INPUT,
        layers=1,
        layer_order=_CLAP_LAYER,
        dim=1024,
        parameters=67_824_408,
        licence="apache-2.0",
        citation=LAION_CLAP,
        pretrained_on=None,
    )


def _whisper(size: str, revision: str, *, dim: int, layers: int, heads: int, bands: int, parameters: int) -> Preset:
    """Return the record of a size of Whisper; its encoder and decoder have the same number of layers and heads.

    The training data, 680,000 hours from the web and more for large-v3, is not published.
    """
    shape = {"layers": layers, "attention_heads": heads, "ffn_dim": 4 * dim}
    architecture = {f"{part}_{key}": n for part in ("encoder", "decoder") for key, n in shape.items()}
    other_bands = bands != 80
    options = {
        "model_type": "whisper",
        "architecture": {"d_model": dim, **architecture, **({"num_mel_bins": bands} if other_bands else {})},
        **({"extractor": {"feature_size": bands}} if other_bands else {}),
    }
    return Preset(
        weights=f"openai/whisper-{size}",
        revision=revision,
        options=options,
        files=SNAPSHOT_FILES,
        input=InputContract(
            sample_rate_hz=16_000,
            window_samples=400,
            hop_samples=320,
            shortest_s=0.1,
            longest_s=30.0,
            normalisation=f"log-mels of {bands} bands, clipped 8 below their maximum (log10) and scaled",
            padding="zeros to 30 s, as in training; only frames of the clip are returned",
        ),
        layers=layers + 1,
        dim=dim,
        parameters=parameters,
        licence="apache-2.0",
        citation="Radford et al. 2022, Whisper, arXiv:2212.04356",
        pretrained_on=None,
    )


_SAMPLES = InputContract(
    sample_rate_hz=16_000,
    window_samples=400,
    hop_samples=320,
    shortest_s=0.1,
    normalisation="zero mean and unit variance per clip",
    padding="clips of different length are not batched together",
)


def _sew(size: str, *, dim: int, layers: int, parameters: int) -> Preset:
    """Return the record of a size of SEW: from memory of the publication, not compared with the hub.

    Its transformer runs at half the frame rate, so that only its upsampled output has the frames of an embedding.
    """
    heads = {"num_attention_heads": dim // 64, "intermediate_size": 4 * dim}
    return Preset(
        weights=f"asapp/sew-{size}-100k",
        options={
            "model_type": "sew",
            "architecture": {"hidden_size": dim, "num_hidden_layers": layers, **heads},
        },
        files=SNAPSHOT_FILES,
        input=_SAMPLES,
        layers=1,
        layer_order="the upsampled output",
        dim=dim,
        parameters=parameters,
        licence="apache-2.0",
        citation="Wu et al. 2021, SEW, arXiv:2109.06870",
        pretrained_on=("LibriSpeech",),
    )


def _conformer(positions: str, kind: str, parameters: int) -> Preset:
    """Return the record of a large Conformer: from memory of its model card, not compared with the hub."""
    architecture = {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
        "feat_extract_norm": "layer",
        "conv_bias": True,
        "position_embeddings_type": kind,
    }
    return Preset(
        weights=f"facebook/wav2vec2-conformer-{positions}-large",
        options={"model_type": "wav2vec2-conformer", "architecture": architecture},
        files=SNAPSHOT_FILES,
        input=_SAMPLES,
        layers=25,
        dim=1024,
        parameters=parameters,
        licence="apache-2.0",
        citation="Wang et al. 2020, fairseq S2T, arXiv:2010.05171",
        pretrained_on=("Libri-Light",),
    )


PRESETS = {
    "ast": Preset(
        weights="MIT/ast-finetuned-audioset-10-10-0.4593",
        revision="f826b80d28226b62986cc218e5cec390b1096902",
        options={"model_type": "audio-spectrogram-transformer"},
        files=SNAPSHOT_FILES,
        input=InputContract(
            sample_rate_hz=16_000,
            window_samples=400,
            hop_samples=160,
            shortest_s=0.1,
            longest_s=10.255,
            normalisation="Kaldi filter bank of 128 bands, standardised with AudioSet's mean and deviation",
            padding="1,024 frames of the filter bank, as in training; only patches of the clip are returned",
        ),
        layers=13,
        layer_order=f"{ALL_STATES}, each averaged over the frequency bands",
        dim=768,
        parameters=86_187_264,
        licence="bsd-3-clause",
        citation="Gong et al. 2021, AST, arXiv:2104.01778",
        pretrained_on=("ImageNet",),
        finetuned_on=("AudioSet",),
    ),
    "clap": Preset(
        weights="laion/clap-htsat-unfused",
        revision="8fa0f1c6d0433df6e97c127f64b2a1d6c0dcda8a",
        options={"model_type": "clap", "extractor": _CLAP_EXTRACTOR},
        files=SNAPSHOT_FILES,
        input=_CLAP_INPUT,
        layers=1,
        layer_order=_CLAP_LAYER,
        dim=768,
        parameters=27_534_488,
        licence="apache-2.0",
        citation=LAION_CLAP,
        pretrained_on=("LAION-Audio-630K", "AudioCaps", "Clotho"),
    ),
    "larger-clap-general": _larger_clap("general", "ada0c23a36c4e8582805bb38fec3905903f18b41"),
    "larger-clap-music-and-speech": _larger_clap("music_and_speech", "195c3a3e68faebb3e2088b9a79e79b43ddbda76b"),
    "whisper-tiny": _whisper(
        "tiny",
        "169d4a4341b33bc18d8881c4b69c2e104e1cc0af",
        dim=384,
        layers=4,
        heads=6,
        bands=80,
        parameters=8_208_384,
    ),
    "whisper-base": _whisper(
        "base",
        "e37978b90ca9030d5170a5c07aadb050351a65bb",
        dim=512,
        layers=6,
        heads=8,
        bands=80,
        parameters=20_590_592,
    ),
    "whisper-small": _whisper(
        "small",
        "973afd24965f72e36ca33b3055d56a652f456b4d",
        dim=768,
        layers=12,
        heads=12,
        bands=80,
        parameters=88_154_112,
    ),
    "whisper-medium": _whisper(
        "medium",
        "abdf7c39ab9d0397620ccaea8974cc764cd0953e",
        dim=1024,
        layers=24,
        heads=16,
        bands=80,
        parameters=307_216_384,
    ),
    "whisper-large-v3": _whisper(
        "large-v3",
        "06f233fe06e710322aca913c1bc4249a0d71fce1",
        dim=1280,
        layers=32,
        heads=20,
        bands=128,
        parameters=636_968_960,
    ),
    "w2v-bert-2.0": Preset(
        weights="facebook/w2v-bert-2.0",
        revision="da985ba0987f70aaeb84a80f2851cfac8c697a7b",
        options={"model_type": "wav2vec2-bert"},
        files=SNAPSHOT_FILES,
        input=InputContract(
            sample_rate_hz=16_000,
            window_samples=400,
            hop_samples=320,
            shortest_s=0.1,
            normalisation="log-mels of 80 bands, each standardised over the clip",
            padding="clips of different length are not batched together",
        ),
        layers=25,
        dim=1024,
        parameters=580_493_120,
        licence="mit",
        citation="Seamless Communication 2023, arXiv:2312.05187",
        pretrained_on=None,  # 4.5 million hours, not published
    ),
    "sew-tiny": _sew("tiny", dim=512, layers=12, parameters=42_298_240),
    "sew-mid": _sew("mid", dim=512, layers=24, parameters=80_126_848),
    "sew-small": _sew("small", dim=768, layers=12, parameters=93_196_416),
    "wav2vec2-conformer-rel-pos-large": _conformer("rel-pos", "relative", 618_559_104),
    "wav2vec2-conformer-rope-large": _conformer("rope", "rotary", 593_344_128),
}
