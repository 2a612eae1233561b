"""Import third-party code that is installed or in a folder, and compute the digest of its source."""

from __future__ import annotations

import ast
import importlib
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from pydantic import Field

from features.backbones.loading.digests import file_sha256, state_sha256, text_sha256
from features.backbones.options import BackboneOptions
from features.errors import ConfigError, WeightsError, first_line

T = TypeVar("T")


class CodeOptions(BackboneOptions):
    """Options shared by entries that run third-party code."""

    folder: str | None = Field(None, description="folder of the module, unless it is installed or in this directory")
    arguments: dict[str, Any] = Field({}, description="further keyword arguments of the function that loads the model")
    seed: int = Field(0, ge=0, lt=2**63, description="seed of torch's random numbers while the model is loaded")
    min_duration_s: float | None = Field(None, gt=0, le=10, description="shorter clips are padded; null: measured")


def import_code(name: str, path: str, folder: str | None) -> ModuleType:
    """Import a module that is installed, in a folder, or in the working directory.

    Both folders stay at the end of `sys.path`, so that later imports of the module work and nothing is shadowed.

    Args:
        name: The backbone, for messages.
        path: Import path, such as `my_package.my_module`.
        folder: Another folder to search; None: no other.

    Raises:
        ConfigError: There is no such module, a module that it needs is missing, or the import fails.
    """
    places = [str(Path(place).expanduser().absolute()) for place in (folder, ".") if place is not None]
    for place in places:
        if place not in sys.path:
            sys.path.append(place)
    importlib.invalidate_caches()
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if path == missing or path.startswith(f"{missing}."):
            where = " or in ".join(dict.fromkeys(places))
            raise ConfigError(f"{name}: no module {missing!r}, neither installed nor in {where}") from None
        raise ConfigError(f"{name}: {path} needs the module {missing!r}, which is not installed") from None
    except Exception as error:
        raise ConfigError(f"{name}: importing {path} fails with {described(error)}") from error
    file = module_file(module)
    if folder is not None and file is not None and not file.is_relative_to(Path(places[0]).resolve()):
        raise ConfigError(f"{name}: the module {path!r} found is {file}, not one in {folder}; give yours another name")
    return module


def described(error: BaseException) -> str:
    """Return kind and first line of an error, such as `TypeError: first line of the message`."""
    return f"{type(error).__name__}: {first_line(error)}"


def module_file(module: ModuleType) -> Path | None:
    """Return the file of a module, or None if it has none."""
    file = getattr(module, "__file__", None)
    return None if file is None else Path(file).resolve()


def version_of(module: ModuleType) -> str:
    """Return the version of the distribution that a module belongs to; empty for a single file."""
    top = module.__name__.partition(".")[0]
    names = _distributions(tuple(sys.path)).get(top, [])
    return metadata.version(names[0]) if names else ""


@cache
def _distributions(search_path: tuple[str, ...]) -> Mapping[str, list[str]]:
    """Return the distributions of each installed module; finding them reads the metadata of all packages."""
    return metadata.packages_distributions()


def source_sha256(module: ModuleType) -> str:
    """Return the digest of a module's source: its whole package, and all modules in the same folder that it imports.

    Installed packages that it imports are not included.
    """
    top = module.__name__.partition(".")[0]
    file = module_file(sys.modules.get(top, module)) or module_file(module)
    if file is None:
        return text_sha256([module.__name__, version_of(module)])
    base = file.parent.parent if file.name == "__init__.py" else file.parent
    found: dict[Path, str] = {}
    waiting = list(_sources(base, top)) or [file]
    installed = {Path(sysconfig.get_path(kind)).resolve() for kind in ("stdlib", "purelib", "platlib")}
    while waiting:
        source = waiting.pop()
        if source in found:
            continue
        found[source] = file_sha256(source)
        if base not in installed and source.suffix == ".py":
            waiting += [file for name in _imported(source) for file in _sources(base, name)]
    return text_sha256(sorted((path.relative_to(base).as_posix(), digest) for path, digest in found.items()))


def _sources(base: Path, name: str) -> Iterator[Path]:
    """Yield the source files of a top-level module or package in a folder, if it exists."""
    if (base / f"{name}.py").is_file():
        yield base / f"{name}.py"
    elif (base / name).is_dir():
        yield from (path for path in (base / name).rglob("*.py") if path.is_file())


def _imported(source: Path) -> set[str]:
    """Return the top-level names that a source file imports."""
    try:
        tree = ast.parse(source.read_bytes())
    except (SyntaxError, ValueError):
        return set()
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def seeded(name: str, what: str, make: Callable[[], T], seed: int) -> T:
    """Call third-party code with torch's generator seeded, then restore the generator; return its result.

    Raises:
        WeightsError: The call fails.
    """
    import torch

    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return make()
    except Exception as error:
        raise WeightsError(f"{name}: {what} fails with {described(error)}") from error


def weights_digest(made: Any, file: Path | None, seed: int | None = None) -> str:
    """Return the digest of a model's weights: its files, and every tensor of a torch or TensorFlow module."""
    import torch

    parts: dict[str, Any] = {} if seed is None else {"seed": seed}
    if file is not None:
        files = [path for path in sorted(file.rglob("*")) if path.is_file()] if file.is_dir() else [file]
        parts["files"] = [file_sha256(path) for path in files]
    if isinstance(made, torch.nn.Module):
        parts["state"] = state_sha256(made.state_dict())
    elif isinstance(variables := getattr(made, "variables", None), list | tuple):  # TensorFlow's
        parts["state"] = state_sha256({str(at): torch.tensor(each.numpy()) for at, each in enumerate(variables)})
    return text_sha256(parts) if parts else ""


def weights_name(made: Any, path: str) -> str:
    """Return the source of a model's weights if no file is set: its import path, or `none` without parameters."""
    from torch import nn

    learns_nothing = isinstance(made, nn.Module) and next(made.parameters(), None) is None
    return "none" if learns_nothing else path


def check_same_weights(name: str, expected: str, loaded: str) -> None:
    """Refuse a model whose weights differ from those at the time of `describe`.

    Raises:
        WeightsError: The digests differ.
    """
    if expected != loaded:
        raise WeightsError(f"{name}: its weights differ each time it is loaded; seed all random draws in its code")
