"""VGGish (Hershey et al. 2017) as torchvggish has it, its log-mel frontend batched and on the device."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from features.backbones.base import Backbone, BackboneOptions, Bundle, check_precision, load_strictly
from features.backbones.loading import weights as found
from features.backbones.loading.digests import file_sha256, text_sha256
from features.errors import WeightsError
from features.pooling import Frames
from features.spec import BackboneSpec

RELEASE = "https://github.com/harritaylor/torchvggish/releases/download/v0.1/"
SAMPLE_RATE = 16_000
WINDOW_LENGTH = 400  # 25 ms
HOP_LENGTH = 160  # 10 ms
N_FFT = 512
N_MELS = 64
MEL_RANGE_HZ = (125.0, 7500.0)
LOG_OFFSET = 0.01
PATCH_FRAMES = 96  # 0.96 s, no overlap
PATCH_SAMPLES = (PATCH_FRAMES - 1) * HOP_LENGTH + WINDOW_LENGTH
DIM = 128
WEIGHTS, PCA_WEIGHTS = "model.safetensors", "pca.safetensors"  # in a folder of their own
QUANTIZE_RANGE = 2.0
CPU_PATCHES = 20  # through the convolutions together: more of their maps do not stay in the caches


class Options(BackboneOptions):
    """An entry of `features.backbones` for VGGish."""

    weights: str = Field(RELEASE + "vggish-10086976.pth", description="URL, `.pth`, `.safetensors` or `random`")
    seed: int = Field(0, ge=0, description="for `random`: seed of the weights")
    postprocess: bool = Field(False, description="PCA, whitening and 8-bit quantisation as in AudioSet's release")
    pca_weights: str = Field(RELEASE + "vggish_pca_params-970ea276.pth", description="for `postprocess`")


def summary(options: Any) -> dict[str, Any]:
    """What `audioheads backbones ls` shows."""
    return {
        "weights": "torchvggish release v0.1",
        "sample_rate_hz": SAMPLE_RATE,
        "summary": "one 128-d vector a 0.96 s",
    }


def describe(options: Options) -> BackboneSpec:
    """The spec, with weights found and hashed but not loaded.

    Raises:
        WeightsError: The weights cannot be had.
    """
    if options.weights == found.RANDOM:
        digest = text_sha256({"random": options.seed, "network": "torchvggish 0.2 VGG"})
    else:
        digest = file_sha256(found.find_file(options.name, options.weights))
    settings: dict[str, Any] = {"postprocess": options.postprocess}
    if options.postprocess:
        settings["pca_sha256"] = file_sha256(found.find_file(options.name, options.pca_weights))
    return BackboneSpec(
        name=options.name,
        family="vggish",
        weights=options.weights,
        weights_sha256=digest,
        sample_rate=SAMPLE_RATE,
        layers=(0,),
        dim=DIM,
        frame_rate=SAMPLE_RATE / (PATCH_FRAMES * HOP_LENGTH),
        min_duration_s=PATCH_SAMPLES / SAMPLE_RATE,
        max_duration_s=options.max_duration_s,
        settings=settings,
    )


def load(options: Options, spec: BackboneSpec, *, device: str, precision: str) -> VggishBackbone:
    """Build the network and load its weights.

    Raises:
        WeightsError: The weights do not fit the architecture.
    """
    from torchvggish.torchvggish import VGG, make_layers

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        module = VGG(make_layers(), postprocess=False)
    if options.weights != found.RANDOM:
        state = found.read_state(found.find_file(options.name, options.weights))
        load_strictly(module, state, f"{options.name}: {options.weights}", ignore=("pproc.",))
    pca = _load_pca(options) if options.postprocess else None
    return VggishBackbone(module.eval(), spec, torch.device(device), check_precision(precision), pca)


def bundle(options: Options, spec: BackboneSpec, folder: Path) -> Bundle:
    """The network's weights, and those of the PCA where it is used, as safetensors."""
    from safetensors.torch import save_file

    backbone = load(options, spec, device="cpu", precision="fp32")
    save_file({name: tensor.contiguous() for name, tensor in backbone.module.state_dict().items()}, folder / WEIGHTS)
    if backbone.pca is None:
        return Bundle({"weights": WEIGHTS})
    matrix, means = backbone.pca
    save_file({"pca_eigen_vectors": matrix.contiguous(), "pca_means": means.contiguous()}, folder / PCA_WEIGHTS)
    return Bundle({"weights": WEIGHTS, "pca_weights": PCA_WEIGHTS})


def blank(options: Options) -> dict[str, Any]:
    """The architecture is always the same."""
    return {"weights": found.RANDOM}


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
        """Take over a network; `dtype` is that of its matrix products, `pca` is matrix (D, D) and means (D,)."""
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
        self.window = torch.from_numpy(window).float().to(device)
        self.mel = torch.from_numpy(mel).float().to(device)
        self.pca = None if pca is None else tuple(part.to(device) for part in pca)

    def forward(self, waveforms: Tensor, lengths: Tensor) -> Frames:
        """See `Backbone.forward`; F is the number of whole 0.96 s patches."""
        counts = [((n - WINDOW_LENGTH) // HOP_LENGTH + 1) // PATCH_FRAMES for n in lengths.tolist()]
        patches = log_mel_patches(waveforms, max(counts), self.window, self.mel)  # [B, P, 96, 64]
        clip_patches = [clip[:count] for clip, count in zip(patches, counts, strict=True)]
        inputs = torch.cat(clip_patches)[:, None].contiguous(memory_format=torch.channels_last)
        embedded = self._network(inputs.to(self.dtype)).float()  # [ΣP, D]
        if self.pca is not None:
            embedded = postprocess(embedded, *self.pca)
        values = nn.utils.rnn.pad_sequence(list(embedded.split(counts)), batch_first=True)
        return Frames(values[:, None], torch.tensor(counts))

    def _network(self, patches: Tensor) -> Tensor:
        """`module` itself, patches (P, 1, 96, 64) to (P, D), arranged for a CPU's caches and memory."""
        pieces = patches.split(CPU_PATCHES if self.device.type == "cpu" else len(patches))
        maps = torch.cat([self.module.features(piece) for piece in pieces])
        hidden = maps.permute(0, 2, 3, 1).flatten(1).T
        for layer in self.module.embeddings:  # 67 million weights, read once for all patches
            is_linear = isinstance(layer, nn.Linear)
            hidden = torch.addmm(layer.bias[:, None], layer.weight, hidden) if is_linear else layer(hidden)
        return hidden.T

    def graph(self) -> nn.Module | None:
        """See `Backbone.graph`."""
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
    """The same layers under their names, each pooling before its ReLU: the same maximum, of a quarter of the values."""
    ordered: list[tuple[str, nn.Module]] = []
    for name, layer in layers.named_children():
        ordered.insert(len(ordered) - isinstance(layer, nn.MaxPool2d), (name, layer))
    return nn.Sequential(OrderedDict(ordered))


def log_mel_patches(waveforms: Tensor, n_patches: int, window: Tensor, mel: Tensor) -> Tensor:
    """The first `n_patches` log-mel patches of each waveform: (B, T) to (B, P, 96, 64)."""
    n_frames = n_patches * PATCH_FRAMES
    needed = (n_frames - 1) * HOP_LENGTH + WINDOW_LENGTH
    frames = waveforms.float()[:, :needed].unfold(1, WINDOW_LENGTH, HOP_LENGTH) * window  # [B, F, 400]
    magnitude = torch.fft.rfft(frames, n=N_FFT).abs()
    log_mel = torch.log(magnitude @ mel + LOG_OFFSET)
    return log_mel.unflatten(1, (n_patches, PATCH_FRAMES))


def postprocess(embedded: Tensor, matrix: Tensor, means: Tensor) -> Tensor:
    """AudioSet's PCA, whitening and 8-bit quantisation: (P, D) to whole numbers 0…255."""
    rotated = (embedded - means) @ matrix.T
    return torch.round((rotated.clamp(-QUANTIZE_RANGE, QUANTIZE_RANGE) + QUANTIZE_RANGE) * (255 / (2 * QUANTIZE_RANGE)))


def _load_pca(options: Options) -> tuple[Tensor, Tensor]:
    """The PCA matrix (D, D) and means (D,) of the release."""
    path = found.find_file(options.name, options.pca_weights)
    state = found.read_state(path)
    for tensor, size in (("pca_eigen_vectors", DIM * DIM), ("pca_means", DIM)):
        if tensor not in state or state[tensor].numel() != size:
            there = f"has shape {tuple(state[tensor].shape)}" if tensor in state else "is missing"
            raise WeightsError(f"{options.name}: {path} does not fit: {tensor!r} {there}, expected {size} values")
    return state["pca_eigen_vectors"].float().reshape(DIM, DIM), state["pca_means"].float().reshape(DIM)
