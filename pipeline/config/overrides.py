"""`--set key.path=value`: change single values of a config from the command line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from features.errors import ConfigError
from pipeline.config.errors import Location, closest, dotted
from pipeline.config.yaml import YamlError, parse_yaml

_INDEX = re.compile(r"\[?(\d+)\]?(?=[.\[]|$)")


@dataclass(frozen=True)
class Override:
    """One `--set` option.

    Attributes:
        location: The first key on its path that was added or changed.
        written: The text after `--set`.
    """

    location: Location
    written: str


def apply_overrides(values: dict[str, Any], overrides: Sequence[str]) -> list[Override]:
    """Change `values` in place, in the given order.

    A path consists of keys separated by dots. An item of a list is selected by its index (`heads.0`,
    `heads[0]`), its `label` or its `name`. Missing keys are added; unknown keys are found by the validation
    that follows.

    Args:
        values: The config as read from YAML; modified.
        overrides: Texts such as `features.backbones.yamnet.weights=weights/yamnet.tflite`; the value is YAML.

    Returns:
        The applied overrides.

    Raises:
        ConfigError: A text has no `=`, a value is not YAML, or an item does not exist.
    """
    return [_apply(values, text) for text in overrides]


def _apply(values: dict[str, Any], text: str) -> Override:
    path, equals, value_text = text.partition("=")
    path = path.strip()
    if not equals or not path:
        raise ConfigError(f"--set {text}: should be key.path=value, such as features.precision=bf16")
    try:
        value = parse_yaml(value_text)
    except YamlError as error:
        raise ConfigError(f"--set {text}: the value is not YAML ({error}); {_quoting(text, value_text)}") from error
    location: Location = ()
    here: Any = values
    added: Location | None = None
    rest = path
    while True:
        key, rest = _next_key(here, rest, location, text)
        location = (*location, key)
        if not rest:
            here[key] = value
            return Override(added or location, text)
        if isinstance(here, dict) and here.get(key) is None:
            added = added or location
            here[key] = {}
        here = here[key]


def _quoting(text: str, value: str) -> str:
    """Return advice for a value that is not YAML."""
    if value.lstrip().startswith(("[", "{")):
        return f"if it has blanks, quote all of it: --set '{text} …'"
    return "quote text with special characters"


def _next_key(here: Any, rest: str, location: Location, text: str) -> tuple[str | int, str]:
    """Split `rest` into its first key or index and what follows."""
    if isinstance(here, list):
        index, length = _item(here, rest, location, text)
        return index, _after(rest, length, text)
    if isinstance(here, dict):
        key = re.split(r"[.\[]", rest, maxsplit=1)[0]
        if not key:
            raise ConfigError(f"--set {text}: empty key in {text.partition('=')[0]!r}")
        return key, _after(rest, len(key), text)
    raise ConfigError(f"--set {text}: {dotted(location)} is a single value without keys")


def _after(rest: str, length: int, text: str) -> str:
    """Return the text after the part just read, without the separating dot."""
    following = rest[length:]
    if following == ".":
        raise ConfigError(f"--set {text}: the path ends in a dot")
    return following.removeprefix(".")


def _item(items: list[Any], rest: str, location: Location, text: str) -> tuple[int, int]:
    """Return the index of the list item that `rest` starts with, and the length of its name."""
    mappings = [(item, index) for index, item in enumerate(items) if isinstance(item, dict)]
    by_label = [(str(item.get("label") or item.get("name")), index) for item, index in mappings]
    by_name = [(str(item.get("name")), index) for item, index in mappings]
    for names in (by_label, by_name):
        found = [(name, i) for name, i in names if rest == name or rest.startswith((name + ".", name + "["))]
        longest = max((len(name) for name, _ in found), default=0)
        found = [(name, i) for name, i in found if len(name) == longest]
        if len(found) > 1:
            choices = ", ".join(f"{dotted(location)}.{index}" for _, index in found)
            raise ConfigError(f"--set {text}: {found[0][0]!r} names {len(found)} items, use one of {choices}")
        if found:
            return found[0][1], longest
    index = _INDEX.match(rest)
    if index is None:
        known = dict.fromkeys(name for name, _ in (*by_label, *by_name))
        wanted = re.split(r"[.\[]", rest, maxsplit=1)[0]
        raise ConfigError(f"--set {text}: no item {wanted!r} in {dotted(location)}, {closest(wanted, known)}")
    if int(index[1]) >= len(items):
        raise ConfigError(f"--set {text}: no item {index[1]}, {dotted(location)} has {len(items)}, counted from 0")
    return int(index[1]), index.end()
