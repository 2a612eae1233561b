"""PaSST (Koutini et al. 2022), transformers trained with patchout: a network of this project that loads the files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from pydantic import Field

from features.backbones.base import Bundle
from features.backbones.family import Family
from features.backbones.packages.published_file import FileOptions, build_network, save_copy, weights_digest
from features.backbones.presets.record import InputContract, Preset
from features.spec import BackboneSpec

if TYPE_CHECKING:
    from features.backbones.packages.networks.passt import PasstBackbone


class Size(NamedTuple):
    """The size of a network: width, number of layers, attention heads of a layer."""

    dim: int
    depth: int
    n_heads: int


SAMPLE_RATE = 32_000
HOP_LENGTH: Final = 320
WINDOW_S: Final = 10
PATCH = 16  # frames of the spectrogram
SIZES = {"base": Size(768, 12, 12), "light": Size(768, 7, 12), "tiny": Size(16, 2, 2)}
PAGE = "https://github.com/kkoutini/PaSST/releases"
FILES_ARE_AT = f"the files are at {PAGE}"
NOT_USED = ("head.", "head_dist.")  # the classifiers


def shortest_s(hop_length: int) -> float:
    """Return the length of one patch in seconds; pre-emphasis takes a sample."""
    return ((PATCH - 1) * hop_length + 1) / SAMPLE_RATE


def n_times(window_s: int, hop_length: int, patch_stride: int) -> int:
    """Return the number of position embeddings along time, for patches of a window."""
    frames = window_s * SAMPLE_RATE // hop_length
    return (998 if frames == 1_000 else frames) // patch_stride  # the publisher counts 998 frames in 10 s


def _input(window_s: int = WINDOW_S, hop_length: int = HOP_LENGTH) -> InputContract:
    """Return the input of a network."""
    return InputContract(
        sample_rate_hz=SAMPLE_RATE,
        window_samples=window_s * SAMPLE_RATE,
        hop_samples=window_s * SAMPLE_RATE,
        shortest_s=shortest_s(hop_length),
        longest_s=window_s,
        normalisation="pre-emphasis; logarithm of 128 mel bands from 0 to 15000 Hz, plus 4.5, divided by 5",
        padding="zeros to the shortest length; clips of one length are processed together",
    )


_BASE = Preset(  # facts from hear21passt 0.0.26 (passt.py, preprocess.py, base.py) and the README files of PaSST
    weights="weights/passt-s-f128-p16-s10-ap.476-swa.pt",
    files=("passt-s-f128-p16-s10-ap.476-swa.pt",),
    page=PAGE,
    input=_input(),
    layers=SIZES["base"].depth,
    layer_order="the mean of the two class tokens after each layer; after the last, normed, the published embedding",
    dim=SIZES["base"].dim,
    parameters=85_341_696,
    licence="apache-2.0",
    citation="Koutini et al. 2022, Efficient training of audio transformers with patchout, arXiv:2110.05069",
    pretrained_on=("ImageNet",),
    finetuned_on=("AudioSet",),
)


def _preset(file: str, parameters: int = 85_341_696, **changes: Any) -> Preset:
    """Return the record of another file."""
    return replace(_BASE, weights=f"weights/{file}", files=(file,), parameters=parameters, **changes)


def _strided(file: str, stride: int, parameters: int, **changes: Any) -> Preset:
    """Return the record of a file for patches that overlap less."""
    return _preset(file, parameters, options={"patch_stride": stride}, **changes)


def _of_window(file: str, parameters: int, **window: int) -> Preset:
    """Return the record of a file for another window or hop."""
    return _preset(file, parameters, options=window, input=_input(**window))


_FSD50K = ("AudioSet", "FSD50K")

# the publisher's names; `s`, `u`, `b` and `l` are structured, unstructured and no patchout, and a light network
PRESETS = {
    "passt-s-swa-p16-128-ap476": _BASE,
    "passt-s-kd-p16-128-ap486": _preset("passt-s-kd-ap.486.pt"),
    "passt-l-kd-p16-128-ap47": _preset(
        "passt-l-kd-ap.47.pt", 49_902_336, options={"size": "light"}, layers=SIZES["light"].depth
    ),
    "passt-s-swa-p16-s12-128-ap473": _strided("passt-s-f128-p16-s12-ap.473-swa.pt", 12, 85_327_872),
    "passt-s-swa-p16-s14-128-ap471": _strided("passt-s-f128-p16-s14-ap.471-swa.pt", 14, 85_317_888),
    "passt-s-swa-p16-s16-128-ap473": _strided("passt-s-f128-p16-s16-ap.473-swa.pt", 16, 85_310_208),
    "passt-s-p16-s16-128-ap468": _strided("passt-s-f128-p16-s16-ap.468.pt", 16, 85_310_208),
    "passt-b-f128-p16-s16-ap459": _strided("passt-b-f128-p16-s16-ap.459.pt", 16, 85_310_208),
    "passt-u600-f128-p16-s16-ap460": _strided("passt-u600-f128-p16-s16-ap.460.pt", 16, 85_310_208),
    "passt-s-swa-f128-stfthop160-p16-s10-ap473": _of_window(
        "passt-s-f128-stfthop160-p16-s10-ap.473-swa.pt", 85_419_264, hop_length=160
    ),
    "passt-s-swa-f128-stfthop100-p16-s10-ap473": _of_window(
        "passt-s-f128-stfthop100-p16-s10-ap.473-swa.pt", 85_511_424, hop_length=100
    ),
    "passt-s-f128-20sec-p16-s10-ap474-swa": _of_window(
        "passt-s-f128-20sec-p16-s10-ap.474-swa.pt", 85_419_264, window_s=20
    ),
    "passt-s-f128-30sec-p16-s10-ap473-swa": _of_window(
        "passt-s-f128-30sec-p16-s10-ap.473-swa.pt", 85_496_064, window_s=30
    ),
    "fsd50k-passt-s-f128-p16-s10-ap655": _preset("fsd50k-passt-s-f128-p16-s10-ap.655.pt", finetuned_on=_FSD50K),
    "fsd50k-passt-s-n-f128-p16-s16-ap642": _strided(
        "fsd50k-passt-s-n-f128-p16-s16-ap.642.pt", 16, 85_310_208, finetuned_on=_FSD50K
    ),
    "openmic-passt-s-f128-10sec-p16-s10-ap85": _preset(
        "openmic-passt-s-f128-10sec-p16-s10-ap.85.pt", finetuned_on=("AudioSet", "OpenMIC-2018")
    ),
    "esc50-passt-s-n-f128-p16-s10-fold1-acc967": _preset(
        "esc50-passt-s-n-f128-p16-s10-fold1-acc.967.pt", finetuned_on=("AudioSet", "ESC-50")
    ),
}

FAMILY = Family(presets=PRESETS, weights_from="file", libraries=("torchaudio",), fp32_only=True)


class Options(FileOptions):
    """An entry of `features.backbones` for PaSST."""

    weights: str = Field(description="local file `….pt` of the publisher's releases, `.safetensors`, or `random`")
    size: Literal["tiny", "light", "base"] = Field(
        "base", description="the size of the network; the published weights are `base`, or `light` (`passt-l-…`)"
    )
    patch_stride: Literal[10, 12, 14, 16] = Field(
        10, description="mel bands and frames from one patch to the next, the `s…` of the file's name"
    )
    hop_length: Literal[100, 160, 320] = Field(
        HOP_LENGTH, description="samples from one frame of the spectrogram to the next, the `stfthop…` of the name"
    )
    window_s: Literal[10, 20, 30] = Field(
        WINDOW_S, description="seconds for which the file has position embeddings, the `…sec` of the name"
    )
    embedding: Literal["frames", "pooled"] = Field(
        "pooled", description="each layer's class tokens, or frames to pool: patches averaged over the mel bands"
    )


def summary(options: Any) -> dict[str, Any]:
    """Return the columns of `audioheads backbones ls`."""
    return {
        "weights": getattr(options, "weights", "local .pt"),
        "sample_rate_hz": SAMPLE_RATE,
        "summary": "PaSST: class tokens of a transformer of spectrogram patches, every layer",
    }


def describe(options: Options) -> BackboneSpec:
    """Return the spec; the file is found and hashed, but not loaded.

    Raises:
        WeightsError: The file does not exist.
    """
    shape = {key: getattr(options, key) for key in ("size", "patch_stride", "hop_length", "window_s")}
    pooled = options.embedding == "pooled"
    longest_s = min(options.max_duration_s, float(options.window_s))
    settings = {key: getattr(options, key) for key in ("patch_stride", "hop_length", "embedding")}
    dim, depth, _ = SIZES[options.size]
    return BackboneSpec(
        name=options.name,
        family="passt",
        weights=options.weights,
        weights_sha256=weights_digest(options, {"network": "PaSST", **shape}, FILES_ARE_AT),
        sample_rate=SAMPLE_RATE,
        layers=tuple(range(depth if pooled else depth + 1)),
        dim=dim,
        frame_rate=1 / longest_s if pooled else SAMPLE_RATE / (options.hop_length * options.patch_stride),
        min_duration_s=shortest_s(options.hop_length),
        max_duration_s=longest_s,
        settings={"whole": pooled, "batched": True, **settings},
    )


def load(options: Options, spec: BackboneSpec, *, device: str, precision: str) -> PasstBackbone:
    """Build the network and load its weights; it runs in float32, and `precision` is ignored.

    Raises:
        WeightsError: The weights do not fit the architecture.
    """
    import torch

    from features.backbones.packages.networks.passt import Passt, PasstBackbone, Shape

    times = n_times(options.window_s, options.hop_length, options.patch_stride)
    shape = Shape(*SIZES[options.size], options.patch_stride, options.hop_length, times)
    module = build_network(
        options, lambda: Passt(shape, options.embedding), part="model", ignore=NOT_USED, where=FILES_ARE_AT
    )
    return PasstBackbone(module, spec, torch.device(device))


def bundle(options: Options, spec: BackboneSpec, folder: Path) -> Bundle:
    """Save the network's weights as safetensors."""
    return save_copy(load(options, spec, device="cpu", precision="fp32").module, folder)
