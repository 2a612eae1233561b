"""Every model of the table: shapes, gradients, and the weights it starts from."""

import pytest
import torch

from features.errors import ConfigError, WeightsError
from heads import models
from heads.models.options import CnnOptions, CrnnOptions, ImageOptions, M5Options

CASES = {
    "m5": (M5Options(name="m5"), (2, 8000, 1)),
    "cnn": (CnnOptions(name="cnn"), (2, 30, 24)),
    "cnn-normalised": (CnnOptions(name="cnn", batch_norm=True), (2, 3, 24)),
    "crnn": (CrnnOptions(name="crnn", hidden=8), (2, 30, 24)),
    "resnet18": (ImageOptions(name="resnet18", weights="none", image_size=32), (2, 30, 24)),
    "mobilenet_v3_small": (ImageOptions(name="mobilenet_v3_small", weights="none", image_size=32), (2, 30, 24)),
}


def one_step(options, shape, n_classes=5):
    torch.manual_seed(0)
    network = models.build(options, shape[2], n_classes)
    inputs = torch.randn(shape)
    return network, network(inputs, torch.full((shape[0],), shape[1]))


@pytest.mark.parametrize("case", CASES)
def test_logits_have_a_column_per_class_and_every_parameter_a_gradient(case):
    network, logits = one_step(*CASES[case])
    assert logits.shape == (2, 5)
    logits.square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_m5_is_the_published_network():
    network, _ = one_step(M5Options(name="m5"), (2, 32_000, 1), n_classes=10)
    convolutions = [part for part in network.modules() if isinstance(part, torch.nn.Conv1d)]
    assert [(c.in_channels, c.out_channels, *c.kernel_size, *c.stride) for c in convolutions] == [
        (1, 128, 80, 4),
        (128, 128, 3, 1),
        (128, 256, 3, 1),
        (256, 512, 3, 1),
    ]
    assert sum(parameter.numel() for parameter in network.parameters()) == 559_114
    shortest = models.shortest_input(M5Options(name="m5"))
    network.eval()
    assert network(torch.randn(1, shortest, 1), torch.tensor([shortest])).shape == (1, 10)
    with pytest.raises(RuntimeError):
        network(torch.randn(1, shortest - 1, 1), torch.tensor([shortest - 1]))


def image(channels, name="resnet18"):
    torch.manual_seed(0)
    return models.build(ImageOptions(name=name, weights="none", image_size=32, input_channels=channels), 24, 5)


def test_one_input_channel_computes_what_three_equal_ones_do():
    state = {name: value for name, value in image(3).classifier.state_dict().items()}
    one, three = image(1).eval(), image(3).eval()
    for network in (one, three):
        network.load_pretrained(state, "test")
    inputs, lengths = torch.randn(2, 30, 24), torch.tensor([30, 30])
    assert torch.allclose(one(inputs, lengths), three(inputs, lengths), atol=1e-5)


def test_pretrained_weights_keep_all_but_the_output_layer():
    from torchvision.models import resnet18

    torch.manual_seed(1)
    state = resnet18().state_dict()  # 1000 classes
    network = image(3)
    before = network.classifier.fc.weight.clone()
    network.load_pretrained(state, "test")
    assert torch.equal(network.classifier.fc.weight, before)
    assert torch.equal(network.classifier.layer4[0].conv1.weight, state["layer4.0.conv1.weight"])


def test_weights_of_another_architecture_are_refused():
    from torchvision.models import resnet34

    with pytest.raises(WeightsError, match=r"resnet34\.pth: does not fit the architecture: 'fc\.weight' is missing"):
        image(3).load_pretrained(
            {k: v for k, v in resnet34().state_dict().items() if "fc.weight" not in k}, "resnet34.pth"
        )
    with pytest.raises(WeightsError, match="is missing"):
        image(3).load_pretrained({}, "empty.pth")


def test_imagenet_weights_have_an_address_with_a_hash():
    from heads.models.resnet import imagenet_url

    url, name = imagenet_url(ImageOptions(name="resnext101_32x8d"))
    assert name == "imagenet1k_v1"
    assert url.startswith("https://download.pytorch.org/models/resnext101_32x8d-")
    assert imagenet_url(ImageOptions(name="resnext101_32x8d", weights="imagenet1k_v2"))[1] == "imagenet1k_v2"
    with pytest.raises(ConfigError, match="use one of imagenet, IMAGENET1K_V1, none"):
        imagenet_url(ImageOptions(name="resnet18", weights="imagenet1k_v7"))


def test_a_waveform_has_no_bands_to_mask():
    with pytest.raises(ValueError, match="no bands to mask"):
        M5Options(name="m5", augment={"frequency_mask_bands": 3})
