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
ImportPath = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$")]
ClassWeight = Literal["balanced"] | None
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
    reads: ClassVar[Literal["layer", "layers", "frames"]] = "layer"
    """What it sees of a clip: one layer's pooled vector, those of all layers, or one layer's frames."""

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
    """Logistic regression trained to convergence: multinomial, or one per class where clips have several labels.

    In regression, ridge regression of standardised values.

    Attributes:
        l2: l2 / 2 times the squared norm of the weights is added to the mean log loss, or to half the
            mean squared error; scikit-learn's C is 1 / (l2 · n_train), its Ridge's alpha l2 · n_train.
        class_weight: `balanced`: every class counts alike in the training loss.
    """

    grid: ClassVar[tuple[str, ...]] = ("l2",)

    name: Literal["linear"] = "linear"
    l2: Grid[Positive] = [1.0, 0.3, 0.1, 0.03, 0.01, 3e-3, 1e-3, 3e-4, 1e-4]
    class_weight: ClassWeight = None


class SteppedOptions(HeadOptions):
    """What heads share that AdamW trains on minibatches.

    Attributes:
        learning_rate: AdamW's.
        weight_decay: AdamW's decoupled decay.
        batch_size: Clips per step.
        max_epochs: Passes over the training clips at most.
        patience: Stop after this many epochs without a lower validation loss.
        class_weight: `balanced`: every class counts alike in the training loss.
        label_smoothing: Share of each target that is spread over all classes.
        loss: Of regression: `mse`, or `ccc`, one minus Lin's concordance correlation of the batch.
    """

    learning_rate: Grid[Positive] = [1e-3]
    weight_decay: Grid[Decay] = [1e-2]
    batch_size: Count = 32
    max_epochs: Count = 100
    patience: Count = 10
    class_weight: ClassWeight = None
    label_smoothing: Share = 0.0
    loss: Literal["mse", "ccc"] = "mse"


class MlpOptions(SteppedOptions):
    """Linear–ReLU–Dropout blocks and a linear output.

    Attributes:
        hidden: Units of the hidden layer; a list within the list is a deeper network.
        dropout: Share of hidden units switched off in training.
        norm: `batch` or `layer` normalisation between each linear layer and its ReLU.
    """

    grid: ClassVar[tuple[str, ...]] = ("hidden", "dropout", "learning_rate", "weight_decay")

    name: Literal["mlp"] = "mlp"
    hidden: Grid[Count | Annotated[list[Count], Field(min_length=1)]] = [256]
    dropout: Grid[Share] = [0.3]
    norm: Literal["batch", "layer"] | None = None


class WeightedSumOptions(SteppedOptions):
    """A softmax-weighted sum of the layers, then one linear layer (SUPERB, arXiv 2105.01051).

    `layers` says which layers are summed.
    """

    grid: ClassVar[tuple[str, ...]] = ("learning_rate", "weight_decay")
    reads = "layers"

    name: Literal["weighted-sum"] = "weighted-sum"


class KnnOptions(HeadOptions):
    """The nearest training clips vote; in regression, their mean.

    Attributes:
        k: How many vote; a k beyond the number of training clips is left out of the choice.
        metric: Distance between standardised embeddings; a nearer clip's vote does not count more.
    """

    grid: ClassVar[tuple[str, ...]] = ("k", "metric")

    name: Literal["knn"] = "knn"
    k: Grid[Count] = [1, 3, 5, 10, 20]
    metric: Grid[Literal["cosine", "euclidean"]] = ["cosine", "euclidean"]


class SklearnOptions(HeadOptions):
    """Any scikit-learn classifier or regressor, fit by fit.

    Attributes:
        estimator: Where it is imported from: `sklearn.svm.SVC`.
        parameters: Its keyword arguments; lists are a grid. A keyword that is itself a list is written
            as a list in a list.
    """

    name: Literal["sklearn"] = "sklearn"
    estimator: ImportPath = "sklearn.linear_model.LogisticRegression"
    parameters: dict[str, Any | Annotated[list[Any], Field(min_length=1)]] = {}

    @property
    def title(self) -> str:
        """What tables call this head: by default the estimator's class."""
        return self.label or self.estimator.rpartition(".")[2]

    def configurations(self) -> list[Configuration]:
        """Every point of the grid over the parameters that are lists."""
        lists = [value if isinstance(value, list) else [value] for value in self.parameters.values()]
        return [dict(zip(self.parameters, values, strict=True)) for values in product(*lists)]


class AttentionOptions(SteppedOptions):
    """Attention pooling over a layer's cached frames, then one linear layer, fit by fit.

    Attributes:
        units: Of the attention's hidden layer.
        dropout: Share of the pooled vector switched off in training.
    """

    grid: ClassVar[tuple[str, ...]] = ("units", "dropout", "learning_rate", "weight_decay")
    reads = "frames"

    name: Literal["attention"] = "attention"
    layers: Literal["all", "last"] | Annotated[list[int], Field(min_length=1)] = "last"
    units: Grid[Count] = [128]
    dropout: Grid[Share] = [0.3]


HEADS: dict[str, type[HeadOptions]] = {
    "linear": LinearOptions,
    "mlp": MlpOptions,
    "knn": KnnOptions,
    "weighted-sum": WeightedSumOptions,
    "sklearn": SklearnOptions,
    "attention": AttentionOptions,
}


def widths(hidden: int | Sequence[int]) -> tuple[int, ...]:
    """The hidden layers of one grid entry: 256 is (256,)."""
    return (hidden,) if isinstance(hidden, int) else tuple(hidden)
