"""Whether a backbone can run now: its optional dependencies are installed and its weights are on this machine.

Nothing here asks the network or imports a library that computes.
"""

from __future__ import annotations

import os
from importlib import metadata
from pathlib import Path
from typing import Literal

from features.backbones.loading.hub_files import HUB, parse_hub_file
from features.backbones.loading.model_folders import CONFIG_FILE
from features.backbones.loading.weights import BUNDLED
from features.backbones.table import BACKBONES, family_of, get_family, preset_options

Place = Literal["here", "file", "hub", "web", "named by the config"]


def where_weights_are(name: str) -> Place:
    """Return where the weights of a backbone or preset are: `here`, or where they have to come from."""
    source, weights = get_family(family_of(name)).weights_from, str(preset_options(name).get("weights", ""))
    if source == "none" or weights.startswith(BUNDLED):
        return "here"
    if name in BACKBONES and source != "web":
        return "named by the config"
    if weights.startswith(HUB):
        file = parse_hub_file(name, weights)
        return "here" if _in_hub_cache(file.repo, file.file, file.revision) else "hub"
    if source == "file":
        return "here" if Path(weights).is_file() else "file"
    if source == "hub":
        repo, _, revision = weights.partition("@")
        return "here" if _in_hub_cache(repo, CONFIG_FILE, revision or None) else "hub"
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


def _in_hub_cache(repo: str, file: str, revision: str | None) -> bool:
    """Whether a file is in the hub's cache. The hub's library, which is slow to import, is asked only if it may be."""
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    cache = Path(os.environ.get("HF_HUB_CACHE", home / "hub")).expanduser()
    if not (cache / f"models--{repo.replace('/', '--')}").is_dir():
        return False
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(repo, file, revision=revision), str)
