"""Options shared by all kinds of datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from features.datasets.choosing.condition import Condition


def _as_text(value: object) -> object:
    """Return a number as text: YAML reads the label 7 as a number."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


LabelName = Annotated[str, BeforeValidator(_as_text)]


class DatasetOptions(BaseModel):
    """The common part of a config's `dataset:` section; each kind's `Options` adds its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str = Field(description="the reader: one of features.datasets.KINDS")
    root: Path = Field(description="the corpus' folder, or the manifest file for csv, jsonl and parquet")
    name: str | None = Field(
        default=None, description="name in tables and of the cache folder (default: the kind, or the root's base name)"
    )

    where: str | list[str] | None = Field(
        default=None, description="condition(s) on a column that clips must meet: `snr_db > 10`, `lang in [en, de]`"
    )
    rename: dict[LabelName, LabelName] | None = Field(
        default=None, description="label: new label; two with one name are merged"
    )
    include: list[LabelName] | None = Field(default=None, min_length=1, description="labels to keep (default: all)")
    exclude: list[LabelName] | None = Field(default=None, description="labels to leave out")
    min_clips: int | None = Field(default=None, ge=1, description="classes with fewer clips are left out")
    max_clips_per_class: int | None = Field(default=None, ge=1, description="of larger classes, clips are drawn")
    choice_seed: int = Field(default=0, ge=0, lt=2**32, description="seed of that draw")

    @field_validator("where")
    @classmethod
    def _are_conditions(cls, where: str | list[str] | None) -> str | list[str] | None:
        for text in [where] if isinstance(where, str) else where or ():
            Condition.parse(text)
        return where

    @field_validator("name")
    @classmethod
    def _names_a_folder(cls, name: str | None) -> str | None:
        if name is not None and (not name.strip() or name.startswith(".") or set(name) & set("/\\\0")):
            raise ValueError("name is used as a folder of the cache: use text without slashes or a leading dot")
        return name
