"""Other people's code by import path: found installed or in a folder, and its source in a digest."""

from __future__ import annotations

import ast
import importlib
import sys
import sysconfig
from collections.abc import Callable, Iterator
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
    """What entries for other people's code have in common."""

    folder: str | None = Field(None, description="where the module lies; installed ones and this directory need none")
    arguments: dict[str, Any] = Field({}, description="further keyword arguments of what loads the model")
    seed: int = Field(0, ge=0, lt=2**63, description="of torch's random numbers while the model is loaded")
    min_duration_s: float | None = Field(None, gt=0, le=10, description="shorter clips are padded; null: find out")


def import_code(name: str, path: str, folder: str | None) -> ModuleType:
    """Import a module that is installed, or lies in a folder or in the working directory.

    Both folders stay at the end of `sys.path`, so that what the module imports later is found and nothing is shadowed.

    Args:
        name: The backbone, for messages.
        path: Such as `my_package.my_module`.
        folder: Where to look, too; None: nowhere else.

    Raises:
        ConfigError: No such module, something that it needs is missing, or it fails.
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
    """`TypeError: first line of the message`."""
    return f"{type(error).__name__}: {first_line(error)}"


def module_file(module: ModuleType) -> Path | None:
    """The file a module comes from; None where it has none."""
    file = getattr(module, "__file__", None)
    return None if file is None else Path(file).resolve()


def version_of(module: ModuleType) -> str:
    """The version of the distribution that a module belongs to; empty where it is a loose file."""
    top = module.__name__.partition(".")[0]
    names = metadata.packages_distributions().get(top, [])
    return metadata.version(names[0]) if names else ""


def source_sha256(module: ModuleType) -> str:
    """Digest of a module's source: its whole package, and whatever both import from the folder that it lies in.

    Installed packages that it imports are not part of it.
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
    """The source files of a top-level module or package in a folder; none where it is not there."""
    if (base / f"{name}.py").is_file():
        yield base / f"{name}.py"
    elif (base / name).is_dir():
        yield from (path for path in (base / name).rglob("*.py") if path.is_file())


def _imported(source: Path) -> set[str]:
    """Top-level names that a source file imports anywhere in it."""
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
    """What someone's function makes, with torch's random numbers seeded for it and left as they were.

    Raises:
        WeightsError: It fails.
    """
    import torch

    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return make()
    except Exception as error:
        raise WeightsError(f"{name}: {what} fails with {described(error)}") from error


def weights_digest(made: Any, file: Path | None, seed: int | None = None) -> str:
    """Digest of what a model has learnt: the file it came from, and every tensor of a torch or TensorFlow module."""
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
    """Where a model's weights come from if no file is named: its code; `none` for a torch module that has none."""
    from torch import nn

    learns_nothing = isinstance(made, nn.Module) and next(made.parameters(), None) is None
    return "none" if learns_nothing else path


def check_same_weights(name: str, expected: str, loaded: str) -> None:
    """Refuse a model that comes out of its code otherwise than when it was described.

    Raises:
        WeightsError: The digests differ.
    """
    if expected != loaded:
        raise WeightsError(f"{name}: its weights differ each time it is loaded; have the code seed whatever it draws")
