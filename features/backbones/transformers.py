"""Audio encoders of transformers outside the Wav2Vec2 family: AST, CLAP, Whisper, Wav2Vec2-BERT and others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field

from features.backbones.base import Bundle, check_precision
from features.backbones.family import Family
from features.backbones.loading import weights as found
from features.backbones.loading.pretrained import quiet_transformers
from features.backbones.loading.remote_code import check_trust
from features.backbones.options import BackboneOptions, EncoderInterface
from features.backbones.presets.codecs import PRESETS as CODECS
from features.backbones.presets.multimodal import PRESETS as MULTIMODAL
from features.backbones.presets.remote_code import PRESETS as TRUSTED
from features.backbones.presets.transformers import PRESETS as ENCODERS
from features.backbones.transformers_encoders import FoundEncoder, in_folder, untrained
from features.errors import ConfigError, UserError
from features.spec import BackboneSpec

if TYPE_CHECKING:
    from features.backbones.networks.encoders.backbone import TransformersBackbone

DEFAULT_RATE = 16_000

FAMILY = Family(
    presets={**ENCODERS, **CODECS, **MULTIMODAL, **TRUSTED},
    weights_from="hub",
    libraries=("transformers",),
    runs_code="trust",
)


class Options(BackboneOptions):
    """An entry of `features.backbones` for an audio encoder of transformers."""

    weights: str = Field(description="hub id `org/name[@revision]`, folder from `save_pretrained`, or `random`")
    embedding: Literal["frames", "pooled"] = Field(
        "frames",
        description="frames to pool, or (AST) each layer's class tokens; CLAP has only one vector per window, and a "
        "model with an `interface` may have",
    )
    model_type: str | None = Field(None, description="for `random`: which architecture, such as `whisper`")
    architecture: dict[str, Any] = Field({}, description="for `random`: configuration values that differ from defaults")
    extractor: dict[str, Any] = Field(
        {},
        description="for `random`: values of the feature extractor that differ from defaults; with "
        "`feature_extractor_type` also for weights, in place of their `preprocessor_config.json`",
    )
    seed: int = Field(0, ge=0, lt=2**63, description="for `random`: seed of the weights")
    interface: EncoderInterface | None = Field(
        None, description="for weights: how frames are obtained, if not as from transformers' encoders"
    )
    trust: Annotated[str, AfterValidator(check_trust)] | None = Field(
        None, description="run the code that comes with the weights: `org/name@<40 hex digits>`; null: it is not run"
    )


def summary(options: Any) -> dict[str, Any]:
    """Return the columns of `audioheads backbones ls`."""
    model_type = getattr(options, "model_type", None)
    extractor = getattr(options, "extractor", None) or {}
    record = FAMILY.presets.get(options.name)
    encoders, rate = "AST, CLAP, Whisper, Wav2Vec2-BERT and other encoders", None
    if model_type:
        rate = extractor.get("sampling_rate", DEFAULT_RATE)
    elif record is not None and record.needs_trust and record.input is not None:
        encoders, rate = "encoder with code to trust", record.input.sample_rate_hz
    return {
        "weights": getattr(options, "weights", "hub id, folder or random"),
        "sample_rate_hz": rate,
        "summary": f"{model_type} encoder" if model_type else encoders,
    }


def describe(options: Options) -> BackboneSpec:
    """Return the spec. Weights are found and hashed, but not loaded; shapes come from the architecture alone.

    Raises:
        ConfigError: The architecture is unknown, or belongs to another family.
        WeightsError: The weights cannot be found or downloaded.
    """
    import torch

    from features.backbones.networks.encoders.shape import shape_of

    with quiet_transformers(), torch.random.fork_rng(devices=[]):
        encoder = _found(options)
        shape = shape_of(
            options.title, encoder.build, encoder.part, encoder.extractor, options.embedding, options.interface
        )
    rate = int(encoder.extractor.sampling_rate)
    longest = options.max_duration_s if shape.max_samples is None else shape.max_samples / rate
    return BackboneSpec(
        name=options.name,
        family="transformers",
        weights=options.weights,
        weights_sha256=encoder.sha256(),
        sample_rate=rate,
        layers=tuple(range(shape.n_layers)),
        dim=shape.dim,
        frame_rate=shape.frame_rate,
        min_duration_s=shape.min_samples / rate,
        max_duration_s=min(options.max_duration_s, longest),
        settings={
            **encoder.settings(),
            "embedding": options.embedding,
            **({} if options.interface is None else {"interface": options.interface.model_dump()}),
        },
    )


def load(options: Options, spec: BackboneSpec, *, device: str, precision: str) -> TransformersBackbone:
    """Build the network and load its weights.

    Raises:
        WeightsError: The weights do not fit the architecture.
    """
    import torch

    from features.backbones.networks.encoders.backbone import TransformersBackbone
    from features.backbones.networks.encoders.calls import audio_encoder

    with quiet_transformers(), torch.random.fork_rng(devices=[]):
        encoder = _found(options)
        module = audio_encoder(encoder.load(), encoder.part, options.interface, options.embedding).eval()
        return TransformersBackbone(module, encoder.extractor, spec, torch.device(device), check_precision(precision))


def bundle(options: Options, spec: BackboneSpec, folder: Path) -> Bundle:
    """Save the whole model and its feature extractor with `save_pretrained`.

    Raises:
        UserError: The model needs code of its own.
    """
    import torch

    if options.trust is not None:
        raise UserError(f"{options.title}: weights that come with code cannot be copied; --no-backbone leaves them out")

    with quiet_transformers(), torch.random.fork_rng(devices=[]):
        encoder = _found(options)
        whole: Any = encoder.load()
        whole.save_pretrained(folder)
        encoder.extractor.save_pretrained(folder)
    return Bundle({"weights": "."})


def _found(options: Options) -> FoundEncoder:
    """Return the encoder of an entry."""
    if options.weights != found.RANDOM:
        return in_folder(options.title, options.weights, options.trust, options.extractor, options.interface)
    if options.trust is not None:
        raise ConfigError(f"{options.title}: trust is for weights that come with code, not for `weights: random`")
    if options.interface is not None:
        raise ConfigError(f"{options.title}: interface is for weights of other models, not for `weights: random`")
    return untrained(options.title, options.model_type, options.architecture, options.extractor, options.seed)
