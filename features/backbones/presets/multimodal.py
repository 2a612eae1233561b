"""Presets of the audio encoders of models for audio and text or video, which are loaded without the other parts.

Sizes, licences and training data were collected from public sources and not compared with the hub: those of PE-A-Frame
from a copy of its configuration, which PE-AV's audio encoders share, and those of Audio Flamingo 3 from transformers'
defaults. A folder's own configuration always decides when weights are loaded.
"""

from __future__ import annotations

from features.backbones.presets.record import SNAPSHOT_FILES, InputContract, Preset

_PE_INPUT = InputContract(
    sample_rate_hz=48_000,
    window_samples=1_920,
    hop_samples=1_920,
    shortest_s=0.1,
    padding="the clip reflected at its end to whole hops; clips of different length are not batched together",
)


def _pe(weights: str, dim: int, layers: int, intermediate: int, parameters: int) -> Preset:
    """Return the record of a Perception Encoder of audio; its training data, 100 million clips, is not published."""
    architecture = {
        "hidden_size": dim,
        "num_hidden_layers": layers,
        "num_attention_heads": dim // 128,
        "intermediate_size": intermediate,
    }
    return Preset(
        weights=weights,
        options={
            "model_type": "pe_audio_encoder",
            "architecture": architecture,
            "extractor": {"sampling_rate": 48_000},
        },
        files=SNAPSHOT_FILES,
        input=_PE_INPUT,
        layers=1,
        layer_order="the frames of the output, without its class token",
        dim=dim,
        parameters=parameters,
        licence="apache-2.0",
        citation="Vyas et al. 2025, PE-AV, arXiv:2512.19687",
        pretrained_on=None,
    )


_PE_SIZES = {
    "small": (768, 12, 2048, 116_601_280),
    "base": (1024, 16, 2752, 237_303_488),
    "large": (1792, 28, 4800, 1_132_438_976),
}

PRESETS = {
    **{f"pe-a-frame-{size}": _pe(f"facebook/pe-a-frame-{size}", *sizes) for size, sizes in _PE_SIZES.items()},
    **{f"pe-av-{size}": _pe(f"facebook/pe-av-{size}", *sizes) for size, sizes in _PE_SIZES.items()},
    "audio-flamingo-3": Preset(
        weights="nvidia/audio-flamingo-3-hf",
        options={"model_type": "audioflamingo3_encoder", "extractor": {"feature_size": 128}},
        files=("config.json", "preprocessor_config.json", "the files of model.safetensors with its audio tower"),
        input=InputContract(
            sample_rate_hz=16_000,
            window_samples=400,
            hop_samples=640,
            shortest_s=0.1,
            longest_s=30.0,
            normalisation="log-mels of 128 bands, clipped 8 below their maximum (log10) and scaled",
            padding="zeros to 30 s, masked in every layer; only frames of the clip are returned",
        ),
        layers=1,
        layer_order="the normed output, averaged over pairs of frames",
        dim=1280,
        parameters=636_968_960,
        licence="nvidia-oneway-noncommercial",
        citation="Goel et al. 2025, Audio Flamingo 3, arXiv:2507.08128",
        pretrained_on=None,  # AudioSkills-XL and others, whose sources are not listed in full
    ),
}
