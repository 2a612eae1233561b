"""YAML as people expect it: the plain values of YAML 1.2, and a key may stand only once.

PyYAML reads YAML 1.1, where `1e-3` is text, `no` is false and `12:30` is 750. Configs and `--set`
values go through this module, so both mean the same.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import yaml

_STARTS = "-+.0123456789"
_CORE = (
    ("tag:yaml.org,2002:null", r"~|null|Null|NULL|", "~nN"),
    ("tag:yaml.org,2002:bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("tag:yaml.org,2002:int", r"[-+]?(?:0|[1-9][0-9]*)|0x[0-9a-fA-F]+", "-+0123456789"),
    ("tag:yaml.org,2002:float", r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?", _STARTS),
    ("tag:yaml.org,2002:float", r"[-+]?[0-9]+[eE][-+]?[0-9]+", _STARTS),
    ("tag:yaml.org,2002:float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", _STARTS),
    ("tag:yaml.org,2002:merge", r"<<", "<"),
)


class _Loader(yaml.SafeLoader):
    """Safe loading, with the plain values of YAML 1.2 and without repeated keys."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Refuse a key that stands twice: PyYAML would keep the last without a word."""
        node = super().compose_mapping_node(anchor)
        first_lines: dict[Hashable, int] = {}
        for key, _ in node.value:
            identity = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else id(key)
            line = key.start_mark.line + 1
            if identity in first_lines:
                problem = f"key {key.value!r} stands twice (first in line {first_lines[identity]})"
                raise yaml.composer.ComposerError(None, None, problem, key.start_mark)
            first_lines[identity] = line
        return node


class _Dumper(yaml.SafeDumper):
    """Safe dumping that quotes text which either YAML version would read as something else."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Indent list items under their key."""
        super().increase_indent(flow, False)


_Loader.yaml_implicit_resolvers = {}
_Dumper.yaml_implicit_resolvers = {
    first: list(pairs) for first, pairs in yaml.SafeDumper.yaml_implicit_resolvers.items()
}
for _tag, _pattern, _first in _CORE:
    _compiled = re.compile(f"^(?:{_pattern})$")
    _firsts = [*_first, ""] if _tag.endswith("null") else list(_first)
    _Loader.add_implicit_resolver(_tag, _compiled, _firsts)
    _Dumper.add_implicit_resolver(_tag, _compiled, _firsts)


class YamlError(ValueError):
    """Text that is not YAML; the message says where and why, in one line."""


def parse_yaml(text: str) -> object:
    """Read one YAML document.

    Args:
        text: The document; empty text gives None.

    Raises:
        YamlError: Not YAML, more than one document, a key that stands twice.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = " ".join(str(part) for part in (error.context, error.problem) if part)
        raise YamlError(f"{where}{_one_line(problem)}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YamlError(f"line {line}: character U+{int(error.character):04X} is not allowed in YAML") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise YamlError(_one_line(str(error)) or type(error).__name__) from error


def dump_yaml(value: object) -> str:
    """Write plain values as YAML that `parse_yaml` reads back as the same."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110)


def _one_line(text: str) -> str:
    return " ".join(text.split())
