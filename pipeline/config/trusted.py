"""`--trust`: the code that comes with some weights may run in this experiment."""

from __future__ import annotations

from collections.abc import Sequence

from features.backbones.loading.remote_code import check_trust, same_repository
from features.errors import ConfigError
from pipeline.config.config import Config, label_of, load_config


def trust_code(config: Config, trusted: Sequence[str]) -> Config:
    """Return a config in which the backbones with these weights have the option `trust`.

    Args:
        config: From `load_config`.
        trusted: Values of `trust`, `org/name@` and 40 hex digits. Each is for the entries with weights of this
            repository, or in a local folder with this code.

    Raises:
        ConfigError: A value is not of this form, or no backbone has such weights.
    """
    overrides = []
    for value in trusted:
        try:
            check_trust(value)
        except ValueError as error:
            raise ConfigError(f"--trust: {error}") from None
        entries = [
            label_of(options)
            for options in config.features.backbones
            if "trust" in type(options).model_fields and same_repository(value, getattr(options, "weights", ""))
        ]
        if not entries:
            raise ConfigError(f"--trust {value}: no backbone of the config has weights with this code")
        overrides += [f"features.backbones.{title}.trust={value}" for title in entries]
    return load_config(config._source, [*config._overrides, *overrides])
