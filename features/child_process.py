"""Start this program's modules in processes of their own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import features


def module_command(module: str, *arguments: str) -> list[str]:
    """Return the command line that runs a module of these packages with this Python."""
    return [sys.executable, "-P", "-m", module, *arguments]


def module_environment(**changes: str) -> dict[str, str]:
    """Return the environment in which `module_command` finds the packages that are imported here.

    Args:
        **changes: Further variables.
    """
    package = str(Path(next(iter(features.__path__))).parent)
    known = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([*([known] if known else []), package])
    return {**os.environ, "PYTHONPATH": path, **changes}
