"""`make test-bounds` understands every requirement in pyproject.toml."""

import re
import tomllib

import pytest

from tests.bounds import ROOT, lowest, requirements

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
RUNTIME = [name for name in PROJECT["optional-dependencies"] if name not in ("all", "dev", "docs", "browser")]


@pytest.mark.parametrize("requirement", requirements(RUNTIME))
def test_every_requirement_has_a_lowest_version(requirement):
    name, version = lowest(requirement).split(";")[0].strip().split("==")
    assert requirement.startswith(f"{name}>={version}")


def test_the_documented_lowest_versions_are_the_bounds():
    rows = re.findall(r"^\| ([\w-]+) \| ([\d.]+) \| [\d.]+ \|$", (ROOT / "docs" / "faq.md").read_text(), re.MULTILINE)
    bounds = dict(lowest(one).split(";")[0].strip().split("==") for one in requirements(RUNTIME))
    assert len(rows) == 20
    for name, version in rows:
        shown, bound = (value.split(".") for value in (version, bounds[name]))
        assert shown[: len(bound)] == bound and not any(int(part) for part in shown[len(bound) :]), name


def test_a_requirement_without_a_lower_bound_is_named():
    with pytest.raises(ValueError, match=r"numpy<2: expected a name and a lower bound"):
        lowest("numpy<2")


def test_the_lowest_versions_of_the_torch_family_belong_together():
    pins = dict(lowest(one).split("==") for one in requirements(["finetune"]) if one.startswith("torch"))
    minor = int(pins["torch"].removeprefix("2."))
    assert pins["torchaudio"] == f"2.{minor}"
    assert pins["torchvision"] == f"0.{minor + 15}"
