"""File permissions of output files."""

from __future__ import annotations

import os
from pathlib import Path


def apply_umask(path: Path) -> None:
    """Set a file's mode to that of a new file: safetensors creates files that only their owner can read."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)
