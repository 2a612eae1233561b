"""Read the configuration of an experiment from YAML and validate it once, for every stage."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from features.errors import ConfigError
from pipeline.config.contradictions import contradictions
from pipeline.config.errors import FieldError, Location, closest, dotted, shown, validate
from pipeline.config.experiment import Config, label_of
from pipeline.config.overrides import Override, apply_overrides
from pipeline.config.read import read_mapping
from pipeline.config.yaml import dump_yaml

__all__ = ["Config", "dump_config", "label_of", "load_config", "make_config"]

DEFAULT_BACKBONES = [{"name": "mfcc"}]
DEFAULT_HEADS = [{"name": "linear"}, {"name": "mlp"}]


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read and validate the config of one experiment.

    Args:
        path: A YAML file.
        overrides: Texts `key.path=value`, see `pipeline.config.overrides`.

    Returns:
        The config.

    Raises:
        ConfigError: The file or an override is invalid; one line per error, each with file and key.
    """
    values = read_mapping(Path(path), list(Config.model_fields))
    config = _complete(values, str(path), Path(path).stem, Path(path).parent, overrides)
    config._source = str(path)
    config._overrides = tuple(overrides)
    return config


def make_config(values: Mapping[str, Any], *, name: str = "experiment") -> Config:
    """Validate a config given as nested dictionaries with the keys of the YAML.

    Args:
        values: The config; it is not changed.
        name: Name of the experiment if `values` has none.

    Raises:
        ConfigError: A value is invalid; one line per error, each with its key.
    """
    return _complete(deepcopy(dict(values)), "config", name, Path())


def _complete(values: dict[str, Any], source: str, name: str, folder: Path, overrides: Sequence[str] = ()) -> Config:
    """Fill in the defaults of a config and validate it; code is looked for in `folder`."""
    _fill_lists(values)
    applied = apply_overrides(values, overrides)
    values.setdefault("name", name)
    _find_code(values, folder)
    config, errors = _check(values)
    if config is None or errors:
        raise ConfigError("\n".join(_line(source, error, applied) for error in errors))
    return config


def dump_config(config: Config) -> str:
    """Return the resolved config as YAML, which `load_config` reads back unchanged."""
    return dump_yaml(config.model_dump(mode="json"))


def _fill_lists(values: dict[str, Any]) -> None:
    """Fill in the default lists, so that `--set` can refer to their items."""
    for section in ("features", "output"):
        if values.get(section) is None:
            values[section] = {}
    if isinstance(values["features"], dict):
        values["features"].setdefault("backbones", [dict(item) for item in DEFAULT_BACKBONES])
    values.setdefault("heads", [dict(item) for item in DEFAULT_HEADS])
    for section in ("finetune", "tracking"):
        if values.get(section) is None:
            values[section] = []
    if isinstance(values["tracking"], list):
        values["tracking"] = [{"name": item} if isinstance(item, str) else item for item in values["tracking"]]


def _find_code(values: dict[str, Any], folder: Path) -> None:
    """Set `folder` of a backbone's entry if its module is next to the config and the entry has no `folder`."""
    section = values["features"]
    entries = section.get("backbones") if isinstance(section, dict) else None
    for entry in entries if isinstance(entries, list) else []:
        path = entry.get("module") or entry.get("callable") if isinstance(entry, dict) else None
        if not isinstance(path, str) or entry.get("folder") is not None:
            continue
        top = re.split(r"[.:]", path, maxsplit=1)[0]
        if top and ((folder / f"{top}.py").is_file() or (folder / top / "__init__.py").is_file()):
            entry["folder"] = str(folder)


def _check(values: dict[str, Any]) -> tuple[Config | None, list[FieldError]]:
    """Build the config, or list all errors."""
    import features.backbones
    import features.datasets

    checked = dict(values)
    errors: list[FieldError] = []
    if "dataset" in values:
        checked["dataset"] = _option(values["dataset"], "kind", features.datasets.options_class, ("dataset",), errors)
    section = values["features"]
    if isinstance(section, dict) and isinstance(section.get("backbones"), list):
        backbones = [
            _option(item, "name", features.backbones.options_class, ("features", "backbones", index), errors)
            for index, item in enumerate(map(_with_preset, section["backbones"]))
        ]
        checked["features"] = {**section, "backbones": backbones}
    if isinstance(values["heads"], list):
        checked["heads"] = [
            _option(item, "name", _head_class, ("heads", index), errors) for index, item in enumerate(values["heads"])
        ]
    if isinstance(values["finetune"], list) and values["finetune"]:
        from pipeline.config import finetune_entries

        checked["finetune"] = [
            _option(item, "name", finetune_entries.options_class, ("finetune", index), errors)
            for index, item in enumerate(map(_with_preset, values["finetune"]))
        ]
    config, own = validate(Config, checked)
    errors = [*own, *errors]
    return config, errors or (contradictions(config) if config is not None else [])


def _with_preset(item: Any) -> Any:
    """Fill in missing values of an entry from the preset that it names."""
    from features.backbones import preset_options

    name = item.get("name") if isinstance(item, dict) else None
    return {**preset_options(name), **item} if isinstance(name, str) else item


class _Invalid(BaseModel):
    """Placeholder for options whose errors are already listed."""


def _option(
    value: Any,
    key: str,
    options_class: Callable[[str], type[BaseModel]],
    location: Location,
    errors: list[FieldError],
) -> BaseModel:
    """Build the options of one dataset, backbone or head; errors are added to the list."""
    found: list[FieldError]
    options: BaseModel | None = None
    if not isinstance(value, dict):
        found = [FieldError(location, f"should be a mapping such as {{{key}: …}}, got {shown(value)}")]
    elif not isinstance(value.get(key), str):
        found = [FieldError((*location, key), f"should be a name, got {shown(value.get(key))}")]
    else:
        try:
            options, found = validate(options_class(value[key]), value, location)
        except ConfigError as error:
            where = (*location, key)
            found = [FieldError(where, str(error).removeprefix(f"{dotted(where)}: "))]
    errors.extend(found)
    return options or _Invalid()


def _head_class(name: str) -> type[BaseModel]:
    """Return the options class of a head."""
    from heads.kinds.registry import HEADS, options_class

    if name not in HEADS:
        raise ConfigError(f"unknown name {name!r}, {closest(name, HEADS)}")
    return options_class(name)


def _line(path: str, error: FieldError, overrides: Sequence[Override]) -> str:
    """Format one error, starting with the file or the `--set` that caused it."""
    for override in reversed(overrides):
        if error.location[: len(override.location)] == override.location:
            return f"--set {override.written}: {error}"
    return f"{path}: {error}"
