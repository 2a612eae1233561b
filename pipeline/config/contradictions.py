"""Errors in the combination of valid values: names that cannot be files or repeat, and names of missing things."""

from __future__ import annotations

import re

from pydantic import BaseModel

from heads.options import MAJORITY
from pipeline.config.errors import FieldError, Location, closest
from pipeline.config.experiment import Config, label_of

_UNSAFE = re.compile(r'[/\\:*?"<>|\x00-\x1f\x7f]|^[.\s-]|[.\s]$')


def contradictions(config: Config) -> list[FieldError]:
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
    return errors + _about_background(config)


def _about_background(config: Config) -> list[FieldError]:
    """Find keys that need recordings of background where there are none."""
    errors = []
    if config.background is None and config.background_in != ["test"]:
        errors.append(FieldError(("background_in",), "needs recordings; set `background` to a folder of them"))
    point = config.operating_point
    if point is None or point.max_false_alarms_per_hour is None:
        return errors
    if config.background is None or "valid" not in config.background_in:
        needs = "`background: FOLDER` and " if config.background is None else ""
        errors.append(
            FieldError(
                ("operating_point", "max_false_alarms_per_hour"),
                f"needs recordings of background for validation: set {needs}`background_in: [valid, test]`, or use "
                "min_precision, min_recall or max_f1",
            )
        )
    elif config.refit and "train" in config.background_in:
        message = "would train on the background that thresholds are chosen on; use background_in: [valid, test]"
        errors.append(FieldError(("refit",), message))
    return errors


def _label_key(options: BaseModel) -> str:
    return "label" if getattr(options, "label", None) else "name"
