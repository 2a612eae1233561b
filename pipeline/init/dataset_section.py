"""Write the `dataset` section of a config, with proposals and other readings as comments."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pipeline.config.yaml import dump_yaml
from pipeline.init.found import Found

WIDTH = 110
SHOWN = 8  # other readings


def dataset_lines(found: Found) -> list[str]:
    """Return the lines of the section. A proposal is used by removing its `# `."""
    if not found.proposals:
        lines = dump_yaml({"dataset": found.options}).rstrip().splitlines()
    else:
        lines = ["dataset:", *(f"  {line}" for line in _pairs(found.options))]
        taken: set[str] = set()
        for one in found.proposals:
            more = "or: " if one.key in taken else ""
            instead = f"; if you use it, remove the line `{one.key}` above" if one.key in found.options else ""
            lines.extend(comment(f"{more}{one.why}{instead}.", 2))
            lines.extend(f"  # {line}" for line in _pairs({one.key: one.value}))
            taken.add(one.key)
    return lines


def other_lines(found: Found) -> list[str]:
    """Return comment lines with the other readings."""
    if not found.others:
        return []
    lines = ["", *comment("Other readings; to use one, put it in place of the section `dataset`:")]
    for other in found.others[:SHOWN]:
        lines.extend(comment(f"{other.what}:"))
        lines.append(f"# dataset: {_flow(other.options)}")
    return lines


def alternatives_text(found: Found) -> Iterator[str]:
    """Say in short what the config lists as comments, for the terminal."""
    for one in found.proposals:
        yield f"proposed in the config as a comment: {_pairs({one.key: one.value})[0]} ({one.why})"
    for other in found.others[:SHOWN]:
        yield f"another reading, in the config as a comment: {other.what}"


def comment(text: str, indent: int = 0) -> list[str]:
    """Return comment lines, wrapped at spaces."""
    lines, line = [], ""
    for word in text.replace("\n", " ").split(" "):
        if line and len(line) + len(word) + indent + 3 > WIDTH:
            lines.append(line)
            line = ""
        line = f"{line} {word}".strip()
    return [f"{' ' * indent}# {line}" for line in [*lines, line]]


def _pairs(options: dict[str, Any]) -> list[str]:
    """Write options one a line."""
    return [f"{key}: {_flow(value)}" for key, value in options.items()]


def _flow(value: object) -> str:
    """Write a value in one line of YAML that is also valid inside braces."""
    if isinstance(value, list):
        return f"[{', '.join(map(_flow, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(_pairs(value))}}}"
    text = dump_yaml([value]).strip().removeprefix("[").removesuffix("]")
    return json.dumps(value) if "\n" in text else text
