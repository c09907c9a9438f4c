import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from torchvision.models.vgg import cfgs, make_layers

from fastnst.errors import SettingError, WeightsError
from fastnst.losses.vgg import VGGFeatures, check_layers, layer_names


@pytest.fixture
def image() -> Tensor:
    return torch.rand(1, 3, 34, 41, generator=torch.Generator().manual_seed(0))


def constant_network(layers: list[str], normalization: str = "torchvision", pooling: str = "average") -> VGGFeatures:
    """conv1_1 hands on red, green and blue as its first channels and minus red as its fourth; conv1_2 hands on red."""
    first, second = torch.zeros(64, 3, 3, 3), torch.zeros(64, 64, 3, 3)
    first[0, 0, 1, 1] = first[1, 1, 1, 1] = first[2, 2, 1, 1] = second[0, 0, 1, 1] = 1
    first[3, 0, 1, 1] = -1
    bias = torch.zeros(64)
    network = VGGFeatures("vgg19", layers, pooling=pooling, normalization=normalization)
    network.load_torchvision(
        {"features.0.weight": first, "features.0.bias": bias, "features.2.weight": second, "features.2.bias": bias}
    )
    return network


@pytest.mark.parametrize(("architecture", "configuration"), [("vgg16", "D"), ("vgg19", "E")])
def test_every_layer_equals_torchvisions(architecture: str, configuration: str, image: Tensor) -> None:
    torch.manual_seed(0)
    theirs = make_layers(cfgs[configuration])
    names = layer_names(architecture)
    assert len(names) == len(theirs)
    ours = VGGFeatures(architecture, names, pooling="max")
    ours.load_torchvision({f"features.{key}": value for key, value in theirs.state_dict().items()})
    features = ours(image)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = (image - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    for name, module in zip(names, theirs, strict=True):
        # torchvision's rectifiers work in place.
        x = module(x.clone()).detach()
        assert_close(features[name], x, msg=lambda text, name=name: f"{name}: {text}")


def test_layer_names() -> None:
    names = layer_names("vgg16")
    assert names[:6] == ["conv1_1", "relu1_1", "conv1_2", "relu1_2", "pool1", "conv2_1"]
    assert names[-3:] == ["conv5_3", "relu5_3", "pool5"]
    assert set(layer_names("vgg19")) - set(names) == {
        f"{kind}{block}_4" for kind in ("conv", "relu") for block in (3, 4, 5)
    }


def test_conv_and_relu_are_told_apart(image: Tensor) -> None:
    features = constant_network(["relu1_1", "conv1_1"])(image)
    assert list(features) == ["conv1_1", "relu1_1"]
    assert features["conv1_1"].min() < 0
    assert_close(features["relu1_1"], features["conv1_1"].clamp(min=0))


def test_computes_no_deeper_than_asked(image: Tensor) -> None:
    network = VGGFeatures("vgg19", ["relu2_1", "relu1_1"])
    assert list(network.convolutions) == ["conv1_1", "conv1_2", "conv2_1"]
    features = network(image)
    assert {name: tuple(value.shape) for name, value in features.items()} == {
        "relu1_1": (1, 64, 34, 41),
        "relu2_1": (1, 128, 17, 20),
    }


def test_normalizations_by_hand() -> None:
    pixel = torch.tensor([1.0, 0.5, 0.0]).view(1, 3, 1, 1)
    found = constant_network(["conv1_1"])(pixel)["conv1_1"].flatten()[:4]
    # (1 - 0.485) / 0.229, (0.5 - 0.456) / 0.224, (0 - 0.406) / 0.225.
    assert_close(found, torch.tensor([2.248908, 0.196429, -1.804444, -2.248908]))
    pixel = torch.tensor([1.0, 0.2, 0.0]).view(1, 3, 1, 1)
    found = constant_network(["conv1_1"], "caffe")(pixel)["conv1_1"].flatten()[:4]
    # 255 - 123.68, 51 - 116.779, 0 - 103.939: red first, not divided.
    assert_close(found, torch.tensor([131.32, -65.779, -103.939, -131.32]), rtol=1e-5, atol=1e-4)


def test_pooling_by_hand() -> None:
    # Red of four pixels, 1, 0, -1 and 2 once normalised; -1 is rectified to 0.
    image = torch.full((1, 3, 2, 2), 0.485)
    image[0, 0] = torch.tensor([[0.714, 0.485], [0.256, 0.943]])
    for pooling, expected in (("average", (1 + 0 + 0 + 2) / 4), ("max", 2.0)):
        pooled = constant_network(["pool1"], pooling=pooling)(image)["pool1"]
        assert pooled.shape == (1, 64, 1, 1)
        assert_close(pooled[0, 0].item(), expected, rtol=1e-5, atol=1e-5)


def test_is_frozen_but_passes_gradients(image: Tensor) -> None:
    network = VGGFeatures("vgg16", ["relu2_1"]).train()
    assert not any(parameter.requires_grad for parameter in network.parameters())
    image.requires_grad_()
    network(image)["relu2_1"].sum().backward()
    assert image.grad is not None
    assert image.grad.abs().sum() > 0


def test_gradient(image: Tensor) -> None:
    torch.manual_seed(0)
    network = VGGFeatures("vgg16", ["conv1_2"]).double()
    small = image[..., :2, :3].double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: network(x)["conv1_2"][:, :3], small)


def test_leaves_the_image_alone(image: Tensor) -> None:
    before = image.clone()
    constant_network(["relu1_1"])(image)
    assert_close(image, before, rtol=0, atol=0)


def test_unknown_layers_name_the_nearest_and_none_is_an_error() -> None:
    with pytest.raises(SettingError, match="vgg16 has no layer 'relu5_4'; did you mean 'relu"):
        VGGFeatures("vgg16", ["relu5_4"])
    with pytest.raises(SettingError, match="vgg19 has no layer 'conv42'; did you mean 'conv4_2'"):
        check_layers("vgg19", ["relu1_1", "conv42"])
    with pytest.raises(SettingError, match="at least one layer"):
        VGGFeatures("vgg19", [])


def test_smallest_side_is_just_enough() -> None:
    network = VGGFeatures("vgg16", ["relu3_1"])
    assert network.smallest_side == 4
    assert network(torch.rand(1, 3, 4, 9))["relu3_1"].shape[2:] == (1, 2)
    with pytest.raises(SettingError, match="too small for relu3_1: nothing is left at pool2"):
        network(torch.rand(1, 3, 3, 9))


def test_weights_that_do_not_fit_are_named() -> None:
    network = VGGFeatures("vgg19", ["relu1_2"])
    state = {"features.0.weight": torch.zeros(64, 3, 3, 3), "features.0.bias": torch.zeros(64)}
    with pytest.raises(WeightsError, match=r"features\.2\.weight \(conv1_2\) is missing, expected \(64, 64, 3, 3\)"):
        network.load_torchvision(state)
    state = {"features.0.weight": torch.zeros(64, 3, 3, 3), "features.0.bias": torch.zeros(64)}
    state["features.0.weight"][5, 1, 1, 1] = float("nan")
    with pytest.raises(WeightsError, match=r"features.0.weight \(conv1_1\) has values that are no finite numbers"):
        VGGFeatures("vgg19", ["conv1_1"]).load_torchvision(state)
    network = VGGFeatures("vgg19", ["relu1_1"])
    state = {"features.0.weight": torch.zeros(64, 1, 3, 3), "features.0.bias": torch.zeros(64)}
    with pytest.raises(WeightsError, match=r"features\.0\.weight \(conv1_1\) has shape \(64, 1, 3, 3\)"):
        network.load_torchvision(state)
