"""The parts of an experiment's YAML, each with its keys, defaults and what they mean."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, InstanceOf, SerializeAsAny, field_validator

from features.distributed.options import ActorOptions
from pipeline.config.errors import shown

Pooling = Literal["mean", "std", "max", "frames"]
Precision = Literal["fp32", "bf16", "fp16", "auto"]
Protocol = Literal["auto", "folds", "folds-no-valid", "split", "holdout", "kfold", "leave-one-group-out", "few-shot"]
Count = Annotated[int, Field(strict=True, ge=1)]
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**32)]
Options = SerializeAsAny[InstanceOf[BaseModel]]
"""What one dataset, backbone or head was given: the model that its own module defines."""

Item = TypeVar("Item")


class ConfigSection(BaseModel):
    """A mapping of known keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def no_repeats(items: list[Item] | None) -> list[Item] | None:
    """Refuse a list that holds something twice.

    Raises:
        ValueError: It does.
    """
    repeated = [item for index, item in enumerate(items or []) if item in (items or [])[:index]]
    if repeated:
        raise ValueError(f"{shown(repeated[0])} stands twice")
    return items


class FeaturesSection(ConfigSection):
    """Stage 1: which backbones embed the clips, and how."""

    pooling: list[Pooling] = Field(["mean"], min_length=1, description="how the frames of a clip become one vector")
    precision: Precision = Field("fp32", description="of the backbones' arithmetic")
    backbones: list[Options] = Field(min_length=1, description="see `audioheads backbones ls`")
    block_rows: Count = Field(256, description="clips per block, the unit that a resumed run keeps")
    batch_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        None, description="seconds of padded audio per batch; null: by device"
    )
    threads: Count | None = Field(None, description="CPU threads of the model; null: one per core")
    workers: Count | None = Field(
        None, description="threads that decode audio beside the model; null: two on a CPU, else one per core"
    )
    resample: Literal["cpu", "device"] = Field(
        "cpu", description="where audio is resampled; another resampler and other caches on the device"
    )
    compile: bool | Literal["auto"] = Field(
        False, description="compile the network; auto: where the remaining audio repays it"
    )
    frame_layers: list[Annotated[int, Field(strict=True, ge=0)]] | None = Field(
        None, min_length=1, description="layers that the pooling `frames` keeps; null: all"
    )
    frame_dtype: Literal["float32", "float16"] = Field("float32", description="in which `frames` are stored")
    window_overlap_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        0.0, description="by which the windows of clips beyond a backbone's max_duration_s overlap"
    )
    ray: ActorOptions = Field(ActorOptions(), description="actors under `--engine ray`, see docs/scaling.md")

    _lists = field_validator("pooling", "frame_layers")(no_repeats)


class OutputSection(ConfigSection):
    """Where results go."""

    cache: Path = Field(Path("cache"), description="embeddings, shared by experiments")
    runs: Path = Field(Path("runs"), description="one folder per experiment")


class ReportSection(ConfigSection):
    """Stage 3: what the report shows beside the results."""

    published: Path | None = Field(None, description="rows to compare with; null: those that come with the program")


class FewShotSection(ConfigSection):
    """The protocol `few-shot`."""

    shots: Count = Field(8, description="training clips per class")
    draws: Count = Field(5, description="how often they are drawn anew in each fold")


class LabelEfficiencySection(ConfigSection):
    """Accuracy against the number of training clips per class."""

    shots: list[Count | Literal["all"]] = Field(
        [1, 2, 5, 10, "all"], min_length=1, description="training clips per class, a point of the curve each"
    )
    draws: Count = Field(5, description="how often they are drawn anew in each fold")
    backbones: list[str] | None = Field(None, min_length=1, description="which, as tables call them; null: all")
    heads: list[str] | None = Field(None, min_length=1, description="which, as tables call them; null: the first")

    _lists = field_validator("shots", "backbones", "heads")(no_repeats)
