"""The page of all keys of a config, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from pipeline.config.json_schema import config_schema
from pipeline.config.options_table import option_classes, sections

TITLES = {
    "dataset": "`dataset`: where the clips come from",
    "features.backbones": "`features.backbones`: what embeds them",
    "heads": "`heads`: what is trained on the embeddings",
    "finetune": "`finetune`: what is trained end to end",
}
SIGNS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
INTRODUCTION = """# All configuration keys

This page is made by `audioheads config reference`. A config is one YAML file. Only `dataset` is required. A key that is
not listed here is an error. In a head, a list of values is a grid from which validation chooses.
"""


def reference_text() -> str:
    """Return the page."""
    schema = config_schema()
    parts = [INTRODUCTION]
    for key, section in sections():
        parts.append(f"## {f'`{key}`' if key else 'Top level'}\n\n{_table(section, schema)}")
    for group, named in option_classes().items():
        parts.append(f"## {TITLES[group]}")
        for one in dict.fromkeys(named.values()):
            names = [f"`{name}`" for name, other in named.items() if other is one]
            parts.append(f"### {', '.join(names)}\n\n{_first_sentence(one)}\n\n{_table(one, schema)}")
    return "\n\n".join(parts) + "\n"


def _table(options: type[BaseModel], schema: Mapping[str, Any]) -> str:
    """Return the options of a class as a table of keys, types, defaults and descriptions."""
    body = _body(options, schema)
    lines = ["| key | values | default | meaning |", "|---|---|---|---|"]
    for name, field in body["properties"].items():
        cells = f"`{name}`", _type(field), _default(field), field.get("description", "")
        lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    return "\n".join(lines)


def _body(options: type[BaseModel], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the part of the schema that describes a class."""
    if options.__name__ == "Config":
        return schema
    name = f"{options.__module__}.{options.__qualname__}".replace(".", "__")
    definitions: Mapping[str, Any] = schema["$defs"]
    return definitions.get(name) or definitions[options.__name__]


def _type(field: Mapping[str, Any]) -> str:
    """Describe the values that a field takes."""
    if "$ref" in field:
        return "mapping"
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(filter(None, (_type(one) for one in field["anyOf"]))))
    if field.get("type") == "array":
        return f"list of {_type(field.get('items', {})) or 'values'}"
    names = {"integer": "whole number", "string": "text", "object": "mapping", "boolean": "`true`, `false`"}
    kind = field.get("type", "")
    limits = ", ".join(f"{sign} {field[key]}" for key, sign in SIGNS.items() if key in field)
    return f"{names.get(kind, kind)} {limits}".strip()


def _default(field: Mapping[str, Any]) -> str:
    """Return a field's default as YAML writes it."""
    if "default" not in field:
        return ""
    value = field["default"]
    if isinstance(value, Mapping) or value == []:
        return ""
    if value is None:
        return "`null`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _first_sentence(options: type[BaseModel]) -> str:
    return (options.__doc__ or "").strip().partition("\n\n")[0].replace("\n", " ")
