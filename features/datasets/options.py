"""Options shared by all kinds of datasets."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator


class DatasetOptions(BaseModel):
    """The common part of a config's `dataset:` section; each kind's `Options` adds its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str = Field(description="the reader: one of features.datasets.KINDS")
    root: Path = Field(description="the corpus' folder, or the manifest file for csv, jsonl and parquet")
    name: str | None = Field(
        default=None, description="name in tables and of the cache folder (default: the kind, or the root's base name)"
    )

    @field_validator("name")
    @classmethod
    def _names_a_folder(cls, name: str | None) -> str | None:
        if name is not None and (not name.strip() or name.startswith(".") or set(name) & set("/\\\0")):
            raise ValueError("name is used as a folder of the cache: use text without slashes or a leading dot")
        return name
