"""Forward pass of transformers' audio encoders: inputs of equal shape are batched.

A clip's input never depends on other clips, so batches need no extra masks. A feature extractor's padding (Whisper to
30 s, AST to 1,024 frames) is the same for each clip. Only frames that cover the clip are returned.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from features.backbones.adapters.masked_encoder import MaskedEncoder
from features.backbones.base import Backbone
from features.backbones.loading.import_paths import described
from features.backbones.networks.codecs import CodecEncoder
from features.backbones.networks.encoders.calls import encode, is_clap, prepare, valid_frames
from features.backbones.networks.front_ends import front_end_of
from features.backbones.networks.front_ends.interface import Inputs
from features.backbones.networks.host_waits import wait_never
from features.errors import RunError
from features.pooling import Frames
from features.spec import BackboneSpec
from features.system.device_errors import is_device_failure
from features.system.out_of_memory import is_out_of_memory


class TransformersBackbone(Backbone):
    """An encoder and its feature extractor; gradients reach the network, not the waveform."""

    def __init__(
        self, module: Any, extractor: Any, spec: BackboneSpec, device: torch.device, dtype: torch.dtype
    ) -> None:
        """Wrap an encoder; `dtype` is the type of its matrix products."""
        self.spec = spec
        self.device = device
        self.dtype = dtype
        self.module = module.to(device)
        wait_never(self.module.encoder if isinstance(self.module, CodecEncoder | MaskedEncoder) else self.module)
        self._extractor = extractor
        on_host = partial(prepare, extractor, module)
        self._front_end = front_end_of(extractor, on_host, device, masked=isinstance(module, MaskedEncoder))
        if self._front_end is None:
            self.prepare = on_host

    def forward(self, waveforms: Tensor, lengths: Tensor) -> Frames:
        """See `Backbone.forward`; the last layer is the encoder's normed output."""
        if self._front_end is None:
            clips = [wave[:n].detach().cpu().numpy() for wave, n in zip(waveforms, lengths.tolist(), strict=True)]
            return self.forward_prepared([prepare(self._extractor, self.module, clip) for clip in clips], lengths)
        with self.measure("front end"):
            inputs = self._front_end(waveforms.detach(), lengths.tolist())
        return self._encoded(inputs, lengths)

    def forward_prepared(self, inputs: Sequence[dict[str, Tensor]], lengths: Tensor) -> Frames:
        """See `Backbone.forward_prepared`; inputs of equal shape are batched."""
        groups: dict[Any, list[int]] = {}
        for row, each in enumerate(inputs):
            groups.setdefault(tuple((key, value.shape) for key, value in sorted(each.items())), []).append(row)
        together = [
            (rows, {key: self._moved([inputs[row][key] for row in rows]) for key in inputs[rows[0]]})
            for rows in groups.values()
        ]
        return self._encoded(together, lengths)

    def _moved(self, tensors: Sequence[Tensor]) -> Tensor:
        """Return tensors of one row each as one on the device; the host does not wait for the copy."""
        joined = torch.cat(list(tensors))
        return (joined.pin_memory() if self.device.type == "cuda" else joined).to(self.device, non_blocking=True)

    def _encoded(self, groups: Inputs, lengths: Tensor) -> Frames:
        """Encode groups of prepared clips."""
        counts = lengths.tolist()
        frames: dict[int, Tensor] = {}
        embedding = self.spec.settings["embedding"]
        for rows, inputs in groups:
            try:
                with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
                    values = encode(self.module, inputs, embedding)  # [b, L, F, D]
            except Exception as error:
                if is_out_of_memory(error) or is_device_failure(error):
                    raise
                raise RunError(f"{self.spec.title}: the encoder fails with {described(error)}") from error
            for row, value in zip(rows, values, strict=True):
                count = valid_frames(self.module, self._extractor, counts[row], value.shape[1])
                frames[row] = value[:, :count].transpose(0, 1)  # [F, L, D]
        ordered = [frames[row] for row in range(len(counts))]
        values = nn.utils.rnn.pad_sequence(ordered, batch_first=True).transpose(1, 2)
        weights = None
        if embedding == "pooled" or is_clap(self.module):  # weight vectors of windows by the windows' length
            weights = (lengths.float() / self.spec.max_samples)[:, None].to(values.device, non_blocking=True)
        return Frames(values, torch.tensor([len(clip) for clip in ordered]), weights)
