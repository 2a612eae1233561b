"""Code that comes with weights: it runs only if the user names exactly this revision of it as trusted."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features.backbones.loading.digests import file_sha256, text_sha256
from features.backbones.loading.model_folders import CONFIG_FILE, PREPROCESSOR_FILES
from features.errors import WeightsError, first_line
from features.json_files import read_object

TRUST = re.compile(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}")

CLASS = re.compile(r"\w+\.\w+")

KINDS = ("AutoConfig", "AutoModel", "AutoModelForAudioClassification", "AutoFeatureExtractor")


def check_trust(value: str) -> str:
    """Return a value of the option `trust`.

    Raises:
        ValueError: It does not name a revision.
    """
    if not TRUST.fullmatch(value):
        raise ValueError(f"should be org/name@revision with all 40 hex digits of the revision, got {value!r}")
    return value


def same_repository(trust: str, weights: str) -> bool:
    """Return whether a value of `trust` is about some weights: a hub id, or a local folder with this code."""
    repo, _, revision = trust.partition("@")
    folder = Path(weights).expanduser()
    if folder.is_dir():
        return RemoteCode.in_folder("trust", folder).sha256[:40] == revision
    return weights.partition("@")[0] == repo


@dataclass(frozen=True)
class RemoteCode:
    """The code of a model folder that its configuration names.

    Attributes:
        folder: The folder.
        classes: Kind of class, such as `AutoModel` -> `module.Class`.
        sha256: Digest of the source of all modules that these classes need.
    """

    folder: Path
    classes: Mapping[str, str]
    sha256: str

    @classmethod
    def in_folder(cls, name: str, folder: Path) -> RemoteCode:
        """Find the code of a folder and compute its digest, without running it.

        Args:
            name: The backbone, for messages.
            folder: A model folder.

        Raises:
            WeightsError: A module is missing, cannot be parsed, or belongs to another repository.
        """
        classes = named_classes(folder)
        if outside := next((path for path in classes.values() if not CLASS.fullmatch(path)), None):
            raise WeightsError(
                f"{name}: {folder / CONFIG_FILE}: auto_map names {outside!r}, which is not a class in a file of this "
                "folder (`module.Class`); copy its code into the folder, or use weights that come with the code"
            )
        if missing := missing_code(folder):
            raise WeightsError(f"{name}: {folder} has no {missing}, a part of the model's code")
        digests = {module: file_sha256(file) for module, file in _modules(folder).items()}
        return cls(folder, classes, text_sha256(sorted(digests.items())))

    def load_class(self, name: str, kind: str) -> Any:
        """Import a class of the code; None if the configuration names none of this kind.

        Raises:
            WeightsError: The code cannot be imported.
        """
        from transformers.dynamic_module_utils import get_class_from_dynamic_module

        if kind not in self.classes:
            return None
        try:
            return get_class_from_dynamic_module(self.classes[kind], str(self.folder), local_files_only=True)
        except Exception as error:
            what = f"{type(error).__name__}: {first_line(error)}"
            raise WeightsError(f"{name}: the code in {self.folder} cannot be imported ({what})") from error


def completed(model_class: Any) -> Any:
    """Return a class of models whose `__init__` has called `post_init`.

    transformers 5 cannot load models without the attributes that `post_init` sets; code for earlier versions, such as
    that of EAT, may never call it.
    """

    class Completed(model_class):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            if not hasattr(self, "all_tied_weights_keys"):
                self.post_init()

    Completed.__name__ = Completed.__qualname__ = model_class.__name__
    return Completed


def pinned(weights: str, trust: str | None) -> str:
    """Return a source of weights; a hub id without a revision gets the trusted one, a local folder has none."""
    if trust is None or Path(weights).expanduser().is_dir():
        return weights
    return trust if weights == trust.partition("@")[0] else weights


def find_code(name: str, weights: str, folder: Path, trust: str | None) -> RemoteCode | None:
    """Return the trusted code of a model folder; None if the folder has none, or if it is not to be run.

    Args:
        name: The backbone, for messages.
        weights: The source of the folder.
        folder: The folder.
        trust: What the user trusts: `org/name@` and the commit, or for a local folder the first 40 digits of the
            digest of its code; None: nothing.

    Raises:
        WeightsError: The user trusts other code than this.
    """
    if trust is None:
        return None
    if not named_classes(folder):
        raise WeightsError(f"{name}: trust: {folder / CONFIG_FILE} names no code (auto_map); remove trust")
    expected = trust_of(name, weights, folder)
    local = Path(weights).expanduser().is_dir()
    if trust != expected and not (local and trust.partition("@")[2] == expected.partition("@")[2]):
        raise WeightsError(f"{name}: trust is {trust}, but the code of {weights} is {expected}")
    return RemoteCode.in_folder(name, folder)


def trust_of(name: str, weights: str, folder: Path) -> str:
    """Return the value of `trust` that runs the code of a model folder."""
    if Path(weights).expanduser().is_dir():
        resolved = folder.resolve()
        return f"{resolved.parent.name}/{resolved.name}@{RemoteCode.in_folder(name, folder).sha256[:40]}"
    return f"{weights.partition('@')[0]}@{folder.name}"  # a snapshot of the hub's cache is named by its commit


def named_classes(folder: Path) -> dict[str, str]:
    """Return the classes that the configurations of a folder name (`auto_map`): kind -> `module.Class`."""
    classes: dict[str, str] = {}
    for file in (CONFIG_FILE, *PREPROCESSOR_FILES):
        if (folder / file).is_file():
            named = read_object(folder / file, error=WeightsError).get("auto_map")
            if isinstance(named, dict):
                classes |= {kind: path for kind, path in named.items() if isinstance(path, str)}
    return {kind: path for kind, path in classes.items() if kind in KINDS}


def missing_code(folder: Path) -> str:
    """Return the name of a file that the code of a folder needs and that is missing; empty: nothing is."""
    return next((file.name for file in _modules(folder).values() if not file.is_file()), "")


def _modules(folder: Path) -> dict[str, Path]:
    """Return the modules of the named classes, and those in the folder that they import: name -> file."""
    files: dict[str, Path] = {}
    waiting = [path.partition(".")[0] for path in named_classes(folder).values()]
    while waiting:
        module = waiting.pop()
        if module not in files:
            files[module] = folder / f"{module}.py"
            waiting += _relative_imports(files[module]) if files[module].is_file() else []
    return files


def _relative_imports(file: Path) -> list[str]:
    """Return the modules next to a file that it imports; none if it is not Python code, which its import reports."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return []
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            found += [node.module.partition(".")[0]] if node.module else [alias.name for alias in node.names]
    return found
