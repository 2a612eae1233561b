"""Importing the package is cheap, and packages of the same names in other places are noticed."""

import subprocess
import sys
import tomllib

import pytest

import audioheads as ah
from tests.paths import ROOT

LIGHT = """
import sys, audioheads
from importlib import metadata
print(audioheads.__version__, len({"numpy", "torch", "pandas", "sklearn", "pydantic"} & set(sys.modules)))
"""


def python(*arguments, folder):
    environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
    return subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True)


def test_importing_loads_no_library(tmp_path):
    done = python("-c", LIGHT, folder=tmp_path)
    assert done.stdout.split() == [ah.__version__, "0"], done.stderr


def test_every_public_name_exists():
    assert [name for name in ah.__all__ if getattr(ah, name) is None] == []
    assert set(ah.__all__) <= set(dir(ah))
    with pytest.raises(AttributeError, match="has no attribute 'Embeder'"):
        ah.Embeder  # noqa: B018


def test_the_version_is_the_packages():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["hatch"]["version"]["path"] == "audioheads/__init__.py"
    assert "version" in project["project"]["dynamic"]


@pytest.mark.parametrize("name", ["features", "heads", "pipeline"])
@pytest.mark.parametrize("layout", ["{}.py", "{}/__init__.py"])
def test_another_package_of_the_same_name_is_named(tmp_path, name, layout):
    other = tmp_path / layout.format(name)
    other.parent.mkdir(exist_ok=True)
    other.write_text("")
    place = other.parent if other.name == "__init__.py" else other
    said = f"{place} is imported in place of the package {name!r} of audioheads"
    done = python("-m", "audioheads", "--help", folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(f"audioheads: {said}")
    assert len(done.stderr.splitlines()) == 1
    done = python("-c", "import audioheads; audioheads.Embedder", folder=tmp_path)
    assert said in done.stderr.splitlines()[-1]


def test_a_folder_of_that_name_that_is_no_package_does_no_harm(tmp_path):
    (tmp_path / "features").mkdir()
    done = python("-m", "audioheads", "--help", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Usage: audioheads" in done.stdout
