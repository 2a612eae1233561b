"""Test the versions that `pyproject.toml` allows (`make test-bounds`): the lowest of each range, and the newest.

Each set of versions is installed as a wheel in an environment of its own under `build/bounds/`, which is removed
afterwards. There, a small experiment runs outside the checkout, then a short tier of the tests: the contract of every
backbone, the cache, the command line. Only the standard library is needed.

Run: `python -m tests.bounds lowest newest [--keep] [--extras finetune,onnx]`.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENTS = ROOT / "build" / "bounds"
TOOLS = ("pytest", "pytest-xdist", "hypothesis", "jaxtyping", "beartype", "psutil", "jsonschema")  # always the newest
TIER = (
    "tests/features/backbones/test_contract.py",
    "tests/features/backbones/test_exactness.py",
    "tests/features/store",
    "tests/pipeline/cli/test_app.py",
    "tests/pipeline/cli/test_configs.py",
    "tests/pipeline/cli/test_help.py",
)
# Warnings differ between versions, so they are no errors here.
# The pretend device relies on internals of the torch that `constraints.txt` pins.
PYTEST = (
    *("-q", "-W", "default", "-p", "no:cacheprovider", "-k", "not pretend_cuda"),
    *("-m", "not slow and not gpu and not crash and not thorough"),
)
SMALL = ("dataset.clips_per_class=10", "seeds=[0]")


def requirements(extras: Sequence[str]) -> list[str]:
    """Return the requirements of the project and of some extras, as `pyproject.toml` has them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [*project["dependencies"], *(one for extra in extras for one in project["optional-dependencies"][extra])]


def lowest(requirement: str) -> str:
    """Return a requirement that only the lower bound fulfils: `torch>=2.6` becomes `torch==2.6`.

    Raises:
        ValueError: It has no lower bound.
    """
    found = re.fullmatch(r"([\w.-]+)>=([\w.]+)( *;.*)?", requirement)
    if found is None:
        raise ValueError(f"pyproject.toml: {requirement}: expected a name and a lower bound, such as numpy>=1.26")
    name, version, marker = found.groups()
    return f"{name}=={version}{marker or ''}"


def versions(python: Path, names: Sequence[str]) -> str:
    """Return the installed versions of some packages, with Python's."""
    program = "import sys; from importlib.metadata import version as v; print(*(f'{n} {v(n)}' for n in sys.argv[1:]))"
    shown = subprocess.run([python, "-c", program, *names], capture_output=True, text=True, check=True)
    return f"Python {sys.version.split()[0]}, {', '.join(re.findall(r'[^ ]+ [^ ]+', shown.stdout.strip()))}"


def install(which: str, extras: Sequence[str]) -> Path:
    """Install the project with its lowest or newest versions, and return the Python of the environment."""
    folder = ENVIRONMENTS / which
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    python = folder / "bin" / "python"
    project = f"{ROOT}[{','.join(extras)}]" if extras else str(ROOT)
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-cache-dir"]
    pins = [lowest(one) for one in requirements(extras)] if which == "lowest" else []
    subprocess.run([*command, project, *pins, *TOOLS], check=True)
    return python


def check(python: Path, extras: Sequence[str]) -> bool:
    """Run the experiment and the tests, and return whether both passed."""
    config = "demo-cnn" if "finetune" in extras else "demo"
    changes = [word for change in SMALL for word in ("--set", change)]
    with tempfile.TemporaryDirectory() as folder:
        runs = subprocess.run([python, "-m", "audioheads", "run", config, *changes], cwd=folder, check=False)
    tests = subprocess.run([python, "-m", "pytest", *PYTEST, *TIER], cwd=ROOT, check=False)
    return not (runs.returncode or tests.returncode)


def main() -> int:
    """Check each set of versions; return 1 if one fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.bounds", description=__doc__)
    parser.add_argument("which", nargs="*", choices=["lowest", "newest"], default=["lowest", "newest"])
    parser.add_argument("--extras", default="finetune,onnx", help="extras to install, separated by commas")
    parser.add_argument("--keep", action="store_true", help="keep the environments (6 GB each)")
    given = parser.parse_args()
    extras = [name for name in given.extras.split(",") if name]
    names = [re.split(r"[>=;]", one)[0] for one in requirements(extras)]
    failed = []
    for which in given.which:
        try:
            python = install(which, extras)
            sys.stdout.write(f"{which}: {versions(python, names)}\n")
            sys.stdout.flush()
            passed = check(python, extras)
        except subprocess.CalledProcessError:
            passed = False
        finally:
            if not given.keep:
                shutil.rmtree(ENVIRONMENTS / which, ignore_errors=True)
        sys.stdout.write(f"{which}: {'passed' if passed else 'FAILED'}\n")
        failed += [] if passed else [which]
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
