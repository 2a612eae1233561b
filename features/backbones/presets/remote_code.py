"""Presets of encoders whose code comes with their weights and has to be trusted: EAT, CED, Bird-MAE, USAD.

Their interfaces are from the publishers' code and model cards:

- EAT: `modeling_eat.py`, `eat_model.py` and `model_core.py` of worstchan/EAT-base_epoch30_pretrain. They import timm.
- CED: github.com/jimbozhang/hf_transformers_custom_model_ced, whose modules are also those of the hub repositories.
  With 527 outputs its configuration downloads the labels of AudioSet; the classifier is not needed, so that `config`
  states another number.
- Bird-MAE: `configuration_bird_mae.py` and `preprocessor_config.json` of the hub repositories, and public code that
  calls their model and feature extractor; the sizes from the publisher's experiments.
- USAD: `modeling_usad.py`, the filter bank of `usad_model.py`, and the model cards.

No commit of these repositories could be verified, so that none is pinned: `trust` names the revision. EAT and CED were
compared with the publishers' code on seeded random weights (`recipes/parity`): relative errors 4e-6 and 0. Bird-MAE and
USAD have been tested with small models that have their interfaces, and none with the published weights.
"""

from __future__ import annotations

from features.backbones.presets.record import InputContract, Preset

_FILES = ("config.json", "model.safetensors", "Python code that has to be trusted")
_FILES_WITH_EXTRACTOR = ("config.json", "preprocessor_config.json", *_FILES[1:])
_KALDI = "Kaldi filter bank of 128 bands, standardised with AudioSet's mean and deviation"
_EQUAL_LENGTHS = "clips of different length are not batched together"

# AST's feature extractor prepares EAT's input: it removes the mean of each frame, and with it the mean of the waveform,
# which EAT's own preparation subtracts.
_EAT_OPTIONS = {
    "extractor": {"feature_extractor_type": "ASTFeatureExtractor", "mean": -4.268, "std": 4.569},
    "interface": {"call": "extract_features", "add_channel": True, "skip_tokens": 1, "bands": 8},
}
_CED_LONGEST_S = 10.119  # 1,012 frames of 10 ms, the most that are not split; the first is centred on the first sample
_BIRD_MAE_S = 5.0
_USAD_LONGEST_S = 30.0  # longer inputs are split by the model's code


def _ced(size: str, *, dim: int, parameters: int) -> Preset:
    """Return the record of a size of CED."""
    interface = {
        "auto_class": "AutoModelForAudioClassification",
        "part": "encoder",
        "frames": "logits",
        "bands": 4,
        "order": "frequency",
        "config": {"outputdim": 1},
        "longest_s": _CED_LONGEST_S,
    }
    return Preset(
        weights=f"mispeech/ced-{size}",
        needs_trust=True,
        options={"interface": interface},
        files=_FILES_WITH_EXTRACTOR,
        input=InputContract(
            sample_rate_hz=16_000,
            window_samples=512,
            hop_samples=2_560,
            shortest_s=0.25,
            longest_s=_CED_LONGEST_S,
            normalisation="log-mels of 64 bands in dB, at most 120 dB below the clip's maximum, then normed by band",
            padding=_EQUAL_LENGTHS,
        ),
        layers=1,
        layer_order="the output of the encoder, averaged over the frequency bands",
        dim=dim,
        parameters=parameters,
        licence="apache-2.0",
        citation="Dinkel et al. 2023, CED, arXiv:2308.11957",
        pretrained_on=("AudioSet",),
        finetuned_on=("AudioSet",),
    )


def _bird_mae(size: str, *, dim: int, parameters: int) -> Preset:
    """Return the record of a size of Bird-MAE; no licence of its weights is stated."""
    return Preset(
        weights=f"DBD-research-group/Bird-MAE-{size}",
        needs_trust=True,
        options={"embedding": "pooled", "interface": {"add_channel": True, "longest_s": _BIRD_MAE_S}},
        files=_FILES_WITH_EXTRACTOR,
        input=InputContract(
            sample_rate_hz=32_000,
            window_samples=160_000,
            hop_samples=160_000,
            shortest_s=0.1,
            longest_s=_BIRD_MAE_S,
            normalisation="Kaldi filter bank of 128 bands, standardised with the mean and deviation of bird recordings",
            padding="silence to 5 s, which counts by its fraction of real samples",
        ),
        layers=1,
        layer_order="the mean of the patches, normed",
        dim=dim,
        parameters=parameters,
        citation="Rauch et al. 2025, Bird-MAE, arXiv:2504.12880",
        pretrained_on=("Xeno-canto",),
    )


def _usad(size: str, *, dim: int) -> Preset:
    """Return the record of a size of USAD; its model card names some of its corpora only."""
    return Preset(
        weights=f"MIT-SLS/USAD-{size}",
        needs_trust=True,
        options={
            "extractor": {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "do_normalize": False},
            "interface": {"frames": "hidden_states", "longest_s": _USAD_LONGEST_S},
        },
        files=_FILES,
        input=InputContract(
            sample_rate_hz=16_000,
            window_samples=400,
            hop_samples=320,
            shortest_s=0.1,
            longest_s=_USAD_LONGEST_S,
            normalisation=f"{_KALDI}, computed by the model",
            padding=_EQUAL_LENGTHS,
        ),
        layer_order="the hidden states in the order of the model",
        dim=dim,
        licence="bsd-3-clause",
        citation="Chang et al. 2025, USAD, arXiv:2506.18843",
        pretrained_on=None,
    )


PRESETS = {
    "eat-base": Preset(
        weights="worstchan/EAT-base_epoch30_pretrain",
        needs_trust=True,
        options=_EAT_OPTIONS,
        files=_FILES,
        input=InputContract(
            sample_rate_hz=16_000,
            window_samples=400,
            hop_samples=2_560,
            shortest_s=0.1,
            longest_s=10.255,
            normalisation=_KALDI,
            padding="1,024 frames of the filter bank, as in training; only patches of the clip are returned",
        ),
        layers=1,
        layer_order="the output, averaged over the frequency bands",
        dim=768,
        licence="mit",
        citation="Chen et al. 2024, EAT, arXiv:2401.03497",
        pretrained_on=("AudioSet",),
    ),
    "ced-tiny": _ced("tiny", dim=192, parameters=5_401_088),
    "ced-mini": _ced("mini", dim=256, parameters=9_560_704),
    "ced-small": _ced("small", dim=384, parameters=21_418_880),
    "ced-base": _ced("base", dim=768, parameters=85_304_960),
    "bird-mae-base": _bird_mae("Base", dim=768, parameters=85_453_056),
    "bird-mae-large": _bird_mae("Large", dim=1024, parameters=302_840_832),
    "bird-mae-huge": _bird_mae("Huge", dim=1280, parameters=630_342_400),
    "usad-small": _usad("Small", dim=384),
    "usad-base": _usad("Base", dim=768),
    "usad-large": _usad("Large", dim=1024),
}
