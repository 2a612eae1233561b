"""Presets of the family onnx."""

from __future__ import annotations

from features.backbones.presets.record import WHOLE_WINDOWS, InputContract, Preset

_SPEECH_INPUT = InputContract(
    sample_rate_hz=16_000,
    window_samples=12_512,
    hop_samples=1_280,
    shortest_s=1 / 16_000,
    padding=WHOLE_WINDOWS,
)
_PERCH_INPUT = InputContract(
    sample_rate_hz=32_000,
    window_samples=160_000,
    hop_samples=160_000,
    shortest_s=1 / 32_000,
    normalisation="the mean of each window is subtracted, then its peak scaled to 0.25, as in perch-hoplite",
    padding=WHOLE_WINDOWS,
)

PRESETS = {
    "perch-2": Preset(
        weights="hub:justinchuby/Perch-onnx/perch_v2.onnx",
        revision="da88bf8c37c0b3068fc706fe509f633b9fbd28c1",
        options={
            **_PERCH_INPUT.window_options(),
            "input_axes": "BT",
            "output": "embedding",
            "output_axes": "BD",
            "window_mean": "remove",
            "window_peak": 0.25,
        },
        files=("perch_v2.onnx",),
        input=_PERCH_INPUT,
        layers=1,
        layer_order="the embedding of each window",
        dim=1536,
        licence="apache-2.0",
        citation="van Merriënboer et al. 2025, Perch 2.0, arXiv:2508.04665",
        pretrained_on=("Xeno-canto", "iNaturalist", "Tierstimmenarchiv", "FSD50K"),
    ),
    "speech-embedding": Preset(
        weights="weights/speech_embedding.onnx",
        options={
            **_SPEECH_INPUT.window_options(),
            "input_axes": "BT",
            "output_axes": "BLFD",
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
