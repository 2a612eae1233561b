"""Strict YAML: the plain values of YAML 1.2, no repeated keys, and a limit on values expanded from aliases.

PyYAML reads YAML 1.1, where `1e-3` is text, `no` is false and `12:30` is 750. Config files and `--set` values are both
read with this module, so they follow the same rules.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

MOST_VALUES = 100_000  # limit per document with aliases expanded: a few lines can expand to billions of values
_PLAIN = {
    "null": r"~|null|Null|NULL|",
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?(0|[1-9][0-9]*)|0x[0-9a-fA-F]+",
    "float": r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
    r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
    "merge": r"<<",
}


class YamlError(ValueError):
    """Raised for invalid YAML; the message has position and reason in one line."""


class _Loader(yaml.SafeLoader):
    """Safe loading with YAML 1.2's plain values; raises errors for repeated keys, which PyYAML accepts."""

    yaml_implicit_resolvers = {}  # noqa: RUF012

    def get_single_node(self) -> yaml.Node | None:
        """Return the document's root node, checked before any value is built from it."""
        node = super().get_single_node()
        if node is not None:
            _count_values(node, {})
        return node


class _Dumper(yaml.SafeDumper):
    """Safe dumping that quotes text that YAML 1.1 or 1.2 would not read as text."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Indent list items under their key."""
        super().increase_indent(flow, False)


for _name, _pattern in _PLAIN.items():
    _tag, _regex = f"tag:yaml.org,2002:{_name}", re.compile(rf"(?:{_pattern})\Z")
    yaml.add_implicit_resolver(_tag, _regex, Loader=_Loader, Dumper=_Dumper)


def parse_yaml(text: str) -> object:
    """Read one YAML document.

    Args:
        text: The document; empty text gives None.

    Raises:
        YamlError: The text is not YAML, has several documents, a repeated key, an alias inside the value it refers
            to, or more than `MOST_VALUES` values.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = " ".join(str(part) for part in (error.context, error.problem) if part)
        if opened := _open_bracket(text):
            bracket = text[opened.index]
            problem = (
                f"the {bracket!r} of line {opened.line + 1}, column {opened.column + 1} is not closed, or a comma is "
                f"missing: {error.problem}"
            )
        elif error.problem == "mapping values are not allowed here":
            problem += "; is a colon missing above, or should this text be quoted?"
        raise YamlError(f"{where}{_one_line(problem)}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YamlError(f"line {line}: character U+{int(error.character):04X} is not allowed in YAML") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise YamlError(_one_line(str(error)) or type(error).__name__) from error


def _open_bracket(text: str) -> Any:
    """Return the mark of the innermost bracket that is open where reading fails; None if there is none."""
    marks: list[Any] = []
    parser = _Loader(text)
    try:
        while parser.check_event():
            event = parser.get_event()
            if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
                marks.append(event.start_mark)
            elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
                marks.pop()
    except yaml.YAMLError:
        return next((mark for mark in reversed(marks) if text[mark.index : mark.index + 1] in ("{", "[")), None)
    finally:
        parser.dispose()
    return None


def dump_yaml(value: object) -> str:
    """Write plain values as YAML, which `parse_yaml` reads back unchanged."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110)


def _count_values(node: yaml.Node, counts: dict[yaml.Node, int]) -> int:
    """Count the values of a node with aliases expanded; raise for too many values, recursion or a repeated key."""
    if node in counts:  # an alias; 0 while its anchor is being counted
        if not counts[node]:
            raise yaml.MarkedYAMLError(None, None, "an alias inside the value that it refers to", node.start_mark)
        return counts[node]
    counts[node] = 0
    children: list[yaml.Node] = node.value if isinstance(node, yaml.SequenceNode) else []
    if isinstance(node, yaml.MappingNode):
        children = [child for pair in node.value for child in pair]
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if line := lines.get((key.tag, key.value)):
                    problem = f"key {key.value!r} occurs twice (first in line {line})"
                    raise yaml.MarkedYAMLError(None, None, problem, key.start_mark)
                lines[key.tag, key.value] = key.start_mark.line + 1
    count = 1 + sum(_count_values(child, counts) for child in children)
    if count > MOST_VALUES:
        raise yaml.MarkedYAMLError(None, None, f"more than {MOST_VALUES} values, aliases expanded", node.start_mark)
    counts[node] = count
    return count


def _one_line(text: str) -> str:
    return " ".join(text.split())
