import pytest
import torch
from torch.testing import assert_close

from fastnst.losses import products
from fastnst.losses.products import self_product


@pytest.fixture
def features() -> torch.Tensor:
    return torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_self_product_by_hand() -> None:
    # Channels a = (1, 2) and b = (3, 4): aa = 5, ab = 11, bb = 25.
    given = torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]])
    assert_close(self_product(given), torch.tensor([[[5.0, 11.0], [11.0, 25.0]]]))


def test_its_gradient_by_hand() -> None:
    # Of the entry (a, b) alone: b's values for a, a's for b.
    given = torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]], requires_grad=True)
    self_product(given)[0, 0, 1].backward()
    assert_close(given.grad, torch.tensor([[[[3.0, 4.0]], [[1.0, 2.0]]]]))


@pytest.mark.parametrize("positions", [1, 7, 20, 1000])
def test_parts_add_up(positions: int, features: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_POSITIONS", positions)
    flat = features.flatten(2)
    assert_close(self_product(features), flat @ flat.mT)
    given = features.requires_grad_()
    assert torch.autograd.gradcheck(self_product, (given,))
    assert torch.autograd.gradgradcheck(self_product, (given,))


def test_the_gradient_has_the_layout_of_channels_last(features: torch.Tensor) -> None:
    given = features.contiguous(memory_format=torch.channels_last).requires_grad_()
    (gradient,) = torch.autograd.grad(self_product(given).square().sum(), given)
    assert gradient.is_contiguous(memory_format=torch.channels_last)
    plain = features.detach().clone().requires_grad_()
    (same,) = torch.autograd.grad(self_product(plain).square().sum(), plain)
    assert_close(gradient, same)


def test_half_precision_is_summed_in_float32() -> None:
    # 3000 ones: bfloat16 counts no further than 256.
    ones = torch.ones(1, 2, 50, 60, dtype=torch.bfloat16, requires_grad=True)
    product = self_product(ones)
    assert_close(product, torch.full((1, 2, 2), 3000.0))
    product.sum().backward()
    assert ones.grad is not None
    assert_close(ones.grad, torch.full((1, 2, 50, 60), 4.0, dtype=torch.bfloat16))
