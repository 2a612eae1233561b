"""`features.json` of a run: the cache file of each backbone, and its settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from features.errors import UserError
from pipeline.config.config import Config, label_of
from pipeline.config.trusted import missing_trust
from pipeline.results.run_folder import read_json, write_json


class FeaturesEntry(BaseModel):
    """What an entry must hold, see `features_entry`."""

    backbone: dict[str, Any]
    features: dict[str, Any]
    file: str


def read_features_index(run_dir: Path) -> dict[str, Any]:
    """Read the settings and the cache file of each backbone, by label."""
    return read_json(run_dir / "features.json", dict[str, FeaturesEntry]) or {}


def write_features_index(run_dir: Path, label: str, entry: Mapping[str, Any]) -> None:
    """Add or replace one backbone's entry."""
    write_json(run_dir / "features.json", {**read_features_index(run_dir), label: dict(entry)})


def features_entry(config: Config, options: BaseModel, path: Path) -> dict[str, Any]:
    """Return the entry by which stage 2 checks that a cache file matches the config."""
    kept = {"pooling", "precision", "frame_layers", "frame_dtype", "window_overlap_s", "resample"}
    section = config.features.model_dump(mode="json", include=kept)
    if config.features.dtype != "float32":  # runs from before this option have no such key
        section["dtype"] = config.features.dtype
    return {"backbone": options.model_dump(mode="json"), "features": section, "file": str(path)}


def cached_files(config: Config) -> dict[str, Path]:
    """Return the cache file of each backbone of this config, by label. No cache file is opened.

    Raises:
        UserError: Stage 1 has not run with these settings, or with trusted code that the config does not trust; the
            message has the command to run, or the option to add.
    """
    index = read_features_index(config.run_dir)
    files = {}
    for options in config.features.backbones:
        label = label_of(options)
        entry = index.get(label, {})
        path = Path(entry.get("file", ""))
        expected = features_entry(config, options, path)
        if trust := missing_trust(entry.get("backbone", {}), expected["backbone"]):
            raise UserError(
                f"{label}: its embeddings were computed by code that was trusted; pass --trust {trust}, or add to its "
                f"entry in the config trust: {trust}"
            )
        if entry != expected or not path.is_file():
            raise UserError(f"{label}: no embeddings for these settings yet; run `{config.command('features')}`")
        files[label] = path
    return files
