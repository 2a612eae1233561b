"""The configuration of one experiment: read from YAML, validated once, and used by every stage."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, PrivateAttr, field_validator

from features.distributed.options import ActorOptions
from features.errors import ConfigError
from heads.finetuning.options import Tracking
from heads.options import MAJORITY
from pipeline.config.errors import FieldError, Location, closest, dotted, shown, validate
from pipeline.config.overrides import Override, apply_overrides
from pipeline.config.read import read_mapping
from pipeline.config.schema import (
    AbsentClasses,
    Calibrate,
    ConfigSection,
    FeaturesSection,
    FewShotSection,
    LabelEfficiencySection,
    OperatingPointSection,
    Options,
    OutputSection,
    Protocol,
    ReportSection,
    Seed,
    no_repeats,
)
from pipeline.config.yaml import dump_yaml

DEFAULT_BACKBONES = [{"name": "mfcc"}]
DEFAULT_HEADS = [{"name": "linear"}, {"name": "mlp"}]
_UNSAFE = re.compile(r'[/\\:*?"<>|\x00-\x1f\x7f]|^[.\s-]|[.\s]$')


class Config(ConfigSection):
    """A complete experiment with all defaults filled in; created by `load_config`."""

    name: str = Field(description="name of the run folder; default: the name of the config file")
    dataset: Options = Field(description="see `audioheads datasets ls`")
    features: FeaturesSection = Field(description="stage 1, see below")
    heads: list[Options] = Field(min_length=1, description="small models trained on the embeddings, see below")
    finetune: list[Options] = Field([], description="models trained end to end, see docs/decisions/end-to-end.md")
    tracking: list[Tracking] = Field([], description="where their curves are logged: tensorboard, swanlab, csv")
    protocol: Protocol = Field("auto", description="how clips are split into training, validation and test")
    absent_classes: AbsentClasses = Field(
        "error", description="a class without training clips for some test fold: error, or score as errors"
    )
    few_shot: FewShotSection = Field(FewShotSection(), description="draws of the protocol `few-shot`, see below")
    refit: bool = Field(False, description="train the chosen heads again on training and validation clips together")
    calibrate: Calibrate = Field("none", description="map fitted on validation clips that corrects probabilities")
    operating_point: OperatingPointSection | None = Field(None, description="goal of thresholds; null: 0.5")
    label_efficiency: LabelEfficiencySection | None = Field(None, description="accuracy by number of training clips")
    split_seed: Seed = Field(0, description="seed of drawn splits")
    seeds: list[Seed] = Field([0], min_length=1, description="seeds of the trained models")
    ray: ActorOptions = Field(
        ActorOptions(), description="actors of `train-heads` and `finetune` with `--engine ray`, one fit at a time"
    )
    heads_memory_gib: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        2.0, description="memory for rows and fits of `mlp` and `weighted-sum`; more rows are put in a temporary file"
    )
    report: ReportSection = Field(ReportSection(), description="stage 3, see below")
    output: OutputSection = Field(OutputSection(), description="folders, see below")

    _source: str = PrivateAttr("")
    _overrides: tuple[str, ...] = PrivateAttr(())
    _lists = field_validator("seeds")(no_repeats)

    @property
    def run_dir(self) -> Path:
        """Folder of this experiment's results."""
        return self.output.runs / self.name

    def command(self, command: str) -> str:
        """Return the command line that runs `command` on this experiment, for messages."""
        sets = [part for override in self._overrides for part in ("--set", override)]
        return shlex.join(["audioheads", *command.split(), self._source or f"{self.run_dir}/config.yaml", *sets])

    def __eq__(self, other: object) -> bool:
        """Compare settings, regardless of the file they were read from."""
        return isinstance(other, Config) and self.model_dump() == other.model_dump()

    __hash__ = None  # type: ignore[assignment]


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
    return config, errors or (_contradictions(config) if config is not None else [])


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


def _contradictions(config: Config) -> list[FieldError]:
    """Find errors in the combination of valid values."""
    names: list[tuple[Location, str | None]] = [
        (("name",), config.name),
        (("dataset", "name"), getattr(config.dataset, "name", None)),
    ]
    sections = ((("features", "backbones"), config.features.backbones), (("heads",), config.heads))
    for where, items in (*sections, (("finetune",), config.finetune)):
        names.extend(((*where, index, "label"), label_of(item)) for index, item in enumerate(items))
    errors = [
        FieldError(location, f"{name!r} cannot be a file name; use letters, digits, '-' and '_'")
        for location, name in names
        if name is not None and (not name or len(name.encode()) > 120 or _UNSAFE.search(name))
    ]
    for section, models in ((("features", "backbones"), config.features.backbones), (("finetune",), config.finetune)):
        errors.extend(
            FieldError(
                (*section, index, _label_key(item)),
                f"{label_of(item)!r} is the name of the baseline in every table; give the model another `label`",
            )
            for index, item in enumerate(models)
            if label_of(item).casefold() == MAJORITY
        )
    first: dict[str, int] = {}
    for index, item in enumerate(config.features.backbones):
        before = first.setdefault(label_of(item).casefold(), index)
        if before != index:
            message = f"{label_of(item)!r} is also features.backbones[{before}]; give one of them another `label`"
            errors.append(FieldError(("features", "backbones", index, _label_key(item)), message))
    for index, item in enumerate(config.finetune):
        before = first.setdefault(label_of(item).casefold(), len(config.features.backbones) + index)
        if before != len(config.features.backbones) + index:
            at = before - len(config.features.backbones)
            other = f"finetune[{at}]" if at >= 0 else f"features.backbones[{before}]"
            message = f"{label_of(item)!r} is also {other}; give one of them another `label`"
            errors.append(FieldError(("finetune", index, _label_key(item)), message))
    if config.label_efficiency is not None:
        for key, items in (("backbones", config.features.backbones), ("heads", config.heads)):
            known = [label_of(item) for item in items]
            for at, name in enumerate(getattr(config.label_efficiency, key) or []):
                if name not in known:
                    errors.append(
                        FieldError(("label_efficiency", key, at), f"unknown {name!r}, {closest(name, known)}")
                    )
    seen: dict[tuple[str, ...], int] = {}
    for index, head in enumerate(config.heads):
        poolings = getattr(head, "pooling", None) or config.features.pooling
        before = seen.setdefault((label_of(head), *poolings), index)
        if before != index:
            message = (
                f"{label_of(head)!r} on the same pooling is also heads[{before}]; give one of them another `label`"
            )
            errors.append(FieldError(("heads", index, _label_key(head)), message))
        missing = [pooling for pooling in poolings if pooling not in config.features.pooling]
        if missing:
            message = f"{missing[0]!r} is not among features.pooling ({', '.join(config.features.pooling)})"
            errors.append(FieldError(("heads", index, "pooling"), message))
    return errors


def _label_key(options: BaseModel) -> str:
    return "label" if getattr(options, "label", None) else "name"


def label_of(options: BaseModel) -> str:
    """Return the name of a backbone or head in tables and files."""
    return str(getattr(options, "label", None) or getattr(options, "title", None) or getattr(options, "name", ""))


def _line(path: str, error: FieldError, overrides: Sequence[Override]) -> str:
    """Format one error, starting with the file or the `--set` that caused it."""
    for override in reversed(overrides):
        if error.location[: len(override.location)] == override.location:
            return f"--set {override.written}: {error}"
    return f"{path}: {error}"
