"""A model that includes the standardisation of its inputs, so that prediction only needs its weights."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class StandardisedNetwork(nn.Module):
    """Standardises each band, then applies the model.

    Attributes:
        model: `forward(inputs (B, F, D), lengths (B,)) -> logits (B, C)`. A submodule called `encoder` can have its own
            learning rate.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, model: nn.Module, mean: Tensor, deviation: Tensor) -> None:
        """Wrap a model with the statistics of its training inputs, (D,) each."""
        super().__init__()
        self.model = model
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """Map inputs (B, F, D) to logits (B, C)."""
        return self.model((inputs - self.mean) / self.deviation, lengths)

    def parameter_groups(self, learning_rate: float, encoder_learning_rate: float | None) -> list[dict[str, Any]]:
        """Return an optimiser's parameter groups, without frozen parameters."""
        groups: dict[float, list[nn.Parameter]] = {}
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                is_encoder = encoder_learning_rate is not None and name.startswith("model.encoder.")
                rate = encoder_learning_rate if is_encoder and encoder_learning_rate else learning_rate
                groups.setdefault(rate, []).append(parameter)
        return [{"params": parameters, "lr": rate} for rate, parameters in groups.items()]

    @property
    def parameters_total(self) -> int:
        """Number of parameters."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def parameters_trained(self) -> int:
        """Number of trained parameters."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)
