"""Whether a backbone can run now: its optional dependencies are installed and its weights are on this machine.

Nothing here asks the network or imports a library that computes.
"""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Literal

from features.backbones.loading.hub import cached_snapshot
from features.backbones.loading.hub_files import HUB, cached_file, parse_hub_file
from features.backbones.presets.record import BUNDLED
from features.backbones.table import BACKBONES, family_of, get_family, preset_options
from features.errors import WeightsError

Place = Literal["here", "file", "hub", "web", "code", "named by the config"]


def where_weights_are(name: str) -> Place:
    """Return where the weights of a backbone or preset are: `here`, or where they have to come from."""
    source, weights = get_family(family_of(name)).weights_from, str(preset_options(name).get("weights", ""))
    if source == "none" or weights.startswith(BUNDLED):
        return "here"
    if source == "code":
        return "code"
    if name in BACKBONES and source != "web":
        return "named by the config"
    if weights.startswith(HUB):
        file = parse_hub_file(name, weights)
        return "here" if _may_be_cached(file.repo) and cached_file(file) else "hub"
    if source == "file":
        return "here" if Path(weights).is_file() else "file"
    if source == "hub":
        repo, _, revision = weights.partition("@")
        return "here" if _may_be_cached(repo) and _is_complete(repo, revision or None) else "hub"
    return "web"


def missing_extra(name: str) -> str | None:
    """Return the optional dependencies that a backbone needs and that are not installed, such as `litert`."""
    family = get_family(family_of(name))
    if family.extra is None or all(_is_installed(library) for library in family.libraries):
        return None
    return family.extra


def _is_installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def _is_complete(repo: str, revision: str | None) -> bool:
    """Whether the hub's cache has a repository with its configuration and its weights."""
    try:
        folder, lacking = cached_snapshot(repo, revision)
    except WeightsError:  # a damaged index of the weights
        return False
    return folder is not None and not lacking


def _may_be_cached(repo: str) -> bool:
    """Whether the hub's cache has a folder of a repository; if not, the larger part of the hub's library stays out."""
    from huggingface_hub import constants

    return (Path(constants.HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}").is_dir()
