"""`--trust`: the code that comes with some weights may run in these experiments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from features.backbones.loading.remote_code import check_trust, same_repository
from features.errors import ConfigError
from pipeline.config.config import Config, label_of, load_config


def trust_code(configs: Sequence[Config], trusted: Sequence[str]) -> list[Config]:
    """Return configs in which the backbones with these weights have the option `trust`.

    Args:
        configs: From `load_config`.
        trusted: Values of `trust`, `org/name@` and 40 hex digits. Each is for the entries with weights of this
            repository, or in a local folder with this code; not every config needs to have one.

    Raises:
        ConfigError: A value is not of this form, or no backbone has such weights.
    """
    overrides: list[list[str]] = [[] for _ in configs]
    for value in trusted:
        try:
            check_trust(value)
        except ValueError as error:
            raise ConfigError(f"--trust: {error}") from None
        found = False
        for config, own in zip(configs, overrides, strict=True):
            for options in config.features.backbones:
                if "trust" in type(options).model_fields and same_repository(value, getattr(options, "weights", "")):
                    own.append(f"features.backbones.{label_of(options)}.trust={value}")
                    found = True
        if not found:
            which = "the config" if len(configs) == 1 else "these configs"
            raise ConfigError(f"--trust {value}: no backbone of {which} has weights with this code")
    return [
        load_config(config._source, [*config._overrides, *own]) if own else config
        for config, own in zip(configs, overrides, strict=True)
    ]


def missing_trust(stored: Mapping[str, Any], given: Mapping[str, Any]) -> str | None:
    """Return the trust of a stored entry if another entry differs from it only by having none; else None."""
    trust = stored.get("trust")
    if trust is None or given.get("trust") is not None:
        return None
    return str(trust) if {**stored, "trust": None} == {**given, "trust": None} else None
