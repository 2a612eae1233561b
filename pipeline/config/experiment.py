"""The model of an experiment's configuration: its keys at the top level."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, get_args

from pydantic import BaseModel, Field, PrivateAttr, field_validator

from features.distributed.options import ActorOptions
from heads.finetuning.options import Tracking
from pipeline.config.schema import (
    AbsentClasses,
    BackgroundPart,
    BackgroundSection,
    BenchSection,
    Calibrate,
    ConfigSection,
    FeaturesSection,
    FewShotSection,
    LabelEfficiencySection,
    OperatingPointSection,
    Options,
    OutputSection,
    Protocol,
    ReportSection,
    Seed,
    no_repeats,
)


class Config(ConfigSection):
    """A complete experiment with all defaults filled in; created by `load_config`."""

    name: str = Field(description="name of the run folder; default: the name of the config file")
    dataset: Options = Field(description="see `audioheads datasets ls`")
    features: FeaturesSection = Field(description="stage 1, see below")
    heads: list[Options] = Field(min_length=1, description="small models trained on the embeddings, see below")
    finetune: list[Options] = Field([], description="models trained end to end, see docs/decisions/end-to-end.md")
    tracking: list[Tracking] = Field([], description="where their curves are logged: tensorboard, swanlab, csv")
    protocol: Protocol = Field("auto", description="how clips are split into training, validation and test")
    absent_classes: AbsentClasses = Field(
        "error", description="a class without training clips for some test fold: error, or score as errors"
    )
    few_shot: FewShotSection = Field(FewShotSection(), description="draws of the protocol `few-shot`, see below")
    refit: bool = Field(False, description="train the chosen heads again on training and validation clips together")
    calibrate: Calibrate = Field("none", description="map fitted on validation clips that corrects probabilities")
    operating_point: OperatingPointSection | None = Field(None, description="goal of thresholds; null: 0.5")
    open_set: bool = Field(False, description="train every head without each class in turn, tested on its clips, too")
    background: BackgroundSection | None = Field(
        None, description="recordings with nothing of interest, on which false alarms are counted, see below"
    )
    background_in: list[BackgroundPart] = Field(
        ["test"], description="where recordings of background are used: [test], [valid, test] or [train, valid, test]"
    )
    label_efficiency: LabelEfficiencySection | None = Field(None, description="accuracy by number of training clips")
    split_seed: Seed = Field(0, description="seed of drawn splits")
    seeds: list[Seed] = Field([0], min_length=1, description="seeds of the trained models")
    ray: ActorOptions = Field(
        ActorOptions(), description="actors of `train-heads` and `finetune` with `--engine ray`, one fit at a time"
    )
    heads_memory_gib: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        2.0,
        description="memory for rows and fits of `mlp` and `weighted-sum` (more rows are put in a temporary file), "
        "and for the fits of `attention` and `layer-attention`",
    )
    bench: BenchSection | None = Field(
        BenchSection(), description="time and size of the trained models, see below; null: not measured"
    )
    report: ReportSection = Field(ReportSection(), description="stage 3, see below")
    output: OutputSection = Field(OutputSection(), description="folders, see below")

    _source: str = PrivateAttr("")
    _overrides: tuple[str, ...] = PrivateAttr(())
    _lists = field_validator("seeds")(no_repeats)

    @field_validator("background_in")
    @classmethod
    def _parts(cls, parts: list[BackgroundPart]) -> list[BackgroundPart]:
        """Return the parts in their order.

        Raises:
            ValueError: Nothing is left to count false alarms on, or to choose models on.
        """
        ordered = [part for part in get_args(BackgroundPart) if part in parts]
        if ordered not in (["test"], ["valid", "test"], ["train", "valid", "test"]):
            raise ValueError(f"[{', '.join(parts)}] is none of [test], [valid, test] and [train, valid, test]")
        return ordered

    @property
    def run_dir(self) -> Path:
        """Folder of this experiment's results."""
        return self.output.runs / self.name

    def command(self, command: str) -> str:
        """Return the command line that runs `command` on this experiment, for messages."""
        sets = [part for override in self._overrides for part in ("--set", override)]
        return shlex.join(["audioheads", *command.split(), self._source or f"{self.run_dir}/config.yaml", *sets])

    def __eq__(self, other: object) -> bool:
        """Compare settings, regardless of the file they were read from."""
        return isinstance(other, Config) and self.model_dump() == other.model_dump()

    __hash__ = None  # type: ignore[assignment]


def label_of(options: BaseModel) -> str:
    """Return the name of a backbone or head in tables and files."""
    return str(getattr(options, "label", None) or getattr(options, "title", None) or getattr(options, "name", ""))
