"""The tests that CONTRIBUTING.md names as guards are there, and run in `make test-all`."""

import ast
import re

import pytest

from tests.paths import ROOT

GUARDS = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))


def test_the_guards_are_found() -> None:
    assert len(GUARDS) > 20


@pytest.mark.parametrize(("file", "name"), GUARDS)
def test_a_guard_is_a_test_that_runs(file: str, name: str) -> None:
    module = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    (test,) = [node for node in module.body if isinstance(node, ast.FunctionDef) and node.name == name]
    whole_file = [node for node in module.body if isinstance(node, ast.Assign) and "pytestmark" in ast.unparse(node)]
    marks = " ".join(ast.unparse(node) for node in (*test.decorator_list, *whole_file))
    assert not re.search(r"mark\.(slow|gpu|browser)", marks)
