"""The Makefile: help, the meaning of `SET=`, and that set-up runs first and only if needed."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib

import pytest

from tests.paths import ROOT

TARGETS = {
    "setup",
    "setup-dev",
    "lint",
    "test",
    "test-all",
    "test-browser",
    "demo",
    "run",
    "features",
    "train-heads",
    "report",
    "bench",
    "parity",
    "clean",
}
QUICK = "not crash and not docs and not e2e and not thorough and not browser and not slow and not gpu"

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@pytest.fixture
def checkout(tmp_path):
    """The files that make reads, without an environment."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def make(folder, *arguments):
    # Not the flags of a `make test` that this runs in; and looking for a Python takes time.
    environment = {"PATH": os.environ["PATH"], "PYTHON": sys.executable}
    done = subprocess.run(["make", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return done.stdout


def ready(folder):
    (folder / ".venv").mkdir()
    (folder / ".venv" / ".ready").touch()
    (folder / ".venv" / ".ready-dev").touch()


def test_help_lists_every_target_with_a_line(checkout):
    listed = dict(re.findall(r"^  ([a-z-]+) +(\S.*)$", make(checkout), flags=re.MULTILINE))
    assert set(listed) >= TARGETS
    assert make(checkout, "help") == make(checkout)


@pytest.mark.parametrize("target", sorted(TARGETS - {"clean"}))
def test_set_up_comes_first_and_once(checkout, target):
    assert "pip install" in make(checkout, "-n", target)
    ready(checkout)
    assert "pip install" not in make(checkout, "-n", target)


@pytest.mark.parametrize("changed", ["pyproject.toml", "constraints.txt"])
def test_set_up_is_repeated_when_requirements_changed(checkout, changed):
    ready(checkout)
    stamp = (checkout / ".venv" / ".ready").stat().st_mtime_ns
    os.utime(checkout / changed, ns=(stamp + 10**9, stamp + 10**9))
    assert "pip install" in make(checkout, "-n", "setup")


@pytest.mark.parametrize(("target", "extras"), [("setup", "all"), ("run", "all"), ("test", "all,dev,docs")])
def test_what_is_for_working_on_the_code_is_installed_for_that_only(checkout, target, extras):
    assert re.findall(r"-e '\.\[(.*)\]'", make(checkout, "-n", target))[-1] == extras


def test_config_set_and_args_reach_the_command(checkout):
    ready(checkout)
    command = make(
        checkout, "-n", "train-heads", "CONFIG=my exp.yaml", "SET=heads.mlp.hidden=[64] name=x=y", "ARGS=--dry-run"
    )
    expected = "audioheads train-heads 'my exp.yaml' --set 'heads.mlp.hidden=[64]' --set 'name=x=y' --dry-run"
    assert command.split() == (".venv/bin/" + expected).split()


@pytest.mark.parametrize(
    ("command", "expression"),
    [
        (["test"], QUICK),
        (["test", "ARGS=-x"], QUICK),
        (["test", "ARGS=tests/features/store -x"], "not slow and not gpu"),
        (["test", "ARGS=-m slow"], "slow"),
        (["test-all"], "not slow and not gpu"),
    ],
)
def test_a_target_and_args_choose_the_tests(checkout, command, expression):
    ready(checkout)
    words = shlex.split(make(checkout, "-n", *command))
    assert words[:3] == [".venv/bin/python", "-m", "pytest"]
    assert words[len(words) - 1 - words[::-1].index("-m") + 1] == expression  # pytest obeys the last one


def test_demo_runs_the_shipped_demo(checkout):
    ready(checkout)
    assert "audioheads run configs/demo-cnn.yaml" in make(checkout, "-n", "demo")


def test_constraints_are_exact_and_carry_no_addresses():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line)] == []


def test_constraints_cover_every_requirement():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    required = [*project["dependencies"], *(line for name, lines in extras.items() if name != "all" for line in lines)]

    def plain(line):
        return re.match(r"[A-Za-z0-9._-]+", line)[0].lower().replace("_", "-")

    pinned = {plain(line) for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    assert {plain(line) for line in required} - pinned == set()
    apart = {"all", "dev", "docs", "litert", "browser"}  # for working on the code; a dependency; `make test-browser`
    assert set(extras) - apart == set(re.findall(r"[a-z]+", extras["all"][0])) - {"audioheads"}
