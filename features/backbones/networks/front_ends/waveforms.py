"""Front ends that give an encoder the samples of clips."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from features.backbones.adapters.equal_length import SHORTEST_S
from features.backbones.networks.front_ends.interface import FrontEnd, Inputs, groups_of, silent_beyond

NORM_EPS = 1e-7


class Wav2Vec2(FrontEnd):
    """`Wav2Vec2FeatureExtractor`: the samples, normalised over the clip on request; clips of one length together."""

    def __init__(self, extractor: Any) -> None:
        """Read the settings of an extractor."""
        super().__init__()
        self.normalize = extractor.do_normalize

    def forward(self, waveforms: Tensor, lengths: Sequence[int]) -> Inputs:
        """See `FrontEnd.forward`."""
        groups: Inputs = []
        for length, rows in groups_of(lengths).items():
            part = torch.stack([waveforms[row, :length] for row in rows])  # [b, T]
            if self.normalize:
                variance, mean = torch.var_mean(part, 1, correction=0, keepdim=True)
                part = (part - mean) / (variance + NORM_EPS).sqrt()
            groups.append((rows, {"input_values": part}))
        return groups


class Codec(FrontEnd):
    """`EncodecFeatureExtractor` and `DacFeatureExtractor`: the samples as one channel; clips of one length together.

    DAC's fills a clip with zeros to a multiple of its hop.
    """

    def __init__(self, extractor: Any) -> None:
        """Read the settings of an extractor."""
        super().__init__()
        self.hop = getattr(extractor, "hop_length", 1)

    def forward(self, waveforms: Tensor, lengths: Sequence[int]) -> Inputs:
        """See `FrontEnd.forward`."""
        groups: Inputs = []
        for size, rows in groups_of([-(-length // self.hop) * self.hop for length in lengths]).items():
            part = torch.stack([waveforms[row] for row in rows])
            part = silent_beyond(part, [lengths[row] for row in rows], size)
            groups.append((rows, {"input_values": part[:, None]}))  # [b, 1, T]
        return groups


class PeAudio(FrontEnd):
    """`PeAudioFeatureExtractor`: the samples, reflected at the end to whole hops; clips of one such length together."""

    def __init__(self, extractor: Any) -> None:
        """Read the settings of an extractor."""
        super().__init__()
        self.hop = extractor.hop_length
        if self.hop > extractor.sampling_rate * SHORTEST_S[0]:
            raise ValueError(f"hop_length {self.hop}: the shortest clips would be reflected more than once")

    def forward(self, waveforms: Tensor, lengths: Sequence[int]) -> Inputs:
        """See `FrontEnd.forward`.

        The extractor's mask covers all samples of a clip alone. It is left out on other devices than the CPU, since the
        host would wait in the norms that read it.
        """
        groups: Inputs = []
        for size, rows in groups_of([-(-length // self.hop) * self.hop for length in lengths]).items():
            last = torch.tensor([lengths[row] - 1 for row in rows]).to(waveforms.device, non_blocking=True)[:, None]
            positions = torch.arange(size, device=waveforms.device)[None]
            positions = torch.where(positions > last, 2 * last - positions, positions)
            part = torch.stack([waveforms[row] for row in rows]).float().gather(1, positions)  # [b, T]
            inputs = {"input_values": part[:, None]}
            if part.device.type == "cpu":
                inputs["padding_mask"] = torch.ones(part.shape, dtype=torch.int32)
            groups.append((rows, inputs))
        return groups
