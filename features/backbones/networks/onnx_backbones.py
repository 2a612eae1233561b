"""ONNX models as backbones: their input is waveforms or log-mels, of any length or in windows of one size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from features.backbones.adapters.equal_length import UnpaddedBackbone
from features.backbones.adapters.fixed_windows import cut_windows
from features.backbones.adapters.window_normalisation import WindowOptions, normalise_windows
from features.backbones.base import Backbone
from features.backbones.networks.onnx_axes import Ports
from features.backbones.networks.onnx_file import count_parameters
from features.backbones.networks.onnx_model import OnnxModel
from features.spec import BackboneSpec

if TYPE_CHECKING:
    from torch import Tensor

    from features.pooling import Frames


@dataclass(frozen=True)
class LogmelInput:
    """The log-mel input of a model.

    Attributes:
        logmel: Computes the bands of a waveform, in decibels or as powers.
        factor: Each value is multiplied by it, for other logarithms than decibels.
        mean: Subtracted from each value.
        std: Each value is divided by it.
    """

    logmel: Backbone
    factor: float
    mean: float
    std: float

    def of(self, waveforms: Tensor) -> Tensor:
        """Return the log-mels (B, F, M) of waveforms (B, T) of equal length."""
        import torch

        lengths = torch.full((len(waveforms),), waveforms.shape[1])
        bands = self.logmel.forward(waveforms, lengths).values[:, 0]
        return (bands * self.factor - self.mean) / self.std


@dataclass(frozen=True)
class OnnxSource:
    """A model with its input: waveforms, normalised window by window, or their log-mels.

    Attributes:
        model: The model.
        ports: Its input and outputs.
        normalisation: What is done to the samples.
        mel: The log-mels that it takes; None: it takes waveforms.
    """

    model: OnnxModel
    ports: Ports
    normalisation: WindowOptions
    mel: LogmelInput | None = None

    def embed(self, waveforms: Tensor) -> Tensor:
        """Embed clips of equal length: (B, T) to (B, L, F, D)."""
        import torch

        values = torch.from_numpy(normalise_windows(waveforms.cpu().numpy(), self.normalisation))
        if self.mel is not None:
            values = self.mel.of(values)
        return torch.from_numpy(self.model.run(values.numpy(), self.ports))


class _OnnxParts(Backbone):
    """Base class of the backbones with variable and with fixed input length."""

    def __init__(self, source: OnnxSource, spec: BackboneSpec) -> None:
        """Wrap a model; its inputs and outputs are on the CPU."""
        import torch

        self.spec = spec
        self.device = torch.device("cpu")
        self._source = source

    @property
    def parameters(self) -> int:
        """Number of stored floating-point constants."""
        return count_parameters(self._source.model.path)

    @property
    def device_name(self) -> str:
        """Name of the device, for messages."""
        return "cuda (onnxruntime)" if self._source.model.on_cuda else "cpu"


class OnnxBackbone(_OnnxParts, UnpaddedBackbone):
    """A model that takes clips of any length; each call embeds clips of equal length."""

    def embed_equal(self, waveforms: Tensor) -> Tensor:
        """See `UnpaddedBackbone.embed_equal`."""
        return self._source.embed(waveforms)


class OnnxWindows(_OnnxParts):
    """A model over windows of fixed size.

    An incomplete last window is zero-padded. If a window yields one vector, the vector is weighted by the window's
    fraction of real samples. If it yields several frames, only frames that begin before the end of the clip are kept.
    Windows are embedded one by one if the model mixes those of a call.
    """

    def forward(self, waveforms: Tensor, lengths: Tensor) -> Frames:
        """See `Backbone.forward`. Not differentiable."""
        import torch

        from features.pooling import Frames

        size, hop = self.spec.settings["window_samples"], self.spec.settings["hop_samples"]
        windows, shares = cut_windows(waveforms.numpy(), lengths.tolist(), size, hop)
        inputs = torch.from_numpy(windows)
        groups = [inputs] if self.spec.settings.get("batched", True) else inputs.split(1)
        embedded = torch.cat([self._source.embed(group) for group in groups])  # [W, L, F, D]
        clips, weights, at = [], [], 0
        for clip_shares in shares:
            parts = embedded[at : at + len(clip_shares)]
            at += len(clip_shares)
            if parts.shape[2] == 1:
                weights.append(torch.tensor(clip_shares))
                clips.append(parts[:, :, 0])  # [F, L, D]
                continue
            counts = [math.ceil(share * parts.shape[2]) for share in clip_shares]
            clips.append(torch.cat([part[:, :n].transpose(0, 1) for part, n in zip(parts, counts, strict=True)]))
            weights.append(torch.ones(sum(counts)))
        values = torch.nn.utils.rnn.pad_sequence(clips, batch_first=True).transpose(1, 2)
        weighted = torch.nn.utils.rnn.pad_sequence(weights, batch_first=True)
        return Frames(values, torch.tensor([len(clip) for clip in clips]), weighted)
