"""The network of VGGish: all patches of a batch at once, in an order that suits a CPU's caches."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from features.backbones.base import Backbone
from features.backbones.networks.vggish_frontend import (
    HOP_LENGTH,
    LOG_OFFSET,
    MEL_RANGE_HZ,
    N_FFT,
    N_MELS,
    PATCH_FRAMES,
    SAMPLE_RATE,
    WINDOW_LENGTH,
)
from features.pooling import Frames
from features.spec import BackboneSpec

QUANTIZE_RANGE = 2.0
CPU_PATCHES = 20  # per convolution call; the maps of more patches do not fit in the caches


class VggishBackbone(Backbone):
    """Log-mel patches of all clips of a batch through the network at once."""

    def __init__(
        self,
        module: nn.Module,
        spec: BackboneSpec,
        device: torch.device,
        dtype: torch.dtype,
        pca: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        """Wrap a network; `dtype` is the type of its matrix products, `pca` is matrix (D, D) and means (D,)."""
        from torchvggish import mel_features

        self.spec = spec
        self.device = device
        self.dtype = dtype
        module.features = pooled_first(module.features)  # type: ignore[arg-type]
        self.module = module.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if dtype != torch.float32:
            module.to(dtype)
        window = mel_features.periodic_hann(WINDOW_LENGTH)
        mel = mel_features.spectrogram_to_mel_matrix(N_MELS, N_FFT // 2 + 1, SAMPLE_RATE, *MEL_RANGE_HZ)
        constants = {"window": torch.from_numpy(window).float(), "mel": torch.from_numpy(mel).float()}
        if pca is not None:
            constants |= {"pca_matrix": pca[0], "pca_means": pca[1]}
        for name, value in constants.items():  # buffers follow the network to another device; they are not saved
            module.register_buffer(name, value.to(device), persistent=False)

    @property
    def window(self) -> Tensor:
        """The analysis window, shape (400,)."""
        return self.module.window

    @property
    def mel(self) -> Tensor:
        """The mel filters, shape (257, 64)."""
        return self.module.mel

    @property
    def pca(self) -> tuple[Tensor, Tensor] | None:
        """Matrix (D, D) and means (D,) of the postprocessing, if it is used."""
        return (self.module.pca_matrix, self.module.pca_means) if hasattr(self.module, "pca_matrix") else None

    def forward(self, waveforms: Tensor, lengths: Tensor) -> Frames:
        """See `Backbone.forward`; F is the number of whole 0.96 s patches."""
        counts = [((n - WINDOW_LENGTH) // HOP_LENGTH + 1) // PATCH_FRAMES for n in lengths.tolist()]
        patches = log_mel_patches(waveforms, max(counts), self.window, self.mel)  # [B, P, 96, 64]
        clip_patches = [clip[:count] for clip, count in zip(patches, counts, strict=True)]
        inputs = torch.cat(clip_patches)[:, None].contiguous(memory_format=torch.channels_last)
        embedded = self._network(inputs.to(self.dtype)).float()  # [ΣP, D]
        if (pca := self.pca) is not None:
            embedded = postprocess(embedded, *pca)
        values = nn.utils.rnn.pad_sequence(list(embedded.split(counts)), batch_first=True)
        return Frames(values[:, None], torch.tensor(counts))

    def _network(self, patches: Tensor) -> Tensor:
        """Run `module` on patches, (P, 1, 96, 64) to (P, D), in an order that suits a CPU's caches and memory."""
        parts = patches.split(CPU_PATCHES if patches.device.type == "cpu" else len(patches))
        maps = torch.cat([self.module.features(part) for part in parts])
        hidden = maps.permute(0, 2, 3, 1).flatten(1).T
        for layer in self.module.embeddings:  # 67 million weights, read once for all patches
            is_linear = isinstance(layer, nn.Linear)
            hidden = torch.addmm(layer.bias[:, None], layer.weight, hidden) if is_linear else layer(hidden)
        return hidden.T

    def graph(self, n_layers: int | None = None) -> nn.Module | None:
        """See `Backbone.graph`; there is one layer."""
        return None if self.pca is not None else _Graph(self)


class _Graph(nn.Module):
    """One clip through the frontend and the network."""

    window: Tensor
    mel: Tensor

    def __init__(self, backbone: VggishBackbone) -> None:
        super().__init__()
        self.module = backbone.module
        self.register_buffer("window", backbone.window)
        self.register_buffer("mel", backbone.mel)

    def forward(self, waveforms: Tensor) -> Tensor:
        """(1, T) to (1, 1, F, D)."""
        patches = ((waveforms.shape[1] - WINDOW_LENGTH) // HOP_LENGTH + 1) // PATCH_FRAMES
        inputs = log_mel_patches(waveforms, patches, self.window, self.mel)
        return self.module(inputs[0, :, None])[None, None]


def pooled_first(layers: nn.Sequential) -> nn.Sequential:
    """Move each pooling layer before its ReLU, names unchanged: same result, but ReLU sees a quarter of the values."""
    ordered: list[tuple[str, nn.Module]] = []
    for name, layer in layers.named_children():
        ordered.insert(len(ordered) - isinstance(layer, nn.MaxPool2d), (name, layer))
    return nn.Sequential(OrderedDict(ordered))


def log_mel_patches(waveforms: Tensor, n_patches: int, window: Tensor, mel: Tensor) -> Tensor:
    """Compute the first `n_patches` log-mel patches of each waveform: (B, T) to (B, P, 96, 64)."""
    n_frames = n_patches * PATCH_FRAMES
    needed = (n_frames - 1) * HOP_LENGTH + WINDOW_LENGTH
    frames = waveforms.float()[:, :needed].unfold(1, WINDOW_LENGTH, HOP_LENGTH) * window  # [B, F, 400]
    magnitude = torch.fft.rfft(frames, n=N_FFT).abs()
    log_mel = torch.log(magnitude @ mel + LOG_OFFSET)
    return log_mel.unflatten(1, (n_patches, PATCH_FRAMES))


def postprocess(embedded: Tensor, matrix: Tensor, means: Tensor) -> Tensor:
    """Apply AudioSet's PCA, whitening and 8-bit quantisation: (P, D) to whole numbers 0…255."""
    rotated = (embedded - means) @ matrix.T
    return torch.round((rotated.clamp(-QUANTIZE_RANGE, QUANTIZE_RANGE) + QUANTIZE_RANGE) * (255 / (2 * QUANTIZE_RANGE)))
