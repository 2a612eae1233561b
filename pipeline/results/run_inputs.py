"""`config.yaml` and `manifest.csv` of a run folder: written by a command, compared by the shards of one."""

from __future__ import annotations

import filecmp
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from features.errors import UserError
from features.manifest import Manifest
from pipeline.config.config import Config, dump_config
from pipeline.config.yaml import YamlError, parse_yaml
from pipeline.results.run_folder import write_text, write_whole
from pipeline.results.run_lock import joined, locked

CONFIG_FILE = "config.yaml"
MANIFEST_FILE = "manifest.csv"


def write_run_inputs(config: Config, manifest: Manifest, note: Callable[[str], None] = lambda message: None) -> None:
    """Write the resolved `config.yaml` and `manifest.csv` to the run folder."""
    with locked([config.run_dir], note):
        write_text(config.run_dir / CONFIG_FILE, _resolved(config, manifest))
        write_whole(config.run_dir / MANIFEST_FILE, manifest.write_csv)


@contextmanager
def joined_run(config: Config, manifest: Manifest, note: Callable[[str], None]) -> Iterator[None]:
    """Hold a run folder together with other shards of the same command, and no other command.

    The first shard writes the files of `write_run_inputs`; all others have to have the same.

    Args:
        config: The experiment.
        manifest: Its clips.
        note: Called with a message when another command holds the folder.

    Raises:
        UserError: Shards with another config or other clips are at work in the folder.
        RunError: The folder cannot be written.
    """
    with joined(config.run_dir, note, lambda: write_run_inputs(config, manifest)):
        _check_same(config, manifest)
        yield


def _check_same(config: Config, manifest: Manifest) -> None:
    """Raise `UserError` if the run folder is that of another config or of other clips."""
    folder = config.run_dir
    text = _resolved(config, manifest)
    written = (folder / CONFIG_FILE).read_text(encoding="utf-8", errors="replace")
    if written != text:
        theirs, ours = _mapping(written), _mapping(text)
        keys = [key for key in {**theirs, **ours} if ours.get(key) != theirs.get(key)]
        raise UserError(
            f"{folder}: other shards train there with another config ({', '.join(keys)}); start all shards with the "
            "same config and the same --set options, or give this config another `name`"
        )
    with tempfile.NamedTemporaryFile(dir=folder, prefix=f"{MANIFEST_FILE}-", suffix=".tmp") as own:
        manifest.write_csv(Path(own.name))  # in the same folder, to which the paths in it are relative
        if not filecmp.cmp(own.name, folder / MANIFEST_FILE, shallow=False):
            raise UserError(
                f"{folder}: other shards train there on other clips than the {len(manifest)} found here; all machines "
                f"need the same files (compare {folder / MANIFEST_FILE})"
            )


def _mapping(text: str) -> dict[str, Any]:
    try:
        value = parse_yaml(text)
    except YamlError:
        return {}
    return value if isinstance(value, dict) else {}


def _resolved(config: Config, manifest: Manifest) -> str:
    named = config.dataset.model_copy(update={"name": manifest.name})
    return dump_config(config.model_copy(update={"dataset": named}))
