"""Feature sets of openSMILE: the handcrafted baselines of computational paralinguistics."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from features.backbones.base import Bundle
from features.backbones.family import Family, always_cpu
from features.backbones.options import BackboneOptions
from features.backbones.presets.record import InputContract, Preset
from features.spec import BackboneSpec

if TYPE_CHECKING:
    from features.backbones.packages.networks.opensmile import OpensmileBackbone

SHORTEST_S = 0.06  # the longest frame of both sets; openSMILE gives no values for shorter clips
DIMS = {"eGeMAPSv02": 88, "ComParE_2016": 6373}  # functionals of each feature set
LONGEST_WINDOW_S = 30.0  # of `BackboneOptions.max_duration_s`

_EGEMAPS = Preset(
    options={"feature_set": "eGeMAPSv02"},
    input=InputContract(
        sample_rate_hz=16_000,
        window_samples=round(LONGEST_WINDOW_S * 16_000),
        hop_samples=round(LONGEST_WINDOW_S * 16_000),
        shortest_s=SHORTEST_S,
    ),
    layers=1,
    layer_order="the functionals of the clip",
    dim=DIMS["eGeMAPSv02"],
    parameters=0,
    licence="audeering-research",
    citation="Eyben et al. 2016, The Geneva Minimalistic Acoustic Parameter Set, doi:10.1109/TAFFC.2015.2457417",
    pretrained_on=(),
)

PRESETS = {
    "egemaps": _EGEMAPS,
    "compare2016": replace(
        _EGEMAPS,
        options={"feature_set": "ComParE_2016"},
        dim=DIMS["ComParE_2016"],
        citation="Schuller et al. 2016, The INTERSPEECH 2016 Computational Paralinguistics Challenge",
    ),
}

FAMILY = Family(
    presets=PRESETS,
    record=_EGEMAPS,
    extra="opensmile",
    libraries=("opensmile",),
    fp32_only=True,
    runs_on=always_cpu,
)


class Options(BackboneOptions):
    """An entry of `features.backbones` for a feature set of openSMILE; it has no weights."""

    feature_set: Literal["eGeMAPSv02", "ComParE_2016"] = Field(
        "eGeMAPSv02", description="eGeMAPSv02 (88 functionals) or ComParE_2016 (6373)"
    )
    sample_rate_hz: int = Field(
        16_000, ge=16_000, description="rate of the input; both sets describe little above 8 kHz"
    )


def summary(options: Any) -> dict[str, Any]:
    """Return the columns of `audioheads backbones ls`."""
    feature_set = getattr(options, "feature_set", "eGeMAPSv02")
    return {
        "weights": "none",
        "sample_rate_hz": getattr(options, "sample_rate_hz", 16_000),
        "summary": f"openSMILE's {feature_set}: {DIMS[feature_set]} functionals of each clip, handcrafted",
    }


def describe(options: Options) -> BackboneSpec:
    """Return the spec; there are no weights to find."""
    return BackboneSpec(
        name=options.name,
        family="opensmile",
        weights="none",
        weights_sha256="",
        sample_rate=options.sample_rate_hz,
        layers=(0,),
        dim=DIMS[options.feature_set],
        frame_rate=1 / options.max_duration_s,
        min_duration_s=SHORTEST_S,
        max_duration_s=options.max_duration_s,
        settings={"feature_set": options.feature_set},
    )


def load(options: Options, spec: BackboneSpec, *, device: str, precision: str) -> OpensmileBackbone:
    """Return the transform; it runs on the CPU in its own precision whatever `device` and `precision` say.

    Raises:
        WeightsError: openSMILE is not installed.
    """
    from features.backbones.packages.networks.opensmile import OpensmileBackbone

    return OpensmileBackbone(spec)


def bundle(options: Options, spec: BackboneSpec, folder: Path) -> Bundle:
    """Return an empty bundle; there are no files to copy."""
    return Bundle({})
