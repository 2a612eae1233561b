"""Models with the API of the HEAR 2021 challenge (Turian et al. 2022), selected by their module's name.

The API has no argument for lengths, so a model only gets clips of equal length. By default a clip's vector is the
scene embedding. `embeddings: timestamps` uses the sequence instead, which can be pooled by `mean`, `std` and `max`, or
stored as `frames`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from features.backbones.adapters.equal_length import UnpaddedBackbone, as_layers, probe
from features.backbones.family import Family
from features.backbones.loading import weights as found
from features.backbones.loading.import_paths import (
    CodeOptions,
    check_same_weights,
    described,
    import_code,
    seeded,
    source_sha256,
    version_of,
    weights_digest,
    weights_name,
)
from features.errors import ConfigError
from features.spec import BackboneSpec

if TYPE_CHECKING:
    import torch
    from torch import Tensor

FAMILY = Family(weights_from="code", fp32_only=True, runs_code="module")

FUNCTIONS = ("load_model", "get_scene_embeddings", "get_timestamp_embeddings")
SIZES = {"scene": "scene_embedding_size", "timestamps": "timestamp_embedding_size"}


class Options(CodeOptions):
    """An entry of `features.backbones` for a HEAR module."""

    module: str = Field(description="import path of the module, such as `my_package.my_module`")
    weights: str = Field("", description="file or folder for `load_model`; empty: the module's own")
    embeddings: Literal["scene", "timestamps"] = Field("scene", description="one vector per clip, or a sequence")

    @field_validator("module")
    @classmethod
    def _is_a_path(cls, path: str) -> str:
        """Words with dots between them."""
        if not re.fullmatch(r"\w+(\.\w+)*", path):
            raise ValueError(f"should be an import path such as my_package.my_module, got {path!r}")
        return path


def summary(options: Any) -> dict[str, Any]:
    """Return the columns of `audioheads backbones ls`."""
    return {
        "weights": "the module's, or a file",
        "sample_rate_hz": None,
        "summary": "any module with the API of HEAR 2021",
    }


def describe(options: Options) -> BackboneSpec:
    """Return the spec. Only the model states its rate and size, so it is loaded and run on a few seconds of noise.

    Raises:
        ConfigError: There is no such module, or it does not follow the API.
        WeightsError: The weights are missing, or the model cannot be loaded.
    """
    import torch

    module = _import(options)
    model = _load_model(options, module)
    rate, size = _attribute(options, model, "sample_rate"), _attribute(options, model, SIZES[options.embeddings])
    digest = weights_digest(model, _file(options))  # before the first call, which changes some models
    model = _placed(model, torch.device("cpu"))
    frame_rate = _frame_rate(options, module, model, rate) if options.embeddings == "timestamps" else None
    shape = probe(
        options.title,
        lambda waveforms: _embed(options.embeddings, module, model, waveforms),
        rate,
        options.min_duration_s,
        frame_rate,
    )
    if shape.dim != size:
        raise ConfigError(
            f"{options.title}: {options.module} states {SIZES[options.embeddings]} {size}, but its embeddings have "
            f"{shape.dim} dimensions"
        )
    return BackboneSpec(
        name=options.name,
        family="hear",
        weights=options.weights or weights_name(model, options.module),
        weights_sha256=digest,
        sample_rate=rate,
        layers=(0,),
        dim=size,
        frame_rate=shape.frame_rate,
        min_duration_s=shape.min_samples / rate,
        max_duration_s=options.max_duration_s,
        settings={
            "module": options.module,
            "version": version_of(module),
            "source_sha256": source_sha256(module),
            "arguments": options.arguments,
            "embeddings": options.embeddings,
            **shape.settings(),
        },
    )


def load(options: Options, spec: BackboneSpec, *, device: str, precision: str) -> HearBackbone:
    """Load the model again; it runs in its own precision, and `precision` is ignored.

    Raises:
        ConfigError: There is no such module.
        WeightsError: The model cannot be loaded, or its weights differ from those in `spec`.
    """
    import torch

    module = _import(options)
    model = _load_model(options, module)
    check_same_weights(options.title, spec.weights_sha256, weights_digest(model, _file(options)))
    return HearBackbone(module, model, spec, torch.device(device))


class HearBackbone(UnpaddedBackbone):
    """A HEAR model that gets clips of equal length; not differentiable, since many modules disable gradients."""

    def __init__(self, module: ModuleType, model: Any, spec: BackboneSpec, device: torch.device) -> None:
        """Wrap a model; a TensorFlow model chooses its device itself."""
        import torch

        self.spec = spec
        self.model = _placed(model, device)
        self.device = device if isinstance(model, torch.nn.Module) else torch.device("cpu")
        self._functions = module

    @property
    def parameters(self) -> int | None:
        """Number of parameters of a torch module; None for other models."""
        from torch import nn

        if not isinstance(self.model, nn.Module):
            return None
        return sum(parameter.numel() for parameter in self.model.parameters())

    def embed_equal(self, waveforms: Tensor) -> Tensor:
        """See `UnpaddedBackbone.embed_equal`."""
        return _embed(self.spec.settings["embeddings"], self._functions, self.model, waveforms)


def _import(options: Options) -> ModuleType:
    module = import_code(options.title, options.module, options.folder)
    missing = [function for function in FUNCTIONS if not callable(getattr(module, function, None))]
    if missing:
        raise ConfigError(
            f"{options.title}: {options.module} has no function {missing[0]}; a HEAR module has {', '.join(FUNCTIONS)}"
        )
    return module


def _load_model(options: Options, module: ModuleType) -> Any:
    file = _file(options)
    given = () if file is None else (str(file),)
    call = f"{options.module}.load_model({', '.join(map(repr, given))})"
    return seeded(options.title, call, lambda: module.load_model(*given, **options.arguments), options.seed)


def _placed(model: Any, device: torch.device) -> Any:
    from torch import nn

    return model.to(device).eval() if isinstance(model, nn.Module) else model


def _file(options: Options) -> Path | None:
    """Return the path of the weights, or None if the option is empty."""
    if not options.weights:
        return None
    if options.weights == found.RANDOM:
        raise ConfigError(f"{options.title}: a HEAR module has no untrained control; set weights to a file, or to none")
    path = Path(options.weights).expanduser()
    ways = f"set features.backbones.{options.title}.weights to a local file or folder, or leave it empty"
    return path if path.is_dir() else found.find_file(options.title, options.weights, ways)


def _attribute(options: Options, model: Any, attribute: str) -> int:
    """Return an attribute of a model that the API requires to be a positive whole number."""
    value = getattr(model, attribute, None)
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise ConfigError(f"{options.title}: {options.module}'s model needs a whole number {attribute}, got {value!r}")
    return value


def _embed(embeddings: str, module: ModuleType, model: Any, waveforms: Tensor) -> Tensor:
    """Embed clips of equal length: (B, T) to (B, 1, F, D)."""
    audio = _input_of(model, waveforms)
    if embeddings == "scene":
        values = as_layers(module.get_scene_embeddings(audio, model), len(waveforms))
    else:
        values = as_layers(module.get_timestamp_embeddings(audio, model)[0], len(waveforms))
    if values.shape[1] != 1 or (embeddings == "scene" and values.shape[2] != 1):
        raise ValueError(f"returned {tuple(values.shape)}, not one sequence of vectors per clip")
    return values


def _input_of(model: Any, waveforms: Tensor) -> Any:
    """Convert waveforms (B, T) to the kind of tensor that the model takes: torch or TensorFlow."""
    tensorflow: Any = sys.modules.get("tensorflow")  # imported by any TensorFlow model
    if tensorflow is not None and isinstance(model, getattr(tensorflow, "Module", ())):
        return tensorflow.convert_to_tensor(waveforms.cpu().numpy())
    return waveforms


def _frame_rate(options: Options, module: ModuleType, model: Any, rate: int) -> float | None:
    """Return frames per second from the timestamps of 4 s of silence; None if there is only one frame."""
    import torch

    try:
        with torch.inference_mode():
            stamps = module.get_timestamp_embeddings(_input_of(model, torch.zeros(1, 4 * rate)), model)[1]
        times = torch.from_numpy(stamps.numpy()) if not isinstance(stamps, torch.Tensor) else stamps
        times = times.detach().cpu().double().reshape(1, -1)[0]  # ms
        if len(times) < 2:
            return None
        step = float(times[-1] - times[0]) / (len(times) - 1)
    except Exception as error:
        raise ConfigError(f"{options.title}: {options.module}'s timestamps fail with {described(error)}") from error
    if not step > 0:
        raise ConfigError(f"{options.title}: {options.module}'s timestamps do not increase")
    return 1000 / step
