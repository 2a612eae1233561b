"""Find other packages that are imported in place of `features`, `heads` or `pipeline`, whose names are common."""

from __future__ import annotations

from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("features", "heads", "pipeline")


def check_own_packages() -> None:
    """Check that the packages next to this one are those that Python imports.

    Raises:
        ImportError: Another module of the same name comes first, or one of the packages is missing.
    """
    home = Path(__file__).resolve().parent.parent
    for name in PACKAGES:
        found = _location(name)
        if found == home / name:
            continue
        if found is None:
            raise ImportError(f"the package {name!r} is missing in {home}; install audioheads again")
        raise ImportError(
            f"{found} is imported in place of the package {name!r} of audioheads in {home}; rename it, start Python in "
            f"another folder, or remove {found.parent} from PYTHONPATH"
        )


def _location(name: str) -> Path | None:
    """Return the folder or file from which a module is imported; None if there is none."""
    try:
        spec: ModuleSpec | None = find_spec(name)
    except ValueError:  # already imported, by something that set no spec
        spec = None
    if spec is None:
        return None
    if spec.origin is None:  # a folder without __init__.py
        places = list(spec.submodule_search_locations or ())
        return Path(places[0]).resolve() if places else None
    path = Path(spec.origin).resolve()
    return path.parent if path.name == "__init__.py" else path
