"""Sections of an experiment's YAML: keys, defaults and descriptions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, InstanceOf, SerializeAsAny, field_validator, model_validator

from features.distributed.options import ActorOptions
from pipeline.config.errors import shown

if TYPE_CHECKING:
    from heads.evaluation.decisions.operating_points import Goal, Rule

Pooling = Literal["mean", "std", "max", "frames"]
StoredType = Literal["float32", "float16"]
Precision = Literal["fp32", "bf16", "fp16", "auto"]
Protocol = Literal["auto", "folds", "folds-no-valid", "split", "holdout", "kfold", "leave-one-group-out", "few-shot"]
AbsentClasses = Literal["error", "score"]
Calibrate = Literal["none", "temperature", "platt", "isotonic"]
BackgroundPart = Literal["train", "valid", "test"]
Share = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(strict=True, ge=1)]
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**32)]
BACKGROUND = "background"
"""The class of background in training, and what the ids of its windows start with."""
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


class BenchSection(ConfigSection):
    """Time of one clip and size of the trained models, measured once after training on the CPU."""

    clips: Count = Field(10, description="clips that are timed, one at a time; fewer if they take over 10 s")
    threads: Count = Field(1, description="CPU threads")


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


class BackgroundSection(ConfigSection):
    """Recordings in which there is nothing of interest. Instead of the mapping, `root` alone may be given."""

    root: list[Path] = Field(min_length=1, description="files, folders or tables of recordings; one path or a list")
    window_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        None, description="length of the windows that models are run on; null: the median length of the clips"
    )
    hop_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        None, description="from the start of one window to the next; null: window_s"
    )

    @model_validator(mode="before")
    @classmethod
    def _from_path(cls, value: Any) -> Any:
        """Accept one path or a list of paths in place of the mapping."""
        if isinstance(value, str | Path | list):
            return {"root": value}
        return value

    @field_validator("root", mode="before")
    @classmethod
    def _one_or_more(cls, value: Any) -> Any:
        return [value] if isinstance(value, str | Path) else value

    @model_validator(mode="after")
    def _no_gaps(self) -> Self:
        """Check that windows cover the recordings.

        Raises:
            ValueError: There would be gaps between windows.
        """
        if self.window_s is not None and self.hop_s is not None and self.hop_s > self.window_s:
            raise ValueError(f"hop_s {self.hop_s:g} leaves gaps between windows of {self.window_s:g} s; use less")
        return self


class OperatingPointSection(ConfigSection):
    """What the thresholds of a model should achieve; they are chosen on validation clips. Exactly one goal is set."""

    max_f1: Literal[True] | None = Field(None, description="the highest F1")
    min_precision: Share | None = Field(None, description="the highest recall with at least this precision")
    min_recall: Share | None = Field(None, description="the highest precision with at least this recall")
    max_false_alarms_per_hour: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        None, description="the highest recall with at most this many false alarms per hour of background"
    )
    below: str | None = Field(
        None, min_length=1, description="label of a clip whose class is below its threshold; null: it keeps its class"
    )

    @model_validator(mode="after")
    def _one_goal(self) -> Self:
        """Check that one goal is set.

        Raises:
            ValueError: None or several are set.
        """
        goals = [name for name in type(self).model_fields if name != "below"]
        given = [name for name in goals if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"set exactly one of {', '.join(goals)}; got {', '.join(given) or 'none'}")
        return self

    @property
    def rule(self) -> Rule:
        """The goal in the form that `heads.evaluation.decisions.operating_points.choose` takes."""
        from heads.evaluation.decisions.operating_points import Rule

        goals: dict[Goal, float | None] = {
            "max_f1": self.max_f1 and 1.0,
            "min_precision": self.min_precision,
            "min_recall": self.min_recall,
            "max_false_alarms_per_hour": self.max_false_alarms_per_hour,
        }
        return next(Rule(goal, value, self.below) for goal, value in goals.items() if value is not None)
