"""Presets of neural codecs, whose encoders give continuous frames before they are quantised.

Shapes are those of the configurations in transformers. Corpora, licences and the sizes of the variants are from memory
of the model cards and publications. They were not compared with the hub. Revisions are those that
several public repositories load; a model without one is loaded in its newest revision. The card of encodec-24khz states
no licence, and issue 69 of github.com/facebookresearch/encodec, which asks about its weights, is open.
"""

from __future__ import annotations

from dataclasses import replace

from features.backbones.presets.record import SNAPSHOT_FILES, InputContract, Preset

_LAYER = "the encoder's output, before it is quantised"
_WHOLE_HOPS = "zeros to a multiple of the hop"


def _frames(sample_rate_hz: int, hop: int, padding: str) -> InputContract:
    """Return the contract of an encoder that gives one frame per hop."""
    return InputContract(
        sample_rate_hz=sample_rate_hz,
        window_samples=hop,
        hop_samples=hop,
        shortest_s=0.1,
        padding=f"{padding}; clips of different length are not batched together",
    )


def _encodec(
    sample_rate_hz: int,
    *,
    hop: int,
    parameters: int,
    architecture: dict[str, object] | None = None,
    revision: str | None = None,
) -> Preset:
    """Return the record of a variant of EnCodec."""
    return Preset(
        weights=f"facebook/encodec_{sample_rate_hz // 1000}khz",
        revision=revision,
        options={
            "model_type": "encodec",
            "architecture": {"sampling_rate": sample_rate_hz, **(architecture or {})},
            "extractor": {"sampling_rate": sample_rate_hz},
        },
        files=SNAPSHOT_FILES,
        input=_frames(sample_rate_hz, hop, "the clip reflected at its ends"),
        layers=1,
        layer_order=_LAYER,
        dim=128,
        parameters=parameters,
        citation="Défossez et al. 2022, EnCodec, arXiv:2210.13438",
    )


def _dac(sample_rate_hz: int, *, name: str, ratios: list[int], parameters: int, codebooks: int) -> Preset:
    """Return the record of a variant of the Descript audio codec."""
    hop = ratios[0] * ratios[1] * ratios[2] * ratios[3]
    return Preset(
        weights=f"descript/dac_{name}",
        options={
            "model_type": "dac",
            "architecture": {
                "sampling_rate": sample_rate_hz,
                "downsampling_ratios": ratios,
                "n_codebooks": codebooks,
            },
            "extractor": {"sampling_rate": sample_rate_hz, "hop_length": hop},
        },
        files=SNAPSHOT_FILES,
        input=_frames(sample_rate_hz, hop, _WHOLE_HOPS),
        layers=1,
        layer_order=_LAYER,
        dim=1024,
        parameters=parameters,
        licence="mit",
        citation="Kumar et al. 2023, Improved RVQGAN, arXiv:2306.06546",
        pretrained_on=("DAPS", "DNS Challenge 4", "Common Voice", "VCTK", "MUSDB18", "MTG-Jamendo", "AudioSet"),
    )


_MUSICGEN = {
    "upsampling_ratios": [8, 5, 4, 4],
    "num_filters": 64,
    "use_causal_conv": False,
    "use_conv_shortcut": False,
    "codebook_size": 2048,
    "target_bandwidths": [2.2],
}

PRESETS = {
    "encodec-24khz": replace(
        _encodec(24_000, hop=320, parameters=7_425_792, revision="c1dbe2ae3f1de713481a3b3e7c47f357092ee040"),
        pretrained_on=("DNS Challenge 4", "Common Voice", "AudioSet", "FSD50K", "MTG-Jamendo"),
    ),
    "encodec-32khz": replace(  # of MusicGen; trained on licensed music
        _encodec(32_000, hop=640, parameters=28_441_984, architecture=_MUSICGEN),
        licence="cc-by-nc-4.0",
        citation="Copet et al. 2023, MusicGen, arXiv:2306.05284",
    ),
    "dac-16khz": _dac(16_000, name="16khz", ratios=[2, 4, 5, 8], parameters=21_512_768, codebooks=12),
    "dac-24khz": _dac(24_000, name="24khz", ratios=[2, 4, 5, 8], parameters=21_512_768, codebooks=32),
    "dac-44khz": _dac(44_100, name="44khz", ratios=[2, 4, 8, 8], parameters=22_299_200, codebooks=9),
    "mimi": Preset(
        weights="kyutai/mimi",
        revision="89091b3e466eb6a9d11e537bf26b144f194978f7",
        options={"model_type": "mimi", "extractor": {"sampling_rate": 24_000}},
        files=SNAPSHOT_FILES,
        input=_frames(24_000, 1_920, _WHOLE_HOPS),
        layers=1,
        layer_order=_LAYER,
        dim=512,
        parameters=38_867_232,
        licence="cc-by-4.0",
        citation="Défossez et al. 2024, Moshi, arXiv:2410.00037",
        pretrained_on=None,  # 7 million hours, not published
    ),
}
