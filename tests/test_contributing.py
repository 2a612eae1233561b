"""The tests that CONTRIBUTING.md and docs/security.md name as guards are there, and run in `make test-all`."""

import ast
import re

import pytest

from tests.paths import ROOT

PAGES = ("CONTRIBUTING.md", "docs/security.md")
NAMED = {page: re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / page).read_text(encoding="utf-8")) for page in PAGES}
GUARDS = sorted({guard for named in NAMED.values() for guard in named})


@pytest.mark.parametrize("page", PAGES)
def test_the_guards_are_found(page: str) -> None:
    assert len(NAMED[page]) > 20


@pytest.mark.parametrize(("file", "name"), GUARDS)
def test_a_guard_is_a_test_that_runs(file: str, name: str) -> None:
    module = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    (test,) = [node for node in module.body if isinstance(node, ast.FunctionDef) and node.name == name]
    whole_file = [node for node in module.body if isinstance(node, ast.Assign) and "pytestmark" in ast.unparse(node)]
    marks = " ".join(ast.unparse(node) for node in (*test.decorator_list, *whole_file))
    assert not re.search(r"mark\.(slow|gpu|browser)", marks)
