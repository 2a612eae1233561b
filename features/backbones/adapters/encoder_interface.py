"""Models whose methods and outputs are not those of transformers' encoders, called as if they were."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput

from features.backbones.options import EncoderInterface

WITH_CHANNEL = 4  # axes of spectrograms with an axis of channels


class InterfacedEncoder(nn.Module):
    """A model that returns its frames in its own way, with the `forward` of transformers' encoders.

    Attributes:
        config: The model's configuration.
    """

    def __init__(self, model: Any, config: Any, interface: EncoderInterface, *, pooled: bool = False) -> None:
        """Wrap a model.

        Args:
            model: The model, or the part of it that is the encoder.
            config: The configuration of the whole model.
            interface: How its frames are obtained.
            pooled: Whether it returns one vector for each input in place of frames.

        Raises:
            ValueError: The model has no such method.
        """
        super().__init__()
        if not callable(getattr(model, interface.call, None)):
            raise ValueError(f"interface.call: {type(model).__name__} has no method {interface.call!r}")
        self.model = model
        self.config = config
        self._interface = interface
        self._pooled = pooled

    def max_samples(self, sample_rate: int) -> int | None:
        """Return the samples of the longest input; None: there is no limit."""
        longest_s = self._interface.longest_s
        return None if longest_s is None else math.floor(longest_s * sample_rate)

    def forward(self, input_values: Tensor, output_hidden_states: bool = False) -> BaseModelOutput:
        """Encode prepared inputs of one shape, (B, ...), to frames in order of time, (B, F, D).

        Args:
            input_values: What the feature extractor returns.
            output_hidden_states: Accepted for compatibility; all layers are always returned.

        Returns:
            The last layer, and all layers as hidden states.

        Raises:
            ValueError: The output is not of the shape that the interface states.
        """
        add_channel = self._interface.add_channel and input_values.ndim < WITH_CHANNEL
        inputs = input_values[:, None] if add_channel else input_values
        output = getattr(self.model, self._interface.call)(inputs)
        layers = tuple(self._in_order_of_time(tokens) for tokens in _layers_of(output, self._interface.frames))
        return BaseModelOutput(last_hidden_state=layers[-1], hidden_states=layers)

    def _in_order_of_time(self, tokens: Tensor) -> Tensor:
        """Return the frames (B, F, D) of one layer; F is 1 for pooled vectors."""
        interface, shape = self._interface, tuple(tokens.shape)
        if self._pooled:
            if tokens.ndim != 2:
                raise ValueError(f"embedding: pooled: vectors should be (batch, dimension), got shape {shape}")
            return tokens[:, None]
        if tokens.ndim != 3:
            pooled = "; set embedding: pooled for one vector of each input" if tokens.ndim == 2 else ""
            raise ValueError(f"interface: frames should be (batch, frames, dimension), got shape {shape}{pooled}")
        frames = tokens[:, interface.skip_tokens :]
        if frames.shape[1] == 0 or frames.shape[1] % interface.bands:
            raise ValueError(
                f"interface.bands: {frames.shape[1]} frames are not a whole number of steps of {interface.bands} bands"
            )
        if interface.bands > 1:
            sizes = (-1, interface.bands) if interface.order == "time" else (interface.bands, -1)
            frames = frames.unflatten(1, sizes).mean(2 if interface.order == "time" else 1)
        return frames


def _layers_of(output: Any, name: str | None) -> list[Tensor]:
    """Return the layers in an output: itself, or what it holds under a name, a tensor or a list of tensors."""
    if name is None and isinstance(output, Tensor):
        return [output]
    name = name or "last_hidden_state"
    value = output.get(name) if isinstance(output, dict) else getattr(output, name, None)
    layers = [value] if isinstance(value, Tensor) else value
    if not isinstance(layers, list | tuple) or not layers or not all(isinstance(layer, Tensor) for layer in layers):
        raise ValueError(f"interface.frames: the {type(output).__name__} that the model returns has no tensor {name!r}")
    return list(layers)
