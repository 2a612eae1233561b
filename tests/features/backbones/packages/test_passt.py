"""PaSST equals the publisher's computation on a file in its format."""

import pytest
import torch
import torch.nn.functional as F

from features.backbones import describe, get_record, load
from features.backbones.contract.checks import relative_error
from features.backbones.packages.networks.passt import Passt, Shape
from features.backbones.packages.passt import HOP_LENGTH, PRESETS, SIZES, WINDOW_S, n_times
from features.backbones.presets.corpora import CORPORA
from features.backbones.presets.exposure import exposure
from features.errors import WeightsError
from tests.features.backbones.packages.timm_blocks import block, normed
from tests.features.backbones.presets.agreement import agrees

RATE = 32_000
DIM, DEPTH, N_HEADS = SIZES["tiny"]
USUAL = (12, 99)  # bands and times of the position embeddings
GRIDS = [
    ({}, USUAL),
    ({"patch_stride": 16}, (8, 62)),
    ({"hop_length": 160}, (12, 200)),
    pytest.param({"patch_stride": 12}, (10, 83), marks=pytest.mark.thorough),
    pytest.param({"patch_stride": 14}, (9, 71), marks=pytest.mark.thorough),
    pytest.param({"hop_length": 100}, (12, 320), marks=pytest.mark.thorough),
    pytest.param({"window_s": 20}, (12, 200), marks=pytest.mark.thorough),
    pytest.param({"window_s": 30}, (12, 300), marks=pytest.mark.thorough),
]


def checkpoint(folder, grid):
    """A small file in the publisher's format, nothing in it at its initial value."""
    generator = torch.Generator().manual_seed(1)
    network = Passt(Shape(*SIZES["tiny"], 10, HOP_LENGTH, 99), "pooled")
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
    shapes |= {"freq_new_pos_embed": (1, DIM, grid[0], 1), "time_new_pos_embed": (1, DIM, 1, grid[1])}
    shapes |= {"head.0.weight": (DIM,), "head.1.weight": (527, DIM), "head_dist.weight": (527, DIM)}
    state = {name: torch.rand(shape, generator=generator) - 0.4 for name, shape in shapes.items()}
    file = folder / "passt.pt"
    torch.save(state, file)
    return file


def by_passt(file, clip, stride=10, hop=HOP_LENGTH):
    """States (2 + bands * times, D) of one clip before and after each block: the publisher's `PaSST.forward`."""
    from torchaudio.compliance.kaldi import get_mel_banks

    state = torch.load(file, weights_only=True)

    x = F.conv1d(torch.from_numpy(clip)[None, None], torch.tensor([[[-0.97, 1]]]))[0]
    window = torch.hann_window(800, periodic=False)
    spectrum = torch.stft(x, 1024, hop, 800, window, center=True, return_complex=True)
    bank = F.pad(get_mel_banks(128, 1024, 32_000, 0.0, 15_000, 100.0, -500.0, 1.0)[0], (0, 1))
    x = ((torch.matmul(bank, torch.view_as_real(spectrum).square().sum(-1)) + 0.00001).log() + 4.5) / 5.0
    x = F.conv2d(x[:, None], state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride=stride)
    x = x + state["time_new_pos_embed"][:, :, :, : x.shape[-1]] + state["freq_new_pos_embed"]
    first = state["cls_token"] + state["new_pos_embed"][:, :1]
    second = state["dist_token"] + state["new_pos_embed"][:, 1:]
    x = torch.cat((first, second, x.flatten(2).transpose(1, 2)), dim=1)[0]
    states = [x]
    for at in range(DEPTH):
        x = block(state, x, f"blocks.{at}", N_HEADS)
        states.append(x)
    states[-1] = normed(state, x, "norm")
    return torch.stack(states).numpy()


@pytest.mark.parametrize(("options", "grid"), GRIDS)
def test_clips_have_the_publishers_values(options, grid, tmp_path, make_clips):
    file = checkpoint(tmp_path, grid)
    backbone = load({"name": "passt", "weights": str(file), "size": "tiny", **options})
    stride, hop = options.get("patch_stride", 10), options.get("hop_length", HOP_LENGTH)
    clips = make_clips(15 * hop + 1, RATE + 77, RATE * options.get("window_s", WINDOW_S))  # the shortest, the longest
    for clip, frames in zip(clips, backbone.embed(clips), strict=True):
        states = by_passt(file, clip, stride, hop)
        assert relative_error(frames, states[1:, :2].mean(1, keepdims=True)) <= 1e-5


def test_frames_are_the_patches_of_each_moment(tmp_path, make_clips):
    file = checkpoint(tmp_path, USUAL)
    backbone = load({"name": "passt", "weights": str(file), "size": "tiny", "embedding": "frames"})
    (clip,) = make_clips(3 * RATE)
    patches = by_passt(file, clip)[:, 2:].reshape(DEPTH + 1, USUAL[0], -1, DIM)
    assert relative_error(backbone.embed([clip])[0], patches.mean(1)) <= 1e-5
    assert patches.shape[2] == pytest.approx(3 * backbone.spec.frame_rate, abs=1)


def test_one_sample_less_than_the_shortest_clip_is_too_short():
    network = Passt(Shape(*SIZES["tiny"], 10, HOP_LENGTH, 99), "frames").eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, 4_801)).shape == (1, DEPTH + 1, 1, DIM)
        with pytest.raises(RuntimeError, match=r"[Kk]ernel size"):
            network(torch.zeros(1, 4_800))


@pytest.mark.parametrize("name", PRESETS)
def test_the_record_is_that_of_the_network(name):
    record = get_record(name)
    agrees(record, describe({"name": name, "weights": "random"}))
    size, stride = record.options.get("size", "base"), record.options.get("patch_stride", 10)
    hop, window_s = record.options.get("hop_length", HOP_LENGTH), record.options.get("window_s", WINDOW_S)
    with torch.device("meta"):
        network = Passt(Shape(*SIZES[size], stride, hop, n_times(window_s, hop, stride)), "pooled")
    assert record.parameters == sum(parameter.numel() for parameter in network.parameters())


def test_the_corpora_of_fine_tuned_files_are_seen():
    marks = {
        name: exposure(record, CORPORA[corpus]).mark
        for name, record in PRESETS.items()
        for corpus in ("FSD50K", "ESC-50", "OpenMIC-2018")
        if corpus in record.finetuned_on
    }
    assert marks == {
        "fsd50k-passt-s-f128-p16-s10-ap655": "saw FSD50K",
        "fsd50k-passt-s-n-f128-p16-s16-ap642": "saw FSD50K",
        "openmic-passt-s-f128-10sec-p16-s10-ap85": "saw OpenMIC-2018",
        "esc50-passt-s-n-f128-p16-s10-fold1-acc967": "saw ESC-50",
    }
    assert exposure(PRESETS["fsd50k-passt-s-f128-p16-s10-ap655"], CORPORA["ESC-10"]).mark == "saw its source"
    assert exposure(PRESETS["passt-s-swa-p16-128-ap476"], CORPORA["ESC-50"]).mark == "none known"


def test_a_file_for_other_patches_names_a_tensor(tmp_path):
    file = checkpoint(tmp_path, (8, 62))
    with pytest.raises(WeightsError, match=r"passt\.pt: does not fit the architecture: 'freq_new_pos_embed' has shape"):
        load({"name": "passt", "weights": str(file), "size": "tiny"})


def test_a_missing_file_is_one_line_that_says_where_it_is(tmp_path):
    with pytest.raises(WeightsError, match=r"^passt-s-kd-p16-128-ap486: no file '.*'; .*kkoutini/PaSST/releases$"):
        describe({"name": "passt-s-kd-p16-128-ap486", "weights": str(tmp_path / "none.pt")})
