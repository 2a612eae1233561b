"""Convert pydantic's validation errors to one line each, with the keys as written in the config."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

Location = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class FieldError:
    """One error in a config.

    Attributes:
        location: Keys and list indices from the top of the file; empty for the whole file.
        message: What is wrong and what was expected.
    """

    location: Location
    message: str

    def __str__(self) -> str:
        """`features.backbones[1].weigths: unknown key, did you mean 'weights'?`."""
        return f"{dotted(self.location)}: {self.message}" if self.location else self.message


def dotted(location: Iterable[str | int]) -> str:
    """Format a location: `features.backbones[1].weights`."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def closest(name: object, known: Iterable[str]) -> str:
    """Return the rest of an "unknown …" message: the most similar known name, or all known names."""
    known = list(known)
    near = difflib.get_close_matches(str(name), known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known) or 'none'}"


def validate(model: type[Model], value: Any, location: Location = ()) -> tuple[Model | None, list[FieldError]]:
    """Build `model` from plain values.

    Args:
        model: The pydantic model to build.
        value: The value in the file, normally a mapping.
        location: Location of `value` in the file.

    Returns:
        The model and no errors, or None and at least one error.
    """
    if not isinstance(value, dict):
        keys = ", ".join(_keys(model))
        return None, [FieldError(location, f"should be a mapping with keys such as {keys}, got {shown(value)}")]
    try:
        return model.model_validate(value), []
    except ValidationError as error:
        details = error.errors(include_url=False)
        meant = {_meant(model, detail) for detail in details}
        messages: dict[Location, list[str]] = {}  # a union reports each of its branches
        for detail in details:
            if detail["type"] == "missing" and detail["loc"] in meant:
                continue  # the key is present, but misspelt
            messages.setdefault((*location, *_written(model, detail)), []).append(_message(model, detail))
        return None, [FieldError(where, "; or ".join(dict.fromkeys(found))) for where, found in messages.items()]


def shown(value: object) -> str:
    """Format a value in one line of at most 80 characters."""
    text = " ".join(("null" if value is None else repr(value)).split())
    return text if len(text) <= 80 else f"{text[:77]}…"


def _meant(model: type[BaseModel], detail: ErrorDetails) -> Location | None:
    """Return the known key that an unknown key probably means, or None."""
    parent = _model_at(model, detail["loc"][:-1]) if detail["type"] == "extra_forbidden" else None
    near = difflib.get_close_matches(str(detail["loc"][-1]), _keys(parent), n=1) if parent else []
    return (*detail["loc"][:-1], near[0]) if near else None


def _message(model: type[BaseModel], detail: ErrorDetails) -> str:
    kind, value = detail["type"], detail["input"]
    context = detail.get("ctx", {})
    if kind == "extra_forbidden":
        parent = _model_at(model, detail["loc"][:-1])
        return f"unknown key, {closest(detail['loc'][-1], _keys(parent) if parent else [])}"
    if kind == "missing":
        return "missing, and it has no default"
    if kind in ("value_error", "assertion_error"):
        return str(context.get("error", detail["msg"]))
    if kind == "literal_error":
        choices = context["expected"].replace(" or ", ", ")
        near = difflib.get_close_matches(str(value), [choice.strip(" '") for choice in choices.split(",")], n=1)
        return f"should be {context['expected']}, got {shown(value)}" + (f"; did you mean {near[0]!r}?" if near else "")
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return f"should be a mapping, got {shown(value)}"
    if kind in ("list_type", "tuple_type"):
        return f"should be a list such as [{_plain(value)}], got {shown(value)}"
    if kind == "path_type":
        return f"should be a path, got {shown(value)}"
    if kind == "too_short":
        return f"should have at least {context['min_length']} item(s), got {shown(value)}"
    message = detail["msg"].removeprefix("Input ").removeprefix("Value ")
    return f"{message[:1].lower()}{message[1:]}, got {shown(value)}"


def _plain(value: object) -> str:
    return str(value) if isinstance(value, (str, int, float)) and str(value).isprintable() else "…"


def _keys(model: type[BaseModel]) -> list[str]:
    """Return the keys that are allowed in this section."""
    return list(model.model_fields)


def _written(model: type[BaseModel], detail: ErrorDetails) -> Location:
    """Return pydantic's location without its names for union branches, which are not in the file."""
    location: list[str | int] = []
    current: Any = model
    for index, part in enumerate(detail["loc"]):
        owner = _model_in(current)
        if owner is not None and part in owner.model_fields:
            current = owner.model_fields[str(part)].annotation
            location.append(part)
        elif isinstance(part, int) or _is_mapping(current) or _is_unknown_key(detail, index):
            location.append(part)
    return tuple(location)


def _is_unknown_key(detail: ErrorDetails, index: int) -> bool:
    return detail["type"] == "extra_forbidden" and index == len(detail["loc"]) - 1


def _model_at(model: type[BaseModel], location: Iterable[str | int]) -> type[BaseModel] | None:
    """Return the model of the section at a location, by the annotations, or None."""
    current: type[BaseModel] | None = model
    for part in location:
        if isinstance(part, str) and current is not None and part in current.model_fields:
            current = _model_in(current.model_fields[part].annotation)
    return current


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the pydantic model inside an annotation such as `list[Section] | None`."""
    if isinstance(annotation, type) and not get_args(annotation):
        return annotation if issubclass(annotation, BaseModel) else None
    return next((found for part in get_args(annotation) if (found := _model_in(part)) is not None), None)


def _is_mapping(annotation: Any) -> bool:
    origin = get_origin(annotation)
    if origin in (Union, UnionType):
        return any(_is_mapping(part) for part in get_args(annotation))
    return origin is dict or annotation is dict
