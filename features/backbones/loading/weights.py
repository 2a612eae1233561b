"""Find, verify and safely read weights from a local folder or file, the model hub, or a URL."""

from __future__ import annotations

import argparse
import http.client
import logging
import pickle
import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from features.backbones.loading.digests import file_sha256
from features.backbones.loading.git_lfs import not_a_pointer
from features.backbones.loading.hub import CONNECT_TIMEOUT_S, find_snapshot
from features.backbones.loading.hub_files import HUB, find_hub_file, parse_hub_file
from features.backbones.loading.model_folders import check_folder
from features.backbones.presets.record import BUNDLED
from features.errors import WeightsError, first_line
from features.system.atomic_write import atomic_write

if TYPE_CHECKING:
    from torch import Tensor

_log = logging.getLogger(__name__)

RANDOM = "random"
BUNDLED_FOLDER = Path(__file__).parents[1] / "bundled"
HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*(@[\w./-]+)?")
SAVED_BY_TORCH = (b"PK", b"\x80")  # the beginnings of zip files and of pickles
MOST_SHOWN = 16  # bytes of a file that torch did not write
URL_HASH = re.compile(r"-([0-9a-f]{8,64})\.\w+$")


def ways_out(name: str, kind: str) -> str:
    """Return what a user can do if the weights of backbone `name` are unavailable; `kind` is a folder or a file."""
    return f"set features.backbones.{name}.weights to a local {kind}, or to `random` for the untrained control"


def find_model_folder(name: str, source: str, *, code: bool = False) -> Path:
    """Return the `save_pretrained` folder of a path, `bundled:name` or a hub id `org/name[@revision]`.

    Args:
        name: The backbone, for messages.
        source: The path or id.
        code: Whether the code that comes with the weights is needed, too.

    Raises:
        WeightsError: The folder does not exist, lacks a file or has a pointer to one in Git LFS, or the hub cannot be
            reached; the message names the backbone and the alternatives.
    """
    if source.startswith(BUNDLED):
        bundled = [path.name for path in BUNDLED_FOLDER.iterdir() if path.is_dir()]
        if source.removeprefix(BUNDLED) not in bundled:
            raise WeightsError(f"{name}: no model {source!r} is included in this package, only {', '.join(bundled)}")
        return check_folder(name, BUNDLED_FOLDER / source.removeprefix(BUNDLED))
    folder = Path(source).expanduser()
    if source and folder.is_dir():
        return check_folder(name, folder)
    ways = ways_out(name, "folder from `save_pretrained`")
    if folder.exists() or not HUB_ID.fullmatch(source):
        raise WeightsError(f"{name}: no folder {source!r}, and not a hub id `org/name`; {ways}")
    repo, _, revision = source.partition("@")
    return check_folder(name, find_snapshot(name, repo, revision or None, ways, code=code))


def find_file(name: str, source: str, ways: str | None = None) -> Path:
    """Return a local weights file, or download one from the model hub or a URL.

    A file of the hub is `hub:org/name/file@revision`. A URL's file has the start of its SHA-256 in its name
    (`…-<hash>.ext`), which is verified.

    Args:
        name: The backbone, for messages.
        source: Path, hub file or URL.
        ways: Alternatives for the user, for messages; None: another file, or `random`.

    Raises:
        WeightsError: The file does not exist, cannot be downloaded, has another hash, or is only a pointer to a file
            in Git LFS; the message names the alternatives.
    """
    ways = ways or ways_out(name, "file")
    if source.startswith(HUB):
        return not_a_pointer(name, find_hub_file(name, parse_hub_file(name, source), ways))
    if not source.startswith(("http://", "https://")):
        path = Path(source).expanduser()
        if not path.is_file():
            raise WeightsError(f"{name}: no file {source!r}; {ways}")
        return not_a_pointer(name, path)
    file = urlsplit(source).path.rsplit("/", 1)[-1]
    match = URL_HASH.search(file)
    if not match:
        raise WeightsError(
            f"{name}: {source} has no hash in its name (`…-<8 or more hex digits of its sha256>.pth`), "
            f"so it is not trusted; {ways}"
        )
    import torch

    target = Path(torch.hub.get_dir()) / "checkpoints" / file
    if not target.is_file():
        _download(name, source, target, match.group(1), ways)
    if not file_sha256(target).startswith(match.group(1)):
        raise WeightsError(f"{name}: {target} is damaged: its sha256 does not start with {match.group(1)}; delete it")
    return target


def _download(name: str, url: str, target: Path, digest: str, ways: str) -> None:
    """Download a file atomically and verify its hash."""
    _log.info("downloading %s", url)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        request = urllib.request.Request(url, headers={"User-Agent": "audioheads"})
        with atomic_write(target) as partial:
            with urllib.request.urlopen(request, timeout=CONNECT_TIMEOUT_S) as response, partial.open("wb") as file:
                shutil.copyfileobj(response, file, 1 << 20)
            if not file_sha256(partial).startswith(digest):
                raise ValueError("the download does not match the hash in its name")
    except (OSError, ValueError, http.client.HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError):  # an open response
            error.close()
        raise WeightsError(f"{name}: cannot download {url} ({first_line(error)}); {ways}") from error


def read_state(
    path: Path, part: str | None = None, expected: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, Tensor]:
    """Read a state dict from a `.safetensors` file, or from a torch file without unpickling code.

    Args:
        path: The file.
        part: Key of the state dict in a checkpoint that holds more; a file without this key is the state dict itself.
        expected: Key of a checkpoint's settings -> the values that they must have, if the checkpoint states them.

    Raises:
        WeightsError: The file is not such a file, loading it could run code, or its settings are others.
    """
    import numpy as np
    import torch

    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        with torch.serialization.safe_globals([argparse.Namespace, *_numpy_arrays()]):  # settings of a training
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise WeightsError(f"{path}: {_what_it_is(path)}") from None
    except Exception as error:
        raise WeightsError(f"{path}: not a readable weights file ({first_line(error)})") from error
    if isinstance(state, dict):
        check_settings(path, state, expected or {})
    if isinstance(state, dict) and part is not None:
        state = state.get(part, state)
    if not isinstance(state, dict):
        raise WeightsError(f"{path}: contains a {type(state).__name__}, not a state dict of tensors")
    tensors = {key: torch.from_numpy(value) if isinstance(value, np.ndarray) else value for key, value in state.items()}
    strange = [key for key, value in tensors.items() if not isinstance(value, torch.Tensor)]
    if strange:
        raise WeightsError(f"{path}: not a state dict of tensors: {strange[0]!r} is not a tensor")
    return tensors


def _what_it_is(path: Path) -> str:
    """Return why torch refuses a file that it cannot unpickle."""
    with path.open("rb") as file:
        start = file.read(MOST_SHOWN)
    if start.startswith(SAVED_BY_TORCH):
        return "contains more than tensors; unpickling it could run code"
    return (
        f"begins with {start!r}, so it is not a file that torch.save wrote, nor .safetensors; if a web page was saved "
        "in its place, download the file itself"
    )


def check_settings(path: Path, stated: Mapping[str, Any], expected: Mapping[str, Any], parent: str = "") -> None:
    """Check the settings of a published model; those that are not stated are taken to be as expected.

    Args:
        path: Their file, for messages.
        stated: The settings.
        expected: Name -> the value that a setting must have, or a mapping of the settings in it.
        parent: Start of the names in messages.

    Raises:
        WeightsError: A setting has another value.
    """
    for name, wanted in expected.items():
        found = stated.get(name, wanted)
        if isinstance(wanted, Mapping):
            if isinstance(found, Mapping):
                check_settings(path, found, wanted, f"{parent}{name}.")
        elif found != wanted:
            raise WeightsError(f"{path}: {parent}{name} is {found!r}, expected {wanted!r}: another architecture")


def _numpy_arrays() -> list[Any]:
    """Return the globals that unpickling a plain numpy array needs, under numpy 1's names and numpy 2's."""
    import numpy as np
    from numpy._core.multiarray import _reconstruct

    kinds = [type(np.dtype(kind)) for kind in ("float64", "float32")]
    names = [(_reconstruct, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")]
    return [*names, np.ndarray, np.dtype, *kinds]
