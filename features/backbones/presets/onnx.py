"""Presets of the family onnx."""

from __future__ import annotations

from features.backbones.presets.record import InputContract, Preset

_SPEECH_INPUT = InputContract(
    sample_rate_hz=16_000,
    window_samples=12_512,
    hop_samples=1_280,
    shortest_s=1 / 16_000,
    padding="zeros to a whole window, which counts by its fraction of real samples",
)

PRESETS = {
    "speech-embedding": Preset(
        weights="weights/speech_embedding.onnx",
        options={
            "sample_rate_hz": _SPEECH_INPUT.sample_rate_hz,
            "input_axes": "BT",
            "output_axes": "BLFD",
            "window_samples": _SPEECH_INPUT.window_samples,
            "hop_samples": _SPEECH_INPUT.hop_samples,
        },
        files=("speech_embedding.onnx",),
        input=_SPEECH_INPUT,
        layers=1,
        layer_order="the embedding of each window",
        dim=96,
        licence="apache-2.0",
        citation="Lin et al. 2020, Training keyword spotters, arXiv:2002.01322",
        pretrained_on=("200 million clips of Lin et al. 2020",),
    ),
}
