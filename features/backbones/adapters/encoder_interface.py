"""Models whose methods and outputs are not those of transformers' encoders, called as if they were."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput

from features.backbones.options import EncoderInterface


class InterfacedEncoder(nn.Module):
    """A model that returns its frames in its own way, with the `forward` of transformers' encoders.

    Attributes:
        config: The model's configuration.
    """

    def __init__(self, model: Any, interface: EncoderInterface) -> None:
        """Wrap a model.

        Args:
            model: The whole model.
            interface: How its frames are obtained.

        Raises:
            ValueError: The model has no such method.
        """
        super().__init__()
        if not callable(getattr(model, interface.call, None)):
            raise ValueError(f"interface.call: {type(model).__name__} has no method {interface.call!r}")
        self.model = model
        self.config = model.config
        self._interface = interface

    def forward(self, input_values: Tensor, output_hidden_states: bool = False) -> BaseModelOutput:
        """Encode prepared inputs of one shape, (B, ...), to frames in order of time, (B, F, D).

        Args:
            input_values: What the feature extractor returns.
            output_hidden_states: Accepted for compatibility; there is one layer.

        Raises:
            ValueError: The output is not of the shape that the interface states.
        """
        interface = self._interface
        inputs = input_values[:, None] if interface.add_channel else input_values
        tokens = _frames_of(getattr(self.model, interface.call)(inputs), interface.frames)
        if tokens.ndim != 3:
            raise ValueError(f"interface: frames should be (batch, frames, dimension), got shape {tuple(tokens.shape)}")
        frames = tokens[:, interface.skip_tokens :]
        if frames.shape[1] == 0 or frames.shape[1] % interface.bands:
            raise ValueError(
                f"interface.bands: {frames.shape[1]} frames are not a whole number of steps of {interface.bands} bands"
            )
        if interface.bands > 1:
            sizes = (-1, interface.bands) if interface.order == "time" else (interface.bands, -1)
            frames = frames.unflatten(1, sizes).mean(2 if interface.order == "time" else 1)
        return BaseModelOutput(last_hidden_state=frames)


def _frames_of(output: Any, name: str | None) -> Tensor:
    """Return the frames in an output: itself, or what it holds under a name."""
    if name is None and isinstance(output, Tensor):
        return output
    name = name or "last_hidden_state"
    value = output.get(name) if isinstance(output, dict) else getattr(output, name, None)
    if not isinstance(value, Tensor):
        raise ValueError(f"interface.frames: the {type(output).__name__} that the model returns has no tensor {name!r}")
    return value
