"""The visible table of backbone families; each is one module, which also holds its presets."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from features.backbones.family import Family
from features.errors import ConfigError, UserError

if TYPE_CHECKING:
    from pathlib import Path

    from features.backbones.base import Backbone, Bundle
    from features.backbones.options import BackboneOptions
    from features.spec import BackboneSpec

# family -> its module, which says all there is to know of it; docs/guides/add-a-backbone.md lists what it holds
BACKBONES = {
    "mfcc": "features.backbones.mfcc",
    "wav2vec2": "features.backbones.wav2vec2",
    "vggish": "features.backbones.vggish",
    "litert": "features.backbones.litert",
    "logmel": "features.backbones.logmel",
    "waveform": "features.backbones.waveform",
    "transformers": "features.backbones.transformers",
    "onnx": "features.backbones.onnx",
    "hear": "features.backbones.hear",
    "python": "features.backbones.python",
}


def get_family(family: str) -> Family:
    """The facts about a family; the defaults for one that is not in the table."""
    return import_module(BACKBONES[family]).FAMILY if family in BACKBONES else Family()


def presets() -> dict[str, str]:
    """Name of each preset -> its family, those first that need no optional dependency."""
    families = sorted(BACKBONES, key=lambda family: get_family(family).extra is not None)
    return {preset: family for family in families for preset in get_family(family).presets}


def preset_options(name: str) -> dict[str, Any]:
    """The options that a preset sets; empty for any other name."""
    family = presets().get(name)
    return {} if family is None else dict(get_family(family).presets[name])


def names() -> list[str]:
    """Every name that a config can use: the families, then the presets."""
    return [*BACKBONES, *presets()]


def libraries() -> list[str]:
    """Distributions that decide the values of any family."""
    return list(dict.fromkeys(library for family in BACKBONES for library in get_family(family).libraries))


def family_of(name: str) -> str:
    """The family that the name of a backbone or preset belongs to.

    Raises:
        ConfigError: No such name; the message lists the valid ones.
    """
    if name in BACKBONES:
        return name
    if name in (known := presets()):
        return known[name]
    close = difflib.get_close_matches(name, names(), n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise ConfigError(f"unknown backbone {name!r}: {hint}known are {', '.join(names())}")


def options_class(name: str) -> type[BackboneOptions]:
    """The pydantic class that validates a config's entry of this name."""
    return _module(name).Options


def parse_options(options: Mapping[str, Any] | BackboneOptions) -> BackboneOptions:
    """Validated options, a preset's values filled in where the entry is silent."""
    if not isinstance(options, Mapping | BaseModel):
        raise ConfigError(f"a backbone's options should be a mapping such as {{'name': 'mfcc'}}, got {options!r}")
    given = dict(options) if isinstance(options, Mapping) else options.model_dump(exclude_unset=True)
    name = given.get("name")
    if not isinstance(name, str):
        raise ConfigError(f"a backbone needs a name, got {name!r}: known are {', '.join(names())}")
    model = options_class(name)
    try:
        return model.model_validate({**preset_options(name), **given})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            close = difflib.get_close_matches(key, model.model_fields, n=1)
            message = f"unknown key, did you mean {close[0]!r}?" if close else "unknown key"
        elif first["type"] == "missing":
            message = "is needed"
        raise ConfigError(f"backbone {name!r}: {key}: {message}") from None


def check_trusted(options: Mapping[str, Any], trusted: Sequence[str], source: str) -> None:
    """Refuse an entry that came with a file and runs code that nobody here has named.

    Args:
        options: An entry of `features.backbones`.
        trusted: Import paths of code that may run.
        source: The file, for the message.

    Raises:
        UserError: It would run other code; the message names it.
    """
    name = str(options.get("name"))
    key = get_family(family_of(name)).runs_code
    code = None if key is None else str(options.get(key))
    if code is not None and code not in trusted:
        arguments = options.get("arguments") or {}
        call = f"{code} with {arguments!r}" if arguments else code
        raise UserError(f"{source}: its backbone runs the code of {call}; if you trust that, name it: --trust {code}")


def describe(options: Mapping[str, Any] | BackboneOptions) -> BackboneSpec:
    """What the backbone computes, with its weights found and hashed but not loaded.

    Raises:
        WeightsError: The weights cannot be had; the message names the backbone and the ways out.
    """
    parsed = parse_options(options)
    return _module(parsed.name).describe(parsed)


def load(
    options: Mapping[str, Any] | BackboneOptions,
    device: str = "cpu",
    precision: str = "fp32",
    spec: BackboneSpec | None = None,
) -> Backbone:
    """Load a backbone, ready to embed.

    Args:
        options: An entry of `features.backbones`, such as `{"name": "wav2vec2", "weights": "path"}`.
        device: A torch device.
        precision: `fp32`, `bf16` or `fp16` for the matrix products.
        spec: What `describe` gave, to spare finding and hashing the weights again.

    Raises:
        ConfigError: Unknown name, option, device or precision.
        WeightsError: The weights cannot be had or do not fit.
    """
    from features.backbones.base import check_device, check_precision

    parsed = parse_options(options)
    module = _module(parsed.name)
    check_device(device)
    check_precision(precision)
    return module.load(parsed, spec or module.describe(parsed), device=device, precision=precision)


def bundle(options: Mapping[str, Any] | BackboneOptions, spec: BackboneSpec, folder: Path) -> Bundle:
    """Copy what a backbone needs into a folder, so that it loads from there alone.

    A family that can says so by a function `bundle(options, spec, folder) -> Bundle`.

    Args:
        options: The entry.
        spec: What `describe` gave.
        folder: Made where there is something to copy; else it is not there.

    Raises:
        UserError: The family has no way to do that.
        WeightsError: The weights cannot be had.
    """
    parsed = parse_options(options)
    module = _module(parsed.name)
    if not hasattr(module, "bundle"):
        why = ", since they are code" if get_family(spec.family).runs_code else ""
        raise UserError(
            f"{parsed.title}: backbones of family {spec.family} cannot be copied into a folder{why}; "
            "--no-backbone leaves it out"
        )
    folder.mkdir(parents=True, exist_ok=True)
    copied: Bundle = module.bundle(parsed, spec, folder)
    if not copied.files:
        folder.rmdir()
    return copied


def blank(options: Mapping[str, Any] | BackboneOptions) -> dict[str, Any]:
    """Options of the same network with random weights, for whoever loads weights of their own into it.

    A family that can says so by a function `blank(options) -> dict`.

    Raises:
        UserError: The family has no way to do that.
    """
    parsed = parse_options(options)
    module = _module(parsed.name)
    if not hasattr(module, "blank"):
        raise UserError(f"{parsed.name}: a network of its architecture cannot be made without its weights")
    return {**parsed.model_dump(mode="json", exclude_unset=True), **module.blank(parsed)}


def list_backbones() -> list[dict[str, Any]]:
    """Every name a config can use: `name`, `family`, `weights`, `sample_rate_hz`, `summary`."""
    rows = []
    for name in names():
        module = _module(name)
        options = module.Options.model_construct(**{"name": name, **preset_options(name)})
        rows.append({"name": name, "family": family_of(name), **module.summary(options)})
    return rows


def _module(name: str) -> ModuleType:
    """The module of the family that a name belongs to."""
    return import_module(BACKBONES[family_of(name)])
