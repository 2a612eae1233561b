"""Backbones by name: their options are checked, they are described and loaded. `table` lists the families."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from features.backbones.table import (
    BACKBONES,
    family_of,
    get_family,
    get_record,
    libraries,
    names,
    preset_options,
    presets,
    record_of_weights,
)
from features.errors import AudioheadsError, ConfigError, RunError, UserError, first_line
from features.system.device_errors import is_device_failure
from features.system.out_of_memory import is_out_of_memory

if TYPE_CHECKING:
    from pathlib import Path

    from features.backbones.base import Backbone, Bundle
    from features.backbones.options import BackboneOptions
    from features.spec import BackboneSpec

__all__ = [
    "BACKBONES",
    "blank",
    "bundle",
    "check_trusted",
    "describe",
    "describe_new",
    "family_of",
    "get_family",
    "get_record",
    "libraries",
    "list_backbones",
    "load",
    "names",
    "options_class",
    "parse_options",
    "preset_options",
    "presets",
    "record_of_weights",
]


def options_class(name: str) -> type[BackboneOptions]:
    """Return the pydantic class that validates config entries with this name."""
    return _module(name).Options


def parse_options(options: Mapping[str, Any] | BackboneOptions) -> BackboneOptions:
    """Validate an entry; a preset's values are used for options that the entry does not set.

    Raises:
        ConfigError: The entry is not a mapping, has no name, or an option is unknown or invalid.
    """
    if not isinstance(options, Mapping | BaseModel):
        raise ConfigError(f"a backbone's options should be a mapping such as {{'name': 'mfcc'}}, got {options!r}")
    given = dict(options) if isinstance(options, Mapping) else options.model_dump(exclude_unset=True)
    name = given.get("name")
    if not isinstance(name, str):
        raise ConfigError(f"a backbone needs a name, got {name!r}; `audioheads backbones ls` lists all names")
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
            message = "is required"
        raise ConfigError(f"backbone {name!r}: {key}: {message}") from None


def check_trusted(options: Mapping[str, Any], trusted: Sequence[str], source: str) -> None:
    """Refuse an entry that was read from a file and runs code that the user has not declared trusted.

    Args:
        options: An entry of `features.backbones`.
        trusted: Import paths of code that may run.
        source: The file, for the message.

    Raises:
        UserError: The entry would run other code; the message names that code.
    """
    code = code_of(options)
    if code is not None and code not in trusted:
        arguments = options.get("arguments") or {}
        call = f"{code} with {arguments!r}" if arguments else code
        raise UserError(f"{source}: its backbone runs the code of {call}; if you trust it, pass --trust {code}")


def code_of(options: Mapping[str, Any]) -> str | None:
    """Return the import path of the third-party code that an entry runs; None if it runs none."""
    key = get_family(family_of(str(options.get("name")))).runs_code
    return None if key is None else options.get(key)


def describe(options: Mapping[str, Any] | BackboneOptions) -> BackboneSpec:
    """Return the spec of a backbone: what it computes. Its weights are found and hashed, but not loaded.

    Raises:
        ConfigError: An option is unknown or invalid.
        WeightsError: The weights cannot be found or downloaded; the message names the backbone and the alternatives.
        RunError: The code of the family or of a library fails unexpectedly.
    """
    parsed = parse_options(options)
    with _named(parsed):
        return replace(_module(parsed.name).describe(parsed), label=parsed.label or "")


def describe_new(options: Mapping[str, Any] | BackboneOptions) -> BackboneSpec:
    """Describe a backbone that is about to compute something new; trained models and caches only need `describe`.

    Raises:
        WeightsError: As for `describe`, or the weights are those of another preset.
        ConfigError: An option is unknown or invalid.
        RunError: The code of the family or of a library fails unexpectedly.
    """
    from features.backbones.loading.variants import check_variant

    parsed = parse_options(options)
    spec = describe(parsed)
    check_variant(parsed, spec)
    return spec


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
        spec: Result of `describe`, so that the weights are not found and hashed again.

    Raises:
        ConfigError: Unknown name, option, device or precision.
        WeightsError: The weights cannot be found or downloaded, or do not fit the architecture.
        RunError: The code of the family or of a library fails unexpectedly.
    """
    from features.backbones.base import check_device, check_precision

    parsed = parse_options(options)
    module = _module(parsed.name)
    check_device(device)
    check_precision(precision)
    with _named(parsed):
        return module.load(parsed, spec or describe(parsed), device=device, precision=precision)


def bundle(options: Mapping[str, Any] | BackboneOptions, spec: BackboneSpec, folder: Path) -> Bundle:
    """Copy the files of a backbone into a folder, so that it can be loaded from this folder alone.

    A family that supports this defines `bundle(options, spec, folder) -> Bundle`.

    Args:
        options: The entry.
        spec: Result of `describe`.
        folder: Target folder; it exists afterwards only if there is something to copy.

    Raises:
        UserError: The family does not support this.
        WeightsError: The weights cannot be found or downloaded.
    """
    parsed = parse_options(options)
    module = _module(parsed.name)
    if not hasattr(module, "bundle"):
        why = ", since they are code" if get_family(spec.family).weights_from == "code" else ""
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
    """Return options of the same network with random weights, for callers that load other weights into it.

    A family that supports this defines `blank(options) -> dict`.

    Raises:
        UserError: The family does not support this.
    """
    parsed = parse_options(options)
    module = _module(parsed.name)
    if not hasattr(module, "blank"):
        raise UserError(f"{parsed.title}: a network of its architecture cannot be made without its weights")
    return {**parsed.model_dump(mode="json", exclude_unset=True), **module.blank(parsed)}


def list_backbones() -> list[dict[str, Any]]:
    """Return a row for every name that a config can use: `name`, `family`, `weights`, `sample_rate_hz`, `summary`."""
    rows = []
    for name in names():
        module = _module(name)
        options = module.Options.model_construct(**{"name": name, **preset_options(name)})
        rows.append({"name": name, "family": family_of(name), **module.summary(options)})
    return rows


@contextmanager
def _named(options: BackboneOptions) -> Iterator[None]:
    """Let every message about an entry begin with the entry's title, those of unexpected errors included.

    Files, memory and devices are no fault of the entry, so their errors stay as they are.

    Raises:
        RunError: The code of the family or of a library fails in a way that the family does not expect.
    """
    try:
        yield
    except UserError as error:
        if not str(error).startswith(f"{options.title}: "):
            raise type(error)(f"{options.title}: {error}") from error
        raise
    except Exception as error:
        elsewhere = isinstance(error, AudioheadsError | OSError) or is_out_of_memory(error) or is_device_failure(error)
        if elsewhere:
            raise
        raise RunError(
            f"{options.title}: cannot be loaded ({type(error).__name__}: {first_line(error)}); check the options and "
            "weights of this entry, or use --verbose for the traceback"
        ) from error


def _module(name: str) -> ModuleType:
    """Return the module of the family that a name belongs to."""
    return import_module(BACKBONES[family_of(name)])
