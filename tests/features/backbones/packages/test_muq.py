"""MuQ equals the publisher's computation on a file in its format."""

import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from features.backbones import describe, get_record, load
from features.backbones.packages.muq import SIZES
from features.backbones.packages.networks.muq import Muq
from features.errors import WeightsError
from tests.features.backbones.loading.loopback_hub import COMMITS, environment_of, hub
from tests.features.backbones.presets.agreement import agrees

RATE = 24_000
TINY = SIZES["tiny"]
CONFIG = {
    "label_rate": 25,
    "hop_length": 240,
    "encoder_depth": 12,
    "stat": {"melspec_2048_mean": 6.768444971712967, "melspec_2048_std": 18.417922652295623},
    "w2v2_config": {
        "hidden_act": "swish",
        "num_attention_heads": TINY.n_heads,
        "position_embeddings_type": "rotary",
        "rotary_embedding_base": 10000,
    },
}


@pytest.fixture
def write(tmp_path):
    """Write small files in the publisher's format, nothing in them at its initial value; give the weights' path."""

    def write(config=CONFIG, size=TINY):
        generator = torch.Generator().manual_seed(1)
        state = {
            "cls_token": torch.zeros(4),
            "linear.weight": torch.zeros(8, 16),
            "rvq.quantizers.0.codebook.weight": torch.zeros(3, 2),
            "conformer.pos_conv_embed.conv.weight_g": torch.zeros(1, 1, 128),
        }
        for name, tensor in Muq(*size).state_dict().items():
            values = torch.rand(tensor.shape, generator=generator)
            fixed = not tensor.is_floating_point() or name.endswith("inv_freq")
            state[name] = tensor if fixed else values + 0.5 if tensor.ndim == 1 else values - 0.5
        file = tmp_path / "model.safetensors"
        save_file({f"model.{name}": tensor for name, tensor in state.items()}, file)
        (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
        return file

    return write


def by_muq(file, clip):
    """(L, F, D) of one clip: the publisher's `MuQ.forward`, with torchaudio's front end."""
    from torchaudio.transforms import AmplitudeToDB, MelSpectrogram

    state = {name.removeprefix("model."): tensor for name, tensor in load_file(file).items()}

    def linear(x, name):
        return F.linear(x, state[f"{name}.weight"], state.get(f"{name}.bias"))

    def layer_norm(x, name):
        return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"])

    def batch_norm(x, name):
        return F.batch_norm(x, *(state[f"{name}.{key}"] for key in ("running_mean", "running_var", "weight", "bias")))

    def conv2d(x, name, stride):
        return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], stride, padding=1)

    def feed_forward(x, name):
        hidden = F.silu(linear(layer_norm(x, f"{name}_layer_norm"), f"{name}.intermediate_dense"))
        return x + 0.5 * linear(hidden, f"{name}.output_dense")

    def rotated(x, angles):
        first, second = x.chunk(2, dim=-1)
        return x * angles.cos() + torch.cat([-second, first], dim=-1) * angles.sin()

    def attention(x, name):
        heads = x.unflatten(1, (TINY.n_heads, -1))  # [F, H, D / H]
        size = heads.shape[2]
        angles = torch.arange(len(x))[:, None] / 10_000 ** (torch.arange(0, size, 2) / size)
        turned = rotated(heads, torch.cat([angles, angles], dim=1)[:, None]).flatten(1)  # before the projections
        q, k, v = (
            linear(given, f"{name}.linear_{part}").unflatten(1, (TINY.n_heads, -1)).transpose(0, 1)
            for given, part in ((turned, "q"), (turned, "k"), (x, "v"))
        )
        weights = (q @ k.transpose(1, 2) / size**0.5).softmax(-1)
        return linear((weights @ v).transpose(0, 1).flatten(1), f"{name}.linear_out")

    def convolution(x, name):
        x = layer_norm(x, f"{name}.layer_norm").T[None]  # [1, D, F]
        hidden = F.glu(F.conv1d(x, state[f"{name}.pointwise_conv1.weight"]), dim=1)
        hidden = F.conv1d(hidden, state[f"{name}.depthwise_conv.weight"], padding=15, groups=TINY.dim)
        hidden = F.silu(batch_norm(hidden, f"{name}.batch_norm"))
        return F.conv1d(hidden, state[f"{name}.pointwise_conv2.weight"])[0].T

    mel = AmplitudeToDB()(MelSpectrogram(RATE, 2048, hop_length=240, n_mels=128)(torch.from_numpy(clip)[None]))
    x = ((mel[..., :-1] - 6.768444971712967) / 18.417922652295623)[None]  # [1, 1, M, F]
    for block in ("conv.conv.0", "conv.conv.1"):
        inner = F.relu(batch_norm(conv2d(x, f"{block}.conv1", 2), f"{block}.bn1"))
        inner = batch_norm(conv2d(inner, f"{block}.conv2", 1), f"{block}.bn2")
        x = F.relu(batch_norm(conv2d(x, f"{block}.conv3", 2), f"{block}.bn3") + inner)
    states = [linear(x[0].permute(2, 0, 1).flatten(1), "conv.linear")]
    for number in range(TINY.depth):
        layer = f"conformer.layers.{number}"
        x = feed_forward(states[-1], f"{layer}.ffn1")
        x = x + attention(layer_norm(x, f"{layer}.self_attn_layer_norm"), f"{layer}.self_attn")
        x = x + convolution(x, f"{layer}.conv_module")
        states.append(layer_norm(feed_forward(x, f"{layer}.ffn2"), f"{layer}.final_layer_norm"))
    states[-1] = layer_norm(states[-1], "conformer.layer_norm")
    return torch.stack(states).numpy()


def test_clips_have_the_publishers_values(write, make_clips):
    file = write()
    backbone = load({"name": "muq-large-msd-iter", "weights": str(file), "size": "tiny"})
    for clip, frames in zip(clips := make_clips(1025, RATE, 2 * RATE + 77), backbone.embed(clips), strict=True):
        expected = by_muq(file, clip)
        assert frames.shape == expected.shape == (3, -(-(len(clip) // 240) // 4), 16)
        assert np.linalg.norm(frames - expected) / np.linalg.norm(expected) <= 1e-5


def test_a_quiet_clip_is_the_same_beside_a_loud_one(write, make_clips):
    backbone = load({"name": "muq-large-msd-iter", "weights": str(write()), "size": "tiny"})
    loud, other = make_clips(RATE, RATE)
    quiet = 1e-7 * other
    np.testing.assert_allclose(backbone.embed([100 * loud, quiet])[1], backbone.embed([quiet])[0], rtol=1e-5, atol=1e-5)


def test_one_sample_less_than_the_shortest_clip_is_too_short():
    network = Muq(*TINY).eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, 1025)).shape == (1, 3, 1, 16)
        with pytest.raises(RuntimeError, match=r"[Pp]adding size"):
            network(torch.zeros(1, 1024))


def test_the_record_is_that_of_the_network():
    record = get_record("muq-large-msd-iter")
    agrees(record, describe({"name": "muq-large-msd-iter", "weights": "random"}))
    with torch.device("meta"):
        network = Muq(*SIZES["base"])
    assert record.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert record.commercial_use is False


def test_a_frame_sees_as_many_samples_as_the_record_says():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Muq(*TINY._replace(channels=32)).eval()
        waveform = torch.randn(1, RATE, requires_grad=True)
    frames = network.conv(network.log_mels(waveform))
    (gradient,) = torch.autograd.grad(frames[0, 12].sum(), waveform)
    seen = gradient[0].nonzero().flatten()
    window_samples = get_record("muq-large-msd-iter").input.window_samples
    assert int(seen.max() - seen.min()) + 1 == window_samples - 1  # the first value of a Hann window is 0


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"label_rate": 50}, "label_rate is 50, expected 25"),
        ({"stat": {"melspec_2048_mean": 1.5}}, r"stat.melspec_2048_mean is 1.5, expected 6.76\d+"),
        ({"w2v2_config": {"position_embeddings_type": "relative"}}, "w2v2_config.position_embeddings_type is 'rel.*"),
    ],
)
def test_a_variant_with_the_same_shapes_names_its_setting(write, changes, what):
    entry = {"name": "muq-large-msd-iter", "weights": str(write({**CONFIG, **changes})), "size": "tiny"}
    with pytest.raises(WeightsError, match=rf"config\.json: {what}.*: another architecture$"):
        load(entry)


def test_a_file_without_its_configuration_is_taken_as_it_is(write):
    file = write()
    file.with_name("config.json").unlink()
    assert load({"name": "muq-large-msd-iter", "weights": str(file), "size": "tiny"}).spec.dim == 16


def test_a_file_of_another_size_names_a_tensor(write):
    file = write(size=TINY._replace(dim=32))
    with pytest.raises(WeightsError, match=r"^muq-large-msd-iter: .*: does not fit the architecture: '.*'"):
        load({"name": "muq-large-msd-iter", "weights": str(file), "size": "tiny"})


def test_a_missing_file_is_one_line_that_says_where_it_is(tmp_path):
    with pytest.raises(WeightsError, match=r"^muq-large-msd-iter: no file '.*'; .*OpenMuQ/MuQ-large-msd") as caught:
        load({"name": "muq-large-msd-iter", "weights": str(tmp_path / "none.safetensors")})
    assert "\n" not in str(caught.value)


LOAD = """
import sys
from features.backbones import load
from features.errors import WeightsError
for revision in sys.argv[1:]:
    try:
        weights = f"hub:org/model/model.safetensors@{revision}"
        print(load({"name": "muq-large-msd-iter", "weights": weights, "size": "tiny"}).spec.weights_sha256)
    except WeightsError as error:
        print(error)
"""


@pytest.mark.thorough
def test_files_of_the_hub_are_loaded_with_their_configuration(serve, write, tmp_path):
    weights = write().read_bytes()
    other = json.dumps({**CONFIG, "label_rate": 50}).encode()
    files = {
        "main": {"model.safetensors": weights, "config.json": json.dumps(CONFIG).encode()},
        "old": {"model.safetensors": weights, "config.json": other},
    }
    endpoint, _ = serve(hub(files))
    command = [sys.executable, "-c", LOAD, COMMITS["main"], COMMITS["old"]]
    environment = environment_of(endpoint, tmp_path / "hub")
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240, check=True)
    digest, refusal = done.stdout.splitlines()
    assert digest == hashlib.sha256(weights).hexdigest()
    assert refusal.endswith("config.json: label_rate is 50, expected 25: another architecture")
