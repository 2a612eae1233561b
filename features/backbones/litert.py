"""LiteRT (TFLite) models over fixed-size waveform windows, such as YAMNet."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationInfo, field_validator

from features.backbones.adapters.window_normalisation import WindowOptions
from features.backbones.base import Bundle
from features.backbones.family import Candidate, Family, always_cpu
from features.backbones.loading import weights as found
from features.backbones.loading.digests import file_sha256
from features.backbones.networks.litert import LiteRtBackbone, LiteRtModel
from features.backbones.options import BackboneOptions, TensorNames, listed, unlisted
from features.backbones.presets.record import WHOLE_WINDOWS, InputContract, Preset
from features.errors import ConfigError
from features.spec import BackboneSpec

YAMNET_PAGE = "https://www.kaggle.com/models/google/yamnet"

_YAMNET_INPUT = InputContract(
    sample_rate_hz=16_000,
    window_samples=15_600,
    hop_samples=7_680,
    shortest_s=1 / 16_000,
    padding=WHOLE_WINDOWS,
)
_BIRDNET_INPUT = InputContract(
    sample_rate_hz=48_000,
    window_samples=144_000,
    hop_samples=144_000,
    shortest_s=1 / 48_000,
    padding=WHOLE_WINDOWS,
)

PRESETS = {
    "yamnet": Preset(
        weights="weights/yamnet.tflite",
        options={
            "tensor": "layer28/reduce_mean",
            **_YAMNET_INPUT.window_options(),
        },
        files=("yamnet.tflite",),
        page=YAMNET_PAGE,
        input=_YAMNET_INPUT,
        layers=1,
        layer_order="the embedding of each window",
        dim=1024,
        parameters=3_746_901,
        licence="apache-2.0",
        citation="Plakal and Ellis 2020, YAMNet, github.com/tensorflow/models",
        pretrained_on=("AudioSet",),
    ),
    "birdnet-2.4": Preset(
        weights="weights/birdnet.tflite",
        options={
            "tensor": "model/GLOBAL_AVG_POOL/Mean",
            **_BIRDNET_INPUT.window_options(),
        },
        files=("BirdNET_GLOBAL_6K_V2.4_Model_FP32.tflite, saved as birdnet.tflite",),
        page="https://github.com/birdnet-team/BirdNET-Analyzer",
        input=_BIRDNET_INPUT,
        layers=1,
        layer_order="the embedding of each window",
        dim=1024,
        licence="cc-by-nc-sa-4.0",
        citation="Kahl et al. 2021, BirdNET, doi:10.1016/j.ecoinf.2021.101236",
    ),
}

FAMILY = Family(
    presets=PRESETS,
    weights_from="file",
    extra="litert",
    libraries=("ai-edge-litert",),
    fp32_only=True,
    runs_on=always_cpu,
    candidates=(Candidate("yamnet", "pretrained on 521 kinds of sound", False, 0.975, 0.29),),
)


class Options(BackboneOptions, WindowOptions):
    """An entry of `features.backbones` for a `.tflite` file."""

    weights: str = Field(description="local `.tflite` file, or a file of the hub, `hub:org/name/file.tflite@revision`")
    tensor: TensorNames = Field(
        description="name of the embedding tensor, or the end of its name, or a list of them as layers"
    )
    sample_rate_hz: int = Field(ge=1000, description="sample rate of the model's input")
    window_samples: int = Field(ge=1, description="samples of one input window")
    hop_samples: int = Field(ge=1, description="samples from one window to the next; no more than window_samples")

    @field_validator("hop_samples")
    @classmethod
    def _leave_no_gap(cls, hop: int, info: ValidationInfo) -> int:
        """Windows further apart than they are long would skip samples."""
        if hop > info.data.get("window_samples", hop):
            raise ValueError(f"should be at most window_samples ({info.data['window_samples']}), got {hop}")
        return hop


def summary(options: Any) -> dict[str, Any]:
    """Return the columns of `audioheads backbones ls`."""
    return {
        "weights": getattr(options, "weights", "local .tflite"),
        "sample_rate_hz": getattr(options, "sample_rate_hz", None),
        "summary": "LiteRT/TFLite model over fixed waveform windows",
    }


def describe(options: Options) -> BackboneSpec:
    """Return the spec, with the file found and hashed.

    Raises:
        WeightsError: The file does not exist or is not a LiteRT model, or LiteRT is not installed.
        ConfigError: The model has no such tensor, or has another window size.
    """
    model = _model(options)
    tensors = model.outputs(model.interpreter())
    return BackboneSpec(
        name=options.name,
        family="litert",
        weights=options.weights,
        weights_sha256=file_sha256(model.path),
        sample_rate=options.sample_rate_hz,
        layers=tuple(range(len(tensors))),
        dim=int(tensors[0]["shape"][-1]),
        frame_rate=options.sample_rate_hz / options.hop_samples,
        min_duration_s=1 / options.sample_rate_hz,
        max_duration_s=options.max_duration_s,
        settings={
            "tensor": unlisted([tensor["name"] for tensor in tensors]),
            "window_samples": options.window_samples,
            "hop_samples": options.hop_samples,
            **options.window_settings(),
        },
    )


def load(options: Options, spec: BackboneSpec, *, device: str, precision: str) -> LiteRtBackbone:
    """Load the model; it runs on the CPU as it was quantised, and `device` and `precision` are ignored."""
    return LiteRtBackbone(_model(options), options, spec)


def bundle(options: Options, spec: BackboneSpec, folder: Path) -> Bundle:
    """Copy the file."""
    path = _find(options)
    shutil.copyfile(path, folder / path.name)
    return Bundle({"weights": path.name})


def _model(options: Options) -> LiteRtModel:
    """Return the model that an entry describes."""
    return LiteRtModel(options.title, _find(options), listed(options.tensor), options.window_samples)


def _find(options: Options) -> Path:
    """Return the path of the model file."""
    if options.weights == found.RANDOM:
        raise ConfigError(f"{options.title}: a LiteRT model has no untrained control; weights must be a `.tflite` file")
    ways = f"set features.backbones.{options.title}.weights to a local .tflite file"
    if options.name == "yamnet":
        ways += f"; YAMNet for TFLite is at {YAMNET_PAGE}"
    return found.find_file(options.title, options.weights, ways)
