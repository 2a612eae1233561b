"""Every option class that a config can use, by section and name, with the description of each option."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping

from pydantic import BaseModel

from pipeline.config.experiment import Config
from pipeline.config.schema import ConfigSection

_ATTRIBUTE = re.compile(r"    (\w+): (.*)")


def option_classes() -> dict[str, dict[str, type[BaseModel]]]:
    """Return section -> name -> class, for the sections whose entries have a `name` or `kind`."""
    import features.backbones
    import features.datasets
    from heads.kinds import registry
    from heads.models import MODELS

    backbones = features.backbones
    return {
        "dataset": {kind: features.datasets.options_class(kind) for kind in features.datasets.KINDS},
        "features.backbones": {name: backbones.options_class(name) for name in backbones.names()},
        "heads": {name: registry.options_class(name) for name in registry.HEADS},
        "finetune": {name: options for name, (options, *_) in MODELS.items()},
    }


def sections() -> Iterator[tuple[str, type[ConfigSection]]]:
    """Yield the key of each fixed section of a config, and its class; the key of the top level is empty."""
    yield "", Config
    for key, field in Config.model_fields.items():
        for found in _classes_in(field.annotation):
            yield key, found


def descriptions(options: type[BaseModel]) -> Mapping[str, str]:
    """Return the description of each option: that of the field, or the one in the docstring of a class."""
    found: dict[str, str] = {}
    for parent in reversed(options.__mro__):
        if issubclass(parent, BaseModel) and parent is not BaseModel:
            found |= _attributes(inspect.cleandoc(parent.__doc__ or ""))
    given = {name: field.description for name, field in options.model_fields.items() if field.description}
    return {name: text for name, text in {**found, **given}.items() if name in options.model_fields}


def _attributes(text: str) -> dict[str, str]:
    """Return the entries of a docstring's section `Attributes`."""
    found: dict[str, str] = {}
    name = ""
    for line in text.partition("Attributes:\n")[2].splitlines():
        if match := _ATTRIBUTE.fullmatch(line):
            name = match[1]
            found[name] = match[2].strip()
        elif name and line.startswith("        "):
            found[name] += f" {line.strip()}"
        elif line.strip():
            break
    return found


def _classes_in(annotation: object) -> Iterator[type[ConfigSection]]:
    """Yield the section classes in an annotation such as `Section | None`."""
    if inspect.isclass(annotation) and issubclass(annotation, ConfigSection):
        yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from _classes_in(part)
