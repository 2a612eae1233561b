"""What a user can set of each head; a list is the grid that validation chooses from."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


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
Configuration = dict[str, Any]


class HeadOptions(BaseModel):
    """What every head has.

    Attributes:
        name: Which head: a key of `HEADS`.
        label: What tables call it; by default its name.
        pooling: The stored poolings it sees, concatenated; None: all of them.
        layers: The backbone layers that validation chooses from: `all`, `last`, or their indices.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    grid: ClassVar[tuple[str, ...]] = ()

    name: str
    label: Annotated[str, Field(min_length=1)] | None = None
    pooling: Annotated[list[str], Field(min_length=1)] | None = None
    layers: Literal["all", "last"] | Annotated[list[int], Field(min_length=1)] = "all"

    @property
    def title(self) -> str:
        """What tables call this head."""
        return self.label or self.name

    def configurations(self) -> list[Configuration]:
        """Every point of the grid, the last option varying fastest."""
        return [
            dict(zip(self.grid, values, strict=True))
            for values in product(*(getattr(self, name) for name in self.grid))
        ]


class LinearOptions(HeadOptions):
    """Multinomial logistic regression, trained to convergence.

    Attributes:
        l2: Half the weight of the squared norm of the weights beside the mean log loss; scikit-learn's
            C is 1 / (l2 · n_train).
    """

    grid: ClassVar[tuple[str, ...]] = ("l2",)

    name: Literal["linear"] = "linear"
    l2: Grid[Positive] = [1.0, 0.3, 0.1, 0.03, 0.01, 3e-3, 1e-3, 3e-4, 1e-4]


class MlpOptions(HeadOptions):
    """Linear–ReLU–Dropout blocks and a linear output, trained with AdamW on minibatches.

    Attributes:
        hidden: Units of the hidden layer; a list within the list is a deeper network.
        dropout: Share of hidden units switched off in training.
        learning_rate: AdamW's.
        weight_decay: AdamW's decoupled decay.
        batch_size: Clips per step.
        max_epochs: Passes over the training clips at most.
        patience: Stop after this many epochs without a lower validation log loss.
    """

    grid: ClassVar[tuple[str, ...]] = ("hidden", "dropout", "learning_rate", "weight_decay")

    name: Literal["mlp"] = "mlp"
    hidden: Grid[Count | Annotated[list[Count], Field(min_length=1)]] = [256]
    dropout: Grid[Share] = [0.3]
    learning_rate: Grid[Positive] = [1e-3]
    weight_decay: Grid[Decay] = [1e-2]
    batch_size: Count = 32
    max_epochs: Count = 100
    patience: Count = 10


HEADS: dict[str, type[HeadOptions]] = {"linear": LinearOptions, "mlp": MlpOptions}
AnyHead = Annotated[LinearOptions | MlpOptions, Field(discriminator="name")]


def widths(hidden: int | Sequence[int]) -> tuple[int, ...]:
    """The hidden layers of one grid entry: 256 is (256,)."""
    return (hidden,) if isinstance(hidden, int) else tuple(hidden)
