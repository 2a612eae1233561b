"""Read the YAML mapping of a config file; other files get a message about what they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from features.errors import ConfigError
from pipeline.config.errors import shown
from pipeline.config.mistaken_files import mistaken
from pipeline.config.yaml import YamlError, parse_yaml


def read_mapping(path: Path, keys: Sequence[str]) -> dict[str, Any]:
    """Read the mapping in a config file.

    Args:
        path: The file.
        keys: Known keys, for messages.

    Raises:
        ConfigError: The file cannot be read, or is not a config; the message says what it is instead.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such config file") from error
    except UnicodeDecodeError as error:
        what = mistaken(path) or f"not UTF-8 text (byte {error.start}); a config is a YAML file"
        raise ConfigError(f"{path}: {what}") from error
    except IsADirectoryError as error:
        raise ConfigError(f"{path}: {mistaken(path)}") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        values = parse_yaml(text)
    except YamlError as error:
        raise ConfigError(f"{path}: {mistaken(path) or error}") from error
    if values is None:
        raise ConfigError(f"{path}: empty; a config needs at least `dataset: {{kind: …, root: …}}`")
    if not isinstance(values, dict):
        if what := mistaken(path):
            raise ConfigError(f"{path}: {what}")
        raise ConfigError(f"{path}: should be a mapping with keys such as {', '.join(keys)}, got {shown(values)}")
    return values
