"""Presets of audio encoders of transformers outside the Wav2Vec2 family.

Input contracts are those of the published `preprocessor_config.json`; corpora and licences are those that the
publications and the model cards state. `model_type`, `architecture` and `extractor` apply to untrained weights.
"""

from __future__ import annotations

from features.backbones.presets.record import ALL_STATES, InputContract, Preset

FILES = ("config.json", "preprocessor_config.json", "model.safetensors or pytorch_model.bin")
_WHISPER_BASE = {"layers": 6, "attention_heads": 8, "ffn_dim": 2048}

PRESETS = {
    "ast": Preset(
        weights="MIT/ast-finetuned-audioset-10-10-0.4593",
        revision="f826b80d28226b62986cc218e5cec390b1096902",
        options={"model_type": "audio-spectrogram-transformer"},
        files=FILES,
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
        options={
            "model_type": "clap",
            "extractor": {"sampling_rate": 48000, "frequency_min": 50, "truncation": "rand_trunc"},
        },
        files=FILES,
        input=InputContract(
            sample_rate_hz=48_000,
            window_samples=480_000,
            hop_samples=480_000,
            shortest_s=0.1,
            longest_s=10.0,
            normalisation="log-mels of 64 bands",
            padding="the clip repeated as often as it fits, then zeros, to 10 s",
        ),
        layers=1,
        layer_order="the pooled output of the audio encoder",
        dim=768,
        parameters=27_534_488,
        licence="apache-2.0",
        citation="Wu et al. 2023, LAION-CLAP, arXiv:2211.06687",
        pretrained_on=("LAION-Audio-630K", "AudioCaps", "Clotho"),
    ),
    "whisper-base": Preset(
        weights="openai/whisper-base",
        revision="e37978b90ca9030d5170a5c07aadb050351a65bb",
        options={
            "model_type": "whisper",
            "architecture": {
                "d_model": 512,
                **{f"{part}_{key}": n for part in ("encoder", "decoder") for key, n in _WHISPER_BASE.items()},
            },
        },
        files=FILES,
        input=InputContract(
            sample_rate_hz=16_000,
            window_samples=400,
            hop_samples=320,
            shortest_s=0.1,
            longest_s=30.0,
            normalisation="log-mels of 80 bands, clipped 8 below their maximum (log10) and scaled",
            padding="zeros to 30 s, as in training; only frames of the clip are returned",
        ),
        layers=7,
        dim=512,
        parameters=20_590_592,
        licence="apache-2.0",
        citation="Radford et al. 2022, Whisper, arXiv:2212.04356",
        pretrained_on=None,  # 680,000 hours from the web, not published
    ),
    "w2v-bert-2.0": Preset(
        weights="facebook/w2v-bert-2.0",
        revision="da985ba0987f70aaeb84a80f2851cfac8c697a7b",
        options={"model_type": "wav2vec2-bert"},
        files=FILES,
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
}
