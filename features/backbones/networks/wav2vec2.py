"""The network of Wav2Vec2 and related encoders; each clip's frames are the same in a padded batch as alone.

Padded batches of these models are wrong in Hugging Face, torchaudio and fairseq (pytorch/audio#2242,
#3094; fairseq#3227): padding leaks through the group norm of the first convolution, through the
positional convolutions and through the input normalisation. Here each clip's frames equal the output of
`transformers` for that clip alone.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from features.backbones.base import Backbone
from features.pooling import Frames
from features.spec import BackboneSpec

NORMALIZE_EPSILON = 1e-7  # as Wav2Vec2FeatureExtractor


class Wav2Vec2Backbone(Backbone):
    """A Hugging Face encoder run layer by layer with every padding leak closed."""

    def __init__(self, module: nn.Module, spec: BackboneSpec, device: torch.device, dtype: torch.dtype) -> None:
        """Wrap an encoder; `dtype` is the type of its matrix products."""
        self.spec = spec
        self.device = device
        self.dtype = dtype
        self.module = module.to(device)
        if dtype != torch.float32:
            for part in module.modules():
                if isinstance(part, nn.Linear | nn.Conv1d) and not hasattr(part, "parametrizations"):
                    part.to(dtype)
        self._layers = _Layers(self.module.encoder.layers, self.module.config.model_type == "wavlm")
        self._compiled_layers: Any = None

    def compile(self) -> bool:
        """Compile the transformer; batches of any size and length share one compilation."""
        self._compiled_layers = torch.compile(self._layers, dynamic=True, fullgraph=True, options={"freezing": True})
        return True

    def graph(self, n_layers: int | None = None) -> nn.Module | None:
        """See `Backbone.graph`; the transformer's input counts as a layer."""
        if self.dtype != torch.float32:
            return None
        return _Graph(self.module, self.spec.settings["normalize"], n_layers or len(self.spec.layers))

    def forward(self, waveforms: Tensor, lengths: Tensor) -> Frames:
        """See `Backbone.forward`; layer 0 is the transformer's input, the last layer its normalised output."""
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            if self.spec.settings["normalize"]:
                waveforms = normalize(waveforms, lengths)
            features, frame_counts = self._convolve(waveforms, lengths.tolist())
            hidden = _projected(self.module.feature_projection, features)
            layers = self._encode(hidden, frame_counts)
        return Frames(torch.stack(layers, dim=1), torch.tensor(frame_counts))

    def _convolve(self, waveforms: Tensor, lengths: list[int]) -> tuple[Tensor, list[int]]:
        """Run the convolutional feature encoder; return features (B, C, F) and the valid frames of each clip."""
        hidden = waveforms[:, None]  # [B, 1, T]
        for layer in self.module.feature_extractor.conv_layers:
            hidden = layer.conv(hidden)
            kernel, stride = layer.conv.kernel_size[0], layer.conv.stride[0]
            lengths = [(length - kernel) // stride + 1 for length in lengths]
            norm = getattr(layer, "layer_norm", None)
            if isinstance(norm, nn.GroupNorm):
                hidden = masked_group_norm(hidden, lengths, norm)
            elif norm is not None:
                hidden = norm(hidden.transpose(1, 2)).transpose(1, 2)
            hidden = layer.activation(hidden)
        return hidden, lengths

    def _encode(self, hidden: Tensor, frame_counts: list[int]) -> list[Tensor]:
        """Run the transformer; return the input of its first layer and every layer's output, each (B, F, D)."""
        encoder = self.module.encoder
        config = self.module.config
        stable = getattr(config, "do_stable_layer_norm", False)
        mask = _frame_mask(hidden, frame_counts)
        if mask is not None:
            hidden = hidden.masked_fill(~mask[:, :, None], 0.0)
        hidden = hidden + self._positions(hidden, mask)
        if not stable:
            hidden = encoder.layer_norm(hidden)
        is_wavlm = config.model_type == "wavlm"
        compiled = self.compiled and len(hidden) > 1  # a batch of one would trigger another compilation
        if compiled and mask is None:
            mask = torch.ones(hidden.shape[:2], dtype=torch.bool, device=hidden.device)
        attention_mask = mask if mask is None or is_wavlm else mask[:, None, None, :]
        with warnings.catch_warnings():
            # WavLM passes torch a boolean padding mask together with its float position bias
            warnings.filterwarnings("ignore", "Support for mismatched key_padding_mask")
            outputs = (self._compiled_layers if compiled else self._layers)(hidden, attention_mask)
        if stable:
            outputs[-1] = encoder.layer_norm(outputs[-1])
        return outputs

    def _positions(self, hidden: Tensor, mask: Tensor | None) -> Tensor:
        """Run the positional convolution with zeros after each clip's end, as if each clip were alone."""
        embed = self.module.encoder.pos_conv_embed
        stack: Any = getattr(embed, "layers", None)
        norm: Any = getattr(embed, "batch_norm", None)
        positions = hidden.transpose(1, 2)  # [B, D, F]
        if stack is None:
            if norm is not None:
                positions = norm(positions)
                if mask is not None:  # HuBERT's batch norm changes the zeros of the padding
                    positions = positions.masked_fill(~mask[:, None], 0.0)
            return embed.activation(embed.padding(padded_conv1d(positions, embed.conv))).transpose(1, 2)
        for layer in stack:  # each of Data2Vec's convolutions changes them, too
            positions = layer(positions)
            if mask is not None:
                positions = positions.masked_fill(~mask[:, None], 0.0)
        return positions.transpose(1, 2)


class _Graph(nn.Module):
    """One clip through the encoder up to one of its layers; a single clip has no padding to mask."""

    def __init__(self, module: nn.Module, normalized: bool, n_layers: int) -> None:
        """Share the weights of an encoder; `n_layers` counts the transformer's input."""
        super().__init__()
        self.normalized = normalized
        self.extractor: Any = module.feature_extractor
        self.projection: Any = module.feature_projection
        encoder: Any = module.encoder
        config: Any = module.config
        self.positions = encoder.pos_conv_embed
        self.layers = _Layers(encoder.layers[: n_layers - 1], config.model_type == "wavlm")
        stable = getattr(config, "do_stable_layer_norm", False)
        self.norm_before = nn.Identity() if stable else encoder.layer_norm
        self.norm_after = encoder.layer_norm if stable and n_layers > len(encoder.layers) else nn.Identity()

    def forward(self, waveforms: Tensor) -> Tensor:
        """(1, T) to (1, L, F, D)."""
        if self.normalized:
            variance, mean = torch.var_mean(waveforms, dim=1, correction=0, keepdim=True)
            waveforms = (waveforms - mean) / torch.sqrt(variance + NORMALIZE_EPSILON)
        hidden = _projected(self.projection, self.extractor(waveforms))
        outputs = self.layers(self.norm_before(hidden + self.positions(hidden)), None)
        return torch.stack([*outputs[:-1], self.norm_after(outputs[-1])], dim=1)


class _Layers(nn.Module):
    """The transformer's layers alone, which can be compiled."""

    def __init__(self, layers: nn.ModuleList, is_wavlm: bool) -> None:
        super().__init__()
        self.layers = layers
        self.is_wavlm = is_wavlm

    def forward(self, hidden: Tensor, attention_mask: Tensor | None) -> list[Tensor]:
        """Return the input of the first layer and every layer's output, each (B, F, D)."""
        outputs = [hidden]
        bias: dict[str, Any] = {}
        for layer in self.layers:
            hidden = layer(hidden, attention_mask=attention_mask, **bias)
            if self.is_wavlm:
                hidden, bias["position_bias"] = hidden
            outputs.append(hidden)
        return outputs


def _projected(projection: Any, features: Tensor) -> Tensor:
    """Map the features of the convolutions, (B, C, F), to the input of the transformer, (B, F, D)."""
    projected = projection(features.transpose(1, 2))
    return projected[0] if isinstance(projected, tuple) else projected  # some architectures also return the input


def normalize(waveforms: Tensor, lengths: Tensor) -> Tensor:
    """Scale each clip to zero mean and unit variance over its valid samples; padding becomes 0. (B, T) to (B, T)."""
    if waveforms.device.type != "cpu":
        return normalize_at_once(waveforms, lengths)
    rows = []
    for waveform, length in zip(waveforms.float(), lengths.tolist(), strict=True):
        valid = waveform[:length]
        variance, mean = torch.var_mean(valid, correction=0)
        rows.append(F.pad((valid - mean) / torch.sqrt(variance + NORMALIZE_EPSILON), (0, len(waveform) - length)))
    return torch.stack(rows)


def padded_conv1d(inputs: Tensor, conv: nn.Conv1d) -> Tensor:
    """Apply `conv` (stride 1) without the taps that only see its zero padding: (B, C, F) to (B, C, F')."""
    frames, taps, padding = inputs.shape[2], conv.kernel_size[0], int(conv.padding[0])
    first, last = max(0, taps - frames - padding), min(taps, padding + frames)
    if last - first == taps:
        return conv(inputs)
    padded = F.pad(inputs, (padding - first, padding - taps + last))
    return F.conv1d(padded, conv.weight[:, :, first:last], conv.bias, groups=conv.groups)


def masked_group_norm(hidden: Tensor, lengths: list[int], norm: nn.GroupNorm) -> Tensor:
    """Apply group norm to each clip over its valid frames; padding becomes 0. (B, C, F) to (B, C, F)."""
    longest = hidden.shape[2]
    if min(lengths) == longest:
        return norm(hidden)
    if hidden.device.type != "cpu":
        return group_norm_at_once(hidden, lengths, norm)
    rows = [norm(hidden[i : i + 1, :, :n]) for i, n in enumerate(lengths)]
    return torch.cat([F.pad(row, (0, longest - row.shape[2])) for row in rows])


def normalize_at_once(waveforms: Tensor, lengths: Tensor) -> Tensor:
    """Apply `normalize` to all clips at once: more memory, but fewer kernel launches."""
    counts = lengths.to(waveforms.device, non_blocking=True)[:, None]
    outside = torch.arange(waveforms.shape[1], device=waveforms.device)[None] >= counts
    values = waveforms.float().masked_fill(outside, 0.0)
    centred = (values - values.sum(1, keepdim=True) / counts).masked_fill(outside, 0.0)
    variance = centred.square().sum(1, keepdim=True) / counts
    return centred / torch.sqrt(variance + NORMALIZE_EPSILON)


def group_norm_at_once(hidden: Tensor, lengths: list[int], norm: nn.GroupNorm) -> Tensor:
    """Apply `masked_group_norm` to all clips at once, in float32."""
    counts = torch.tensor(lengths).to(hidden.device, non_blocking=True)[:, None, None, None]
    outside = torch.arange(hidden.shape[2], device=hidden.device) >= counts  # [B, 1, 1, F]
    values = hidden.float().unflatten(1, (norm.num_groups, -1)).masked_fill(outside, 0.0)  # [B, G, C / G, F]
    counts = counts * values.shape[2]
    centred = (values - values.sum((2, 3), keepdim=True) / counts).masked_fill(outside, 0.0)
    variance = centred.square().sum((2, 3), keepdim=True) / counts
    normed = (centred * torch.rsqrt(variance + norm.eps)).flatten(1, 2)
    if norm.affine:
        normed = normed * norm.weight[:, None] + norm.bias[:, None]
    return normed.masked_fill(outside[:, 0], 0.0)


def _frame_mask(hidden: Tensor, frame_counts: list[int]) -> Tensor | None:
    """Return a (B, F) bool mask, True at valid frames; None if nothing is padded."""
    longest = hidden.shape[1]
    if min(frame_counts) == longest:
        return None
    counts = torch.tensor(frame_counts).to(hidden.device, non_blocking=True)
    return torch.arange(longest, device=hidden.device)[None, :] < counts[:, None]
