"""VGGish (Hershey et al. 2017) as in torchvggish, with a batched log-mel frontend on the device."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from features.backbones.base import Bundle, check_precision, load_strictly
from features.backbones.family import Candidate, EndToEndTraining, Family
from features.backbones.loading import weights as found
from features.backbones.loading.digests import file_sha256, text_sha256
from features.backbones.networks.vggish_frontend import HOP_LENGTH, PATCH_FRAMES, PATCH_SAMPLES, SAMPLE_RATE
from features.backbones.options import BackboneOptions
from features.backbones.presets.record import InputContract, Preset
from features.errors import WeightsError
from features.spec import BackboneSpec

if TYPE_CHECKING:
    from torch import Tensor

    from features.backbones.networks.vggish import VggishBackbone

RELEASE = "https://github.com/harritaylor/torchvggish/releases/download/v0.1/"
DIM = 128
WEIGHTS, PCA_WEIGHTS = "model.safetensors", "pca.safetensors"  # files of a bundle

FAMILY = Family(
    weights_from="web",
    libraries=("torchvggish",),
    batch_s={"cpu": 80.0},  # with batches of 20 s, reading the large weights takes much of the time
    end_to_end=EndToEndTraining(frozen_part="features"),
    record=Preset(
        files=("vggish-10086976.pth",),
        input=InputContract(
            sample_rate_hz=SAMPLE_RATE,
            window_samples=PATCH_SAMPLES,
            hop_samples=PATCH_FRAMES * HOP_LENGTH,
            shortest_s=PATCH_SAMPLES / SAMPLE_RATE,
            normalisation="log-mels of 64 bands",
            padding="zeros to one patch; an incomplete last patch is dropped",
        ),
        layers=1,
        layer_order="the embedding of each patch",
        dim=DIM,
        parameters=72_141_184,
        licence="apache-2.0",
        citation="Hershey et al. 2017, arXiv:1609.09430",
        pretrained_on=("YouTube-8M",),
    ),
    candidates=(Candidate("vggish", "pretrained on the sound of videos", False, 0.96, 1.9),),
)


class Options(BackboneOptions):
    """An entry of `features.backbones` for VGGish."""

    weights: str = Field(RELEASE + "vggish-10086976.pth", description="URL, `.pth`, `.safetensors` or `random`")
    seed: int = Field(0, ge=0, description="for `random`: seed of the weights")
    postprocess: bool = Field(False, description="PCA, whitening and 8-bit quantisation as in AudioSet's release")
    pca_weights: str = Field(RELEASE + "vggish_pca_params-970ea276.pth", description="for `postprocess`")


def summary(options: Any) -> dict[str, Any]:
    """Return the columns of `audioheads backbones ls`."""
    return {
        "weights": "torchvggish release v0.1",
        "sample_rate_hz": SAMPLE_RATE,
        "summary": "one 128-d vector per 0.96 s",
    }


def describe(options: Options) -> BackboneSpec:
    """Return the spec; weights are found and hashed, but not loaded.

    Raises:
        WeightsError: The weights cannot be found or downloaded.
    """
    if options.weights == found.RANDOM:
        digest = text_sha256({"random": options.seed, "network": "torchvggish 0.2 VGG"})
    else:
        digest = file_sha256(found.find_file(options.title, options.weights))
    settings: dict[str, Any] = {"postprocess": options.postprocess}
    if options.postprocess:
        settings["pca_sha256"] = file_sha256(found.find_file(options.title, options.pca_weights))
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
    import torch
    from torchvggish.torchvggish import VGG, make_layers

    from features.backbones.networks.vggish import VggishBackbone

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        module = VGG(make_layers(), postprocess=False)
    if options.weights != found.RANDOM:
        state = found.read_state(found.find_file(options.title, options.weights))
        load_strictly(module, state, f"{options.title}: {options.weights}", ignore=("pproc.",))
    pca = _load_pca(options) if options.postprocess else None
    return VggishBackbone(module.eval(), spec, torch.device(device), check_precision(precision), pca)


def bundle(options: Options, spec: BackboneSpec, folder: Path) -> Bundle:
    """Save the network's weights, and those of the PCA if it is used, as safetensors."""
    from safetensors.torch import save_file

    backbone = load(options, spec, device="cpu", precision="fp32")
    save_file({name: tensor.contiguous() for name, tensor in backbone.module.state_dict().items()}, folder / WEIGHTS)
    if backbone.pca is None:
        return Bundle({"weights": WEIGHTS})
    matrix, means = backbone.pca
    save_file({"pca_eigen_vectors": matrix.contiguous(), "pca_means": means.contiguous()}, folder / PCA_WEIGHTS)
    return Bundle({"weights": WEIGHTS, "pca_weights": PCA_WEIGHTS})


def blank(options: Options) -> dict[str, Any]:
    """Return the options for random weights; the architecture is always the same."""
    return {"weights": found.RANDOM}


def _load_pca(options: Options) -> tuple[Tensor, Tensor]:
    """Return the PCA matrix (D, D) and means (D,) of the release."""
    path = found.find_file(options.title, options.pca_weights)
    state = found.read_state(path)
    for tensor, size in (("pca_eigen_vectors", DIM * DIM), ("pca_means", DIM)):
        if tensor not in state or state[tensor].numel() != size:
            there = f"has shape {tuple(state[tensor].shape)}" if tensor in state else "is missing"
            raise WeightsError(f"{options.title}: {path} does not fit: {tensor!r} {there}, expected {size} values")
    return state["pca_eigen_vectors"].float().reshape(DIM, DIM), state["pca_means"].float().reshape(DIM)
