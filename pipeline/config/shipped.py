"""The configs that come with the program, which commands accept by name: `audioheads run demo`."""

from __future__ import annotations

import difflib
from pathlib import Path

from features.errors import UserError

NO_EXPERIMENT = ("published",)  # results from papers, which the report reads


def shipped_folder() -> Path:
    """Return the folder of the shipped configs: in the installed package, or at the top of a checkout."""
    packaged = Path(__file__).parent / "shipped_configs"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "configs"


def shipped_configs() -> dict[str, Path]:
    """Return name -> file of every shipped config, sorted."""
    files = sorted(shipped_folder().glob("*.yaml"))
    return {file.stem: file for file in files if file.stem not in NO_EXPERIMENT}


def find_config(path: Path) -> Path:
    """Return the file that a command's CONFIG means: the path, or the shipped config of that name."""
    if path.suffix or path.exists() or len(path.parts) != 1:
        return path
    return shipped_configs().get(path.name, path)


def shipped_config(name: str) -> Path:
    """Return the file of a shipped config.

    Raises:
        UserError: There is none of this name; the message lists them.
    """
    known = shipped_configs()
    name = name.removesuffix(".yaml")
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise UserError(f"no shipped config {name!r}: {hint}there are {', '.join(known)}")
    return known[name]


def purpose(path: Path) -> str:
    """Return the first sentence of a config's first comment."""
    words = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        words.append(line.removeprefix("#").strip())
    return " ".join(words).partition(". ")[0].rstrip(".")
