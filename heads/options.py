"""Options that all heads share. A list of values is a grid that validation chooses from.

The options of one head are in its own module, see `heads.kinds.registry`. This module imports neither torch nor
scikit-learn.
"""

from __future__ import annotations

from itertools import product
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

MAJORITY = "majority"
"""Name of the baseline in the column `model`; no model can have it."""


def _as_list(value: object) -> object:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _no_flag(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("should be a number, not true or false")
    return value


Item = TypeVar("Item")
Grid = Annotated[list[Item], BeforeValidator(_as_list), Field(min_length=1)]
Positive = Annotated[float, BeforeValidator(_no_flag), Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, BeforeValidator(_no_flag), Field(ge=0, lt=1)]
Decay = Annotated[float, BeforeValidator(_no_flag), Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, BeforeValidator(_no_flag), Field(ge=1)]
ClassWeight = Literal["balanced"] | None
Configuration = dict[str, Any]


class HeadOptions(BaseModel):
    """Options of every head.

    Attributes:
        name: The head: a key of `heads.kinds.registry.HEADS`.
        label: Its name in tables; by default `name`.
        pooling: The stored poolings that are concatenated as input; None: all of them.
        layers: The backbone layers that validation chooses from: `all`, `last`, or a list of indices.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    grid: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[Literal["layer", "layers", "frames", "layer-frames"]] = "layer"
    """The head's input per clip: the pooled vector of one layer or of all layers, the frames of one layer or of all."""

    name: str
    label: Annotated[str, Field(min_length=1)] | None = None
    pooling: Annotated[list[str], Field(min_length=1)] | None = None
    layers: Literal["all", "last"] | Annotated[list[int], Field(min_length=1)] = "all"

    @property
    def title(self) -> str:
        """The head's name in tables."""
        return self.label or self.name

    @property
    def reads_frames(self) -> bool:
        """Whether the head reads cached frames."""
        return self.reads in ("frames", "layer-frames")

    def configurations(self) -> list[Configuration]:
        """Return every point of the grid; the last option varies fastest."""
        return [
            dict(zip(self.grid, values, strict=True))
            for values in product(*(getattr(self, name) for name in self.grid))
        ]


class SteppedOptions(HeadOptions):
    """Options of heads that are trained with AdamW on minibatches.

    Attributes:
        learning_rate: Learning rate of AdamW.
        weight_decay: Decoupled weight decay of AdamW.
        batch_size: Clips per step.
        max_epochs: Maximum number of passes over the training clips.
        patience: Stop after this many epochs without a lower validation loss.
        class_weight: `balanced`: every class has the same weight in the training loss.
        label_smoothing: Fraction of each target that is spread over all classes.
        loss: Loss of regression: `mse`, or `ccc`, one minus Lin's concordance correlation of the batch.
    """

    learning_rate: Grid[Positive] = [1e-3]
    weight_decay: Grid[Decay] = [1e-2]
    batch_size: Count = 32
    max_epochs: Count = 100
    patience: Count = 10
    class_weight: ClassWeight = None
    label_smoothing: Share = 0.0
    loss: Literal["mse", "ccc"] = "mse"
