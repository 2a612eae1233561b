"""Where weights come from: a local folder or file, the model hub, a URL. Found, hashed, read safely."""

from __future__ import annotations

import hashlib
import json
import re
import socket
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from features.errors import WeightsError

RANDOM = "random"
CONNECT_TIMEOUT_S = 8
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
VOLATILE_CONFIG_KEYS = ("transformers_version", "_name_or_path", "torch_dtype", "dtype", "architectures")


def ways_out(name: str, kind: str) -> str:
    """How to go on when the weights of backbone `name` cannot be had; `kind` is a folder or a file."""
    return f"set features.backbones.{name}.weights to a local {kind}, or to `random` for the untrained control"


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def text_sha256(value: Any) -> str:
    """SHA-256 of a value's canonical JSON, as hex."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def read_state(path: Path) -> dict[str, Tensor]:
    """A state dict from `.safetensors`, or from a torch file without unpickling code.

    Raises:
        WeightsError: Not such a file, or it would run code when loaded.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise WeightsError(f"{path}: not a readable weights file ({first_line(error)})") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{path}: holds no state dict of tensors")
    return state


def find_model_folder(name: str, source: str) -> Path:
    """The folder, as `save_pretrained` writes it, behind a local path or a hub id `org/name[@revision]`.

    Raises:
        WeightsError: Not there, or the hub cannot be reached; names the backbone and the ways out.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        missing = "config.json" if not (folder / "config.json").is_file() else None
        if not missing and weight_files(folder) == []:
            missing = " or ".join(WEIGHT_FILES)
        if missing:
            raise WeightsError(f"{name}: {source} has no {missing}; it must be a folder from `save_pretrained`")
        return folder
    if folder.exists() or not HUB_ID.fullmatch(source):
        raise WeightsError(f"{name}: no folder {source!r}; {ways_out(name, 'folder from `save_pretrained`')}")
    repo, _, revision = source.partition("@")
    cached = _cached_snapshot(repo, revision or None)
    return cached or _fetch_snapshot(name, repo, revision or None)


def weight_files(folder: Path) -> list[Path]:
    """The weight files of a model folder, shards included; empty where there are none."""
    for file in WEIGHT_FILES:
        if (folder / file).is_file():
            return [folder / file]
        index = folder / f"{file}.index.json"
        if index.is_file():
            shards = sorted(set(json.loads(index.read_text())["weight_map"].values()))
            if all((folder / shard).is_file() for shard in shards):
                return [folder / shard for shard in shards]
    return []


def folder_sha256(folder: Path) -> str:
    """Digest of a model folder's weights: the file's own, or over those of its shards."""
    digests = [file_sha256(path) for path in weight_files(folder)]
    return digests[0] if len(digests) == 1 else text_sha256(digests)


def read_config(folder: Path) -> dict[str, Any]:
    """`config.json` without what does not change a value."""
    try:
        config = json.loads((folder / "config.json").read_text())
    except ValueError as error:
        raise WeightsError(f"{folder / 'config.json'}: not valid JSON ({error})") from None
    return {key: value for key, value in config.items() if key not in VOLATILE_CONFIG_KEYS}


def find_file(name: str, source: str) -> Path:
    """A local weights file, or one fetched from a URL whose hash (`…-<hash>.ext`) is checked.

    Raises:
        WeightsError: Not there, cannot be fetched, or the hash differs; names the ways out.
    """
    if not source.startswith(("http://", "https://")):
        path = Path(source).expanduser()
        if not path.is_file():
            raise WeightsError(f"{name}: no file {source!r}; {ways_out(name, 'file')}")
        return path
    target = Path(torch.hub.get_dir()) / "checkpoints" / source.rsplit("/", 1)[-1]
    if target.is_file():
        return target
    match = torch.hub.HASH_REGEX.search(target.name)
    if not match:
        raise WeightsError(f"{name}: {source} has no hash in its name (`…-<sha256 start>.pth`), so it is not trusted")
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(CONNECT_TIMEOUT_S)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(source, str(target), hash_prefix=match.group(1), progress=False)
    except (OSError, RuntimeError) as error:
        raise WeightsError(f"{name}: cannot fetch {source} ({first_line(error)}); {ways_out(name, 'file')}") from error
    finally:
        socket.setdefaulttimeout(before)
    return target


def _cached_snapshot(repo: str, revision: str | None) -> Path | None:
    """The snapshot of a hub repository on this disk, when it is complete."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(repo, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    return folder if (folder / "config.json").is_file() and weight_files(folder) else None


def _fetch_snapshot(name: str, repo: str, revision: str | None) -> Path:
    """Download what is needed of a hub repository: configs and one format of weights."""
    from huggingface_hub import HfApi, constants, snapshot_download

    if constants.HF_HUB_OFFLINE:
        problem: str | None = "HF_HUB_OFFLINE is set"
    else:
        problem = _endpoint_problem(constants.ENDPOINT)
    if problem is None:
        try:
            info = HfApi().model_info(repo, revision=revision, timeout=CONNECT_TIMEOUT_S)
            files = {sibling.rfilename for sibling in info.siblings or []}
            wanted = next((file for file in WEIGHT_FILES if {file, f"{file}.index.json"} & files), None)
            if wanted is None:
                raise WeightsError(f"{name}: hub repository {repo} holds neither {' nor '.join(WEIGHT_FILES)}")
            pattern = f"{Path(wanted).stem}*{Path(wanted).suffix}"
            patterns = ["config.json", "preprocessor_config.json", pattern, f"{wanted}.index.json"]
            folder = snapshot_download(repo, revision=info.sha, allow_patterns=patterns, etag_timeout=CONNECT_TIMEOUT_S)
            return Path(folder)
        except WeightsError:
            raise
        except Exception as error:
            problem = first_line(error)
    raise WeightsError(
        f"{name}: cannot get {repo!r} from the model hub ({problem}); connect or log in (`hf auth login`), "
        f"{ways_out(name, 'folder')}"
    )


@cache
def _endpoint_problem(endpoint: str) -> str | None:
    """Why the hub cannot be reached, or None; asked once a process, so that many models fail together."""
    import urllib.error
    import urllib.request

    try:
        urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=CONNECT_TIMEOUT_S).close()
    except urllib.error.HTTPError:
        return None
    except (OSError, ValueError) as error:
        return f"{endpoint} not reachable: {first_line(getattr(error, 'reason', error))}"
    return None


def first_line(error: object) -> str:
    """An exception's first line, for a one-line message."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
