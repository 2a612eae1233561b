"""Multilayer perceptrons: linear layers with ReLU, dropout and optional normalisation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, cast

from pydantic import Field

from heads.batched.inference import layers_graph, predict_layers
from heads.batched.job import HeadType, Job
from heads.options import Count, Grid, Share, SteppedOptions

if TYPE_CHECKING:
    from heads.batched.blocks import BlockFit, Loader, Place


class MlpOptions(SteppedOptions):
    """Linear–ReLU–Dropout blocks and a linear output.

    Attributes:
        hidden: Units of the hidden layer; a list within the list gives several hidden layers.
        dropout: Dropout probability of hidden units in training.
        norm: `batch` or `layer` normalisation between each linear layer and its ReLU; None: no normalisation.
    """

    grid: ClassVar[tuple[str, ...]] = ("hidden", "dropout", "learning_rate", "weight_decay")

    name: Literal["mlp"] = "mlp"
    hidden: Grid[Count | Annotated[list[Count], Field(min_length=1)]] = Field([256])
    dropout: Grid[Share] = Field([0.3])
    norm: Literal["batch", "layer"] | None = None


def fit_mlp(places: Sequence[Place], load: Loader, job: Job) -> Iterator[BlockFit]:
    """Train every configuration on every block with every seed, see `heads.batched.stepped.early_stopping`.

    Args:
        places: The blocks.
        load: Returns the block of a place.
        job: The grid, and the settings shared by all fits.

    Yields:
        One candidate per block and configuration, in no particular order.
    """
    from heads.batched.stepped.early_stopping import train_stepped
    from heads.batched.stepped.perceptron import Perceptron

    options, grid = cast(MlpOptions, job.options), job.grid
    by_hidden = sorted(range(len(grid)), key=lambda at: (widths(grid[at]["hidden"]), at))
    for hidden, configurations in groupby(by_hidden, key=lambda at: widths(grid[at]["hidden"])):
        network = Perceptron((job.dim, *hidden, job.n_outputs), options.norm)
        yield from train_stepped(places, load, job, list(configurations), network)


def widths(hidden: int | Sequence[int]) -> tuple[int, ...]:
    """Return the hidden widths of one grid entry: (256,) for 256."""
    return (hidden,) if isinstance(hidden, int) else tuple(hidden)


HEAD = HeadType(MlpOptions, fit_mlp, predict_layers, minibatches=True, graph=layers_graph)
