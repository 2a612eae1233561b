"""Say what a path is that was given in the place of a config, and what to do with it."""

from __future__ import annotations

from pathlib import Path

from features.datasets.listing import AUDIO_SUFFIXES

CONFIG_SUFFIXES = (".yaml", ".yml")
TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
SHOWN = 3  # configs named in a message


def mistaken(path: Path) -> str:
    """Return what a path is that is not a config, with the command it belongs to; empty if that is not known.

    Args:
        path: A folder, or a file that cannot be read as a config.
    """
    if path.is_dir():
        return f"is a folder, not a config; {_config_of(path)}"
    suffix = path.suffix.lower()
    if suffix in AUDIO_SUFFIXES:
        return (
            f"is audio, not a config; `audioheads init {path.parent}` writes a config for a folder of labelled audio, "
            f"`audioheads predict MODEL {path}` applies a trained model to it"
        )
    if suffix in TABLE_SUFFIXES:
        return f"is a table of clips, not a config; `audioheads init {path}` writes a config for it"
    if suffix == ".safetensors":
        return f"is a trained model, not a config; `audioheads predict {path} AUDIO` applies it"
    if suffix == ".h5":
        return f"is a cache file, not a config; `audioheads cache verify {path}` checks it"
    return ""


def _config_of(folder: Path) -> str:
    """Return which config may be meant by a folder."""
    configs = sorted(file for file in folder.iterdir() if file.suffix in CONFIG_SUFFIXES and file.is_file())
    if len(configs) == 1:
        return f"did you mean {configs[0]}?"
    if configs:
        more = f" and {len(configs) - SHOWN} more" if len(configs) > SHOWN else ""
        return f"it contains {', '.join(str(file) for file in configs[:SHOWN])}{more}"
    return f"if it holds labelled audio, `audioheads init {folder}` writes a config for it"
