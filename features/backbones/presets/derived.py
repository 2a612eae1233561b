"""Presets of encoders that were derived from Wav2Vec2 and HuBERT: distilled, fine-tuned, or trained on music.

The facts of this file are from memory of the model cards and publications. They were not compared with the hub.
Revisions are those that several public repositories load. A folder's own configuration always decides when weights are
loaded.
"""

from __future__ import annotations

from dataclasses import replace

from features.backbones.presets.wav2vec2 import BASE, LARGE, NORMALISED, ROBUST, ROBUST_CORPORA

MERT = "Li et al. 2023, MERT, arXiv:2306.00107"
_MUSIC = replace(NORMALISED, sample_rate_hz=24_000, shortest_s=400 / 24_000)
_AS_HUBERT = {"read_as": "hubert", "model_type": "hubert", "random_sample_rate_hz": 24_000}

PRESETS = {
    "distilhubert": replace(
        BASE,
        weights="ntu-spml/distilhubert",
        revision="fa87d96265d6b7af66e112faff6ff44df419cec9",
        options={
            "model_type": "hubert",
            "size": "base",
            "architecture": {"num_hidden_layers": 2, "feat_proj_layer_norm": False},
        },
        layers=3,
        parameters=23_491_968,
        licence="apache-2.0",
        citation="Chang et al. 2022, DistilHuBERT, arXiv:2110.01900",
    ),
    "mert-v1-95m": replace(
        BASE,
        weights="m-a-p/MERT-v1-95M",
        revision="12af15fef9d0ac838c3f475bfbbf26d2060dd4f5",
        options={**_AS_HUBERT, "size": "base"},
        input=_MUSIC,
        licence="cc-by-nc-4.0",
        citation=MERT,
        pretrained_on=None,  # 20,000 hours of music, not published
    ),
    "mert-v1-330m": replace(
        LARGE,
        weights="m-a-p/MERT-v1-330M",
        revision="5240c2708a5acaee1007f43fb9735c7dcd0b78c9",
        options={**_AS_HUBERT, "size": "large-stable"},
        input=_MUSIC,
        licence="cc-by-nc-4.0",
        citation=MERT,
        pretrained_on=None,  # 160,000 hours of music, not published
    ),
    "wav2vec2-emotion-msp-dim": replace(
        LARGE,
        weights="audeering/wav2vec2-large-robust-12-ft-emotion-msp-dim",
        revision="6eba34a2485ea31cb03600241787c3a5edab8626",
        options={"size": "large-stable", "architecture": {"num_hidden_layers": 12}},
        layers=13,
        parameters=164_284_032,
        licence="cc-by-nc-sa-4.0",
        citation=f"Wagner et al. 2023, Dawn of the transformer era in speech emotion, arXiv:2203.07378; {ROBUST}",
        pretrained_on=ROBUST_CORPORA,
        finetuned_on=("MSP-Podcast",),
    ),
}
