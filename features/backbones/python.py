"""Networks returned by a Python function, which is selected by its import path."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from features.backbones.adapters.equal_length import UnpaddedBackbone, as_layers, probe
from features.backbones.family import Family
from features.backbones.loading import weights as found
from features.backbones.loading.import_paths import (
    CodeOptions,
    check_same_weights,
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

FAMILY = Family(weights_from="code", fp32_only=True, runs_code="callable")


class Options(CodeOptions):
    """An entry of `features.backbones` for a network returned by a Python function."""

    callable: str = Field(description="`module:function`; the function returns the network that embeds clips")
    sample_rate_hz: int = Field(ge=1000, description="sample rate of the network's input")
    weights: str | None = Field(
        None, description="file or folder, given to the function as `weights`; `random`: the network is untrained"
    )
    hop_samples: int | None = Field(None, ge=1, description="samples from one frame to the next; null: measured")

    @field_validator("callable")
    @classmethod
    def _names_both(cls, path: str) -> str:
        """Check for a module and a name in it."""
        if not re.fullmatch(r"\w+(\.\w+)*:\w+(\.\w+)*", path):
            raise ValueError(f"should be module:function, such as my_network:load, got {path!r}")
        return path


def summary(options: Any) -> dict[str, Any]:
    """Return the columns of `audioheads backbones ls`."""
    return {
        "weights": "the function's, a file or random",
        "sample_rate_hz": None,
        "summary": "your own network, by the import path of a function that returns it",
    }


def describe(options: Options) -> BackboneSpec:
    """Return the spec; the function is called, and its network is run on a few seconds of noise.

    Raises:
        ConfigError: There is no such function, or its network cannot be used.
        WeightsError: The weights are missing, or the function fails.
    """
    network, settings = _make(options)
    digest = _digest(options, network)  # before the first call, which changes some networks
    rate = options.sample_rate_hz
    frame_rate = rate / options.hop_samples if options.hop_samples else None
    shape = probe(options.title, _embedding(network), rate, options.min_duration_s, frame_rate)
    return BackboneSpec(
        name=options.name,
        family="python",
        weights=options.weights or weights_name(network, options.callable),
        weights_sha256=digest,
        sample_rate=rate,
        layers=tuple(range(shape.n_layers)),
        dim=shape.dim,
        frame_rate=shape.frame_rate,
        min_duration_s=shape.min_samples / rate,
        max_duration_s=options.max_duration_s,
        settings={**settings, **shape.settings()},
    )


def load(options: Options, spec: BackboneSpec, *, device: str, precision: str) -> PythonBackbone:
    """Call the function again; the network runs in its own precision, and `precision` is ignored.

    Raises:
        ConfigError: There is no such function.
        WeightsError: The function fails, or the weights differ from those in `spec`.
    """
    import torch

    network, _ = _make(options)
    check_same_weights(options.title, spec.weights_sha256, _digest(options, network))
    return PythonBackbone(network, spec, torch.device(device))


class PythonBackbone(UnpaddedBackbone):
    """A torch module, or any callable from waveforms (B, T) to arrays; it gets clips of equal length."""

    def __init__(self, network: Any, spec: BackboneSpec, device: torch.device) -> None:
        """Wrap a network; a network that is not a torch module stays on the CPU."""
        import torch

        self.spec = spec
        self.module = network.to(device) if isinstance(network, torch.nn.Module) else None
        self.device = torch.device("cpu") if self.module is None else device
        self._embed = _embedding(network)

    def embed_equal(self, waveforms: Tensor) -> Tensor:
        """See `UnpaddedBackbone.embed_equal`."""
        return self._embed(waveforms)


def _embedding(network: Any) -> Any:
    """Return a function from (B, T) to (B, L, F, D); a torch module gets tensors, other callables numpy arrays."""
    from torch import nn

    def embed(waveforms: Tensor) -> Tensor:
        values = network(waveforms if isinstance(network, nn.Module) else waveforms.detach().cpu().numpy())
        return as_layers(values, len(waveforms))

    return embed


def _make(options: Options) -> tuple[Any, dict[str, Any]]:
    """Return the network in evaluation mode, and the settings that identify its source."""
    path, _, attribute = options.callable.partition(":")
    module = import_code(options.title, path, options.folder)
    function: Any = module
    for part in attribute.split("."):
        if not hasattr(function, part):
            own = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == path]
            raise ConfigError(f"{options.title}: {path} has no {attribute!r}; it has {', '.join(own) or 'nothing'}")
        function = getattr(function, part)
    if not callable(function):
        raise ConfigError(f"{options.title}: {options.callable} is a {type(function).__name__}, not a function")
    file = _file(options)
    given = {**options.arguments, **({"weights": str(file)} if file is not None else {})}
    network = seeded(options.title, f"{options.callable}({', '.join(given)})", lambda: function(**given), options.seed)
    if not callable(network):
        raise ConfigError(
            f"{options.title}: {options.callable} returned a {type(network).__name__}; it should return a torch module "
            "or a function that takes waveforms (clips, samples)"
        )
    settings = {
        "callable": options.callable,
        "version": version_of(module),
        "source_sha256": source_sha256(module),
        "arguments": options.arguments,
    }
    from torch import nn

    return network.eval() if isinstance(network, nn.Module) else network, settings


def _file(options: Options) -> Path | None:
    """Return the path of the weights, or None if no file or folder is set."""
    if options.weights in (None, found.RANDOM):
        return None
    path = Path(str(options.weights)).expanduser()
    ways = f"set features.backbones.{options.title}.weights to a file or folder that {options.callable} reads"
    return path if path.is_dir() else found.find_file(options.title, str(options.weights), ways)


def _digest(options: Options, network: Any) -> str:
    seed = options.seed if options.weights == found.RANDOM else None
    return weights_digest(network, _file(options), seed)
