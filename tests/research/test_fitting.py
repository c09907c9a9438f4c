from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.testing import assert_close

from fastnst.losses.compact import SHAPES, CompactFeatures, Shape
from fastnst.losses.losses import gram_matrix
from fastnst.losses.vgg import VGGFeatures
from fastnst.research.fitting import Fitter, choose_channels, principal_basis, regress

PATH = ("conv1_1", "conv1_2", "conv2_1")


@pytest.fixture
def teacher(loss_weights: Path) -> VGGFeatures:
    network = VGGFeatures("vgg19", PATH)
    network.load_torchvision(load_file(loss_weights))
    return network


@pytest.fixture
def images() -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.rand(1, 3, 24, 24, generator=generator) for _ in range(6)]


def fitted(teacher: VGGFeatures, images: list[Tensor]) -> tuple[CompactFeatures, Fitter, list[float]]:
    network = CompactFeatures(["relu1_1", "relu2_1"])
    fitter = Fitter(network, teacher, images, None)
    return network, fitter, [fitter.fit(name).convolution for name in PATH]


def test_channels_that_explain_the_others() -> None:
    a, b, c = torch.randn(3, 500, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    responses = torch.stack([0.1 * c, a, a + b, 2 * a + 0.01 * c, b, -b], dim=1)
    chosen = choose_channels(responses, 2).tolist()
    assert 0 not in chosen  # little in it
    basis = responses[:, chosen]
    assert (responses - basis @ regress(basis, responses, ridge=0, constant=False)).abs().max() < 0.5
    assert choose_channels(responses, 6).tolist() == [0, 1, 2, 3, 4, 5]


def test_principal_components_are_about_the_origin() -> None:
    # Far from the origin and spread across: the first component points at the mean, not along the spread.
    spread = torch.linspace(-1, 1, 21, dtype=torch.float64)
    responses = torch.stack([torch.full_like(spread, 10), spread], dim=1)
    assert_close(principal_basis(responses, 1).abs(), torch.tensor([[1.0, 0.0]], dtype=torch.float64))


def test_a_gram_matrix_is_kept_by_all_components() -> None:
    features = torch.randn(1, 6, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64).relu()
    basis = principal_basis(features.flatten(2)[0].T, 6)
    turned = torch.einsum("dc,bchw->bdhw", basis, features)
    assert_close(gram_matrix(turned).square().sum(), gram_matrix(features).square().sum())


def test_regression_by_hand() -> None:
    inputs = torch.tensor([[0.0], [1.0], [2.0]], dtype=torch.float64)
    assert_close(regress(inputs, 3 * inputs + 5, ridge=0), torch.tensor([[3.0], [5.0]], dtype=torch.float64))
    assert_close(regress(inputs, 3 * inputs, ridge=0, constant=False), torch.tensor([[3.0]], dtype=torch.float64))


def test_first_layer_is_the_teachers_own(teacher: VGGFeatures, images: list[Tensor]) -> None:
    network, fitter, errors = fitted(teacher, images)
    assert errors[0] < 1e-3  # a convolution of the pixels themselves: exact, but for the borders
    features = teacher(images[0])["conv1_1"].relu()
    wanted = torch.nn.functional.conv2d(features, fitter.bases["relu1_1"])
    missed = (network(images[0])["relu1_1"] - wanted)[..., 1:-1, 1:-1].square().mean() / wanted.var()
    assert missed < 0.2  # 16 of the 64 channels of a random teacher


def test_more_channels_fit_better(teacher: VGGFeatures, images: list[Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    heads = []
    for channels in (2, 8, 32):
        monkeypatch.setitem(SHAPES, "conv1_1", Shape(channels))
        fitter = Fitter(CompactFeatures(["relu1_1"]), teacher, images, None)
        heads.append(fitter.fit("conv1_1").head)
    assert heads[0] > heads[1] > heads[2]


def test_a_convolution_of_full_rank_and_all_channels_is_exact(
    teacher: VGGFeatures, images: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, shape in zip(PATH, (Shape(64), Shape(64, 64, 64), Shape(128, 64, 128)), strict=True):
        monkeypatch.setitem(SHAPES, name, shape)
    _, _, errors = fitted(teacher, images)
    assert max(errors) < 0.02


def test_low_rank_is_worse_than_full(
    teacher: VGGFeatures, images: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SHAPES, "conv1_1", Shape(64))
    errors = {}
    for rank in (2, 16, 64):
        monkeypatch.setitem(SHAPES, "conv1_2", Shape(64, 64, rank))
        _, _, (_, errors[rank], _) = fitted(teacher, images)
    assert errors[2] > errors[16] > errors[64]


def test_same_images_same_weights(teacher: VGGFeatures, images: list[Tensor]) -> None:
    first, second = fitted(teacher, images)[0], fitted(teacher, images)[0]
    for own, other in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert_close(own, other)
