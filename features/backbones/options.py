"""Options shared by all entries of `features.backbones`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

LATER_OPTIONS = ("auto_class", "part", "config", "longest_s")


def _different(names: str | list[str]) -> str | list[str]:
    if not names or len(set(listed(names))) != len(listed(names)):
        raise ValueError(f"should be a name or a list of different names, got {names!r}")
    return names


TensorNames = Annotated[str | list[str], AfterValidator(_different)]
"""Tensors of a model whose values are the layers of an embedding: the name of one, or a list."""


class BackboneOptions(BaseModel):
    """Options shared by all entries of `features.backbones`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="a backbone or preset, see `audioheads backbones ls`")
    label: str | None = Field(None, description="the name in tables and files (default: `name`)")
    max_duration_s: float = Field(30.0, ge=10.0, description="longer clips are processed in windows of this length")

    @property
    def title(self) -> str:
        """The name used in messages and by `--set`; a config may have several entries with one `name`."""
        return self.label or self.name


class EncoderInterface(BaseModel):
    """How the frames of a model are obtained that lacks the interface of transformers' encoders."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    call: str = Field("forward", description="the method that takes the feature extractor's output")
    add_channel: bool = Field(
        False, description="whether it takes an axis of one channel after the batch, which is added if it is missing"
    )
    frames: str | None = Field(
        None,
        description="attribute or key of its output, a tensor or a list with one for each layer; null: the output "
        "itself, or `last_hidden_state`",
    )
    skip_tokens: int = Field(0, ge=0, description="tokens before the first frame, such as a class token")
    bands: int = Field(1, ge=1, description="frames of one time step, which are averaged over frequency")
    order: Literal["time", "frequency"] = Field(
        "time", description="whether the bands of one time step, or the time steps of one band, follow each other"
    )
    auto_class: Literal["AutoModel", "AutoModelForAudioClassification"] = Field(
        "AutoModel", description="which class of the weights' `auto_map` is the model"
    )
    part: str = Field("", description="submodule that is the encoder; empty: the whole model")
    config: dict[str, Any] = Field({}, description="values that differ from those in the weights' `config.json`")
    longest_s: float | None = Field(
        None, gt=0.0, description="seconds of the longest input; longer clips are processed in windows of this length"
    )

    @model_serializer(mode="wrap")
    def _without_later_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out options that came later if they have their defaults: runs and caches from before lack them."""
        values: dict[str, Any] = handler(self)
        defaults = {key: type(self).model_fields[key].default for key in LATER_OPTIONS}
        return {key: value for key, value in values.items() if key not in defaults or value != defaults[key]}


def listed(names: str | list[str]) -> list[str]:
    """Return one name or a list of them as a list."""
    return [names] if isinstance(names, str) else names


def unlisted(names: Sequence[str]) -> str | list[str]:
    """Return the only name of a list, or else all: the settings of a spec, the same for `x` and for `[x]`."""
    return names[0] if len(names) == 1 else list(names)
