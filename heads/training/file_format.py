"""The metadata of a head's safetensors file: its key, the version of the stored format, and what it must hold."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from features.labels import Task

FORMAT = "audioheads-head"
FORMAT_VERSION = 2


class HeadMetadata(BaseModel):
    """What the metadata must hold; see `heads.training.checkpoint.SavedHead`."""

    format: str
    format_version: int
    head: str
    labels: list[str]
    backbone: dict[str, Any]
    pooling: list[str]
    layer: int | str
    configuration: dict[str, Any]
    task: Task
    extra: dict[str, Any]
    calibration: dict[str, Any] | None = None
    operating_point: dict[str, Any] | None = None
