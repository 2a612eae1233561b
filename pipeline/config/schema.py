"""Sections of an experiment's YAML: keys, defaults and descriptions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, InstanceOf, SerializeAsAny, field_validator

from features.distributed.options import ActorOptions
from pipeline.config.errors import shown

Pooling = Literal["mean", "std", "max", "frames"]
StoredType = Literal["float32", "float16"]
Precision = Literal["fp32", "bf16", "fp16", "auto"]
Protocol = Literal["auto", "folds", "folds-no-valid", "split", "holdout", "kfold", "leave-one-group-out", "few-shot"]
AbsentClasses = Literal["error", "score"]
Count = Annotated[int, Field(strict=True, ge=1)]
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**32)]
Options = SerializeAsAny[InstanceOf[BaseModel]]
"""Options of one dataset, backbone or head: an instance of the model that its module defines."""

Item = TypeVar("Item")


class ConfigSection(BaseModel):
    """A mapping in which unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def no_repeats(items: list[Item] | None) -> list[Item] | None:
    """Check that a list has no duplicates.

    Raises:
        ValueError: The list contains a value twice.
    """
    repeated = [item for index, item in enumerate(items or []) if item in (items or [])[:index]]
    if repeated:
        raise ValueError(f"{shown(repeated[0])} is listed twice")
    return items


class FeaturesSection(ConfigSection):
    """Stage 1: the backbones that embed the clips, and settings of the extraction."""

    pooling: list[Pooling] = Field(["mean"], min_length=1, description="how the frames of a clip become one vector")
    precision: Precision = Field("fp32", description="floating-point precision of the backbones")
    backbones: list[Options] = Field(min_length=1, description="see `audioheads backbones ls`")
    block_rows: Count = Field(256, description="clips per block; a resumed run keeps whole blocks")
    batch_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        None, description="seconds of padded audio per batch; null: depends on the device"
    )
    threads: Count | None = Field(None, description="CPU threads of the model; null: one per core")
    workers: Count | None = Field(
        None, description="threads that decode audio while the model runs; null: two on a CPU, else one per core"
    )
    resample: Literal["cpu", "device"] = Field(
        "cpu", description="where audio is resampled; `device` uses another resampler, and separate caches"
    )
    compile: bool | Literal["auto"] = Field(
        False, description="compile the network; auto: if there is enough audio left to save time"
    )
    dtype: StoredType = Field("float32", description="type in which vectors are stored; float16 halves the cache")
    frame_layers: list[Annotated[int, Field(strict=True, ge=0)]] | None = Field(
        None, min_length=1, description="layers stored by the pooling `frames`; null: all"
    )
    frame_dtype: StoredType = Field("float32", description="type in which `frames` are stored")
    window_overlap_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        0.0, description="overlap of the windows of clips longer than a backbone's max_duration_s"
    )
    ray: ActorOptions = Field(ActorOptions(), description="actors of `--engine ray`, see docs/scaling.md")

    _lists = field_validator("pooling", "frame_layers")(no_repeats)


class OutputSection(ConfigSection):
    """Output folders."""

    cache: Path = Field(Path("cache"), description="embeddings, shared by experiments")
    runs: Path = Field(Path("runs"), description="one folder per experiment")


class ReportSection(ConfigSection):
    """Stage 3: additional contents of the report."""

    published: Path | None = Field(None, description="published results to compare with; null: the included table")


class FewShotSection(ConfigSection):
    """The protocol `few-shot`."""

    shots: Count = Field(8, description="training clips per class")
    draws: Count = Field(5, description="draws per fold")


class LabelEfficiencySection(ConfigSection):
    """Accuracy against the number of training clips per class."""

    shots: list[Count | Literal["all"]] = Field(
        [1, 2, 5, 10, "all"], min_length=1, description="training clips per class, one point of the curve each"
    )
    draws: Count = Field(5, description="draws per fold")
    backbones: list[str] | None = Field(None, min_length=1, description="backbones by label; null: all")
    heads: list[str] | None = Field(None, min_length=1, description="heads by label; null: the first")

    _lists = field_validator("shots", "backbones", "heads")(no_repeats)
