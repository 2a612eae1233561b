"""A backbone and a small head on the mean of its last layer, trained together."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from features.pooling import Frames, Moments
from heads.models.options import EndToEndOptions


class EndToEnd(nn.Module):
    """Masked mean over the last layer's frames, then Linear–ReLU–Dropout–Linear."""

    def __init__(
        self,
        encoder: nn.Module,
        embed: Callable[[Tensor, Tensor], Frames],
        dim: int,
        options: EndToEndOptions,
        n_classes: int,
    ) -> None:
        """Add a head to an encoder.

        Args:
            encoder: Module with the parameters that are trained with the backbone's learning rate.
            embed: Runs it differentiably: waveforms (B, T) and lengths (B,) to `Frames`.
            dim: D of the frames.
            options: Options of the head.
            n_classes: C.
        """
        super().__init__()
        self.encoder = encoder
        self._embed = embed
        self.head = nn.Sequential(
            nn.Linear(dim, options.hidden), nn.ReLU(), nn.Dropout(options.dropout), nn.Linear(options.hidden, n_classes)
        )

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """Map waveforms (B, T, 1) to logits (B, C)."""
        frames = self._embed(inputs[:, :, 0], lengths)
        last = Frames(frames.values[:, -1:], frames.lengths, frames.weights)
        return self.head(Moments.of(last, ("mean",)).mean[:, 0])
