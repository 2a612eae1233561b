"""The table of backbone families; each family is one module, which also defines its presets."""

from __future__ import annotations

import difflib
from importlib import import_module
from pathlib import Path
from typing import Any

from features.backbones.family import Family
from features.backbones.presets.record import BUNDLED, Preset
from features.errors import ConfigError

# family -> its module; docs/guides/add-a-backbone.md lists what a module defines
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
    "opensmile": "features.backbones.packages.opensmile",
    "dasheng": "features.backbones.packages.dasheng",
    "aves": "features.backbones.packages.aves",
    "beats": "features.backbones.packages.beats",
    "ecapa": "features.backbones.packages.ecapa",
    "m2d": "features.backbones.packages.m2d",
    "muq": "features.backbones.packages.muq",
    "openl3": "features.backbones.packages.openl3",
    "panns": "features.backbones.packages.panns",
    "passt": "features.backbones.packages.passt",
    "resemblyzer": "features.backbones.packages.resemblyzer",
}


def get_family(family: str) -> Family:
    """Return the facts about a family, or the defaults for one that is not in the table."""
    return import_module(BACKBONES[family]).FAMILY if family in BACKBONES else Family()


def presets() -> dict[str, str]:
    """Return preset name -> family; presets without optional dependencies come first."""
    families = sorted(BACKBONES, key=lambda family: get_family(family).extra is not None)
    return {preset: family for family in families for preset in get_family(family).presets}


def get_record(name: str) -> Preset | None:
    """Return what is known about the weights that a name stands for; None for a name that needs weights of its own."""
    if name in BACKBONES:
        return get_family(name).record
    family = presets().get(name)
    return None if family is None else get_family(family).presets[name]


def preset_options(name: str) -> dict[str, Any]:
    """Return the options that a preset sets; empty for any other name."""
    record = get_record(name)
    return {} if record is None else record.entry


def record_of_weights(name: str, weights: str) -> Preset | None:
    """Return what is known about some weights, by whichever name they are used.

    Args:
        name: The backbone's name in the config.
        weights: The source of its weights, such as `org/name@revision`, `none`, or a file.

    Returns:
        The record of the preset with these weights. A file can be anywhere, so it is compared by its name with the
        files of `name`. None for other weights and for random ones.
    """
    source = weights.partition("@")[0]
    for family in BACKBONES:
        for record in get_family(family).presets.values():
            if record.weights is not None and record.weights.removeprefix(BUNDLED) == source:
                return record
    own = get_record(name) if name in names() else None
    if own is None or weights == "none":
        return own
    return own if Path(source).name in (*own.files, Path(own.weights or "").name) else None


def names() -> list[str]:
    """Return every name that a config can use: the families, then the presets."""
    return [*BACKBONES, *presets()]


def libraries() -> list[str]:
    """Return the distributions that affect the embeddings of any family."""
    return list(dict.fromkeys(library for family in BACKBONES for library in get_family(family).libraries))


def family_of(name: str) -> str:
    """Return the family of a backbone or preset name.

    Raises:
        ConfigError: The name is unknown; the message has a similar name, or else the families.
    """
    if name in BACKBONES:
        return name
    if name in (known := presets()):
        return known[name]
    close = difflib.get_close_matches(name, names(), n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"the families are {', '.join(BACKBONES)};"
    raise ConfigError(f"unknown backbone {name!r}: {hint} `audioheads backbones ls` lists all names")
