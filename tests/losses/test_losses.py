"""The formulas of the losses, each by hand."""

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from fastnst.losses import losses
from fastnst.losses.losses import (
    checkerboard_loss,
    count_differences,
    covariance_matrix,
    gram_matrix,
    relative_error,
    self_product,
    squared_error,
    total_variation,
)

# Two channels of 1 x 3 pixels: a = (1, 2, 3), b = (4, 0, 5).
BY_HAND = torch.tensor([[[[1.0, 2.0, 3.0]], [[4.0, 0.0, 5.0]]]])


@pytest.fixture
def features() -> Tensor:
    return torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def checkerboard(height: int, width: int) -> Tensor:
    return ((torch.arange(height)[:, None] + torch.arange(width)) % 2).float().expand(1, 3, -1, -1)


def test_gram_matrix_by_hand() -> None:
    # aa = 1 + 4 + 9 = 14, ab = 4 + 0 + 15 = 19, bb = 16 + 0 + 25 = 41, over 3 pixels.
    assert_close(gram_matrix(BY_HAND), torch.tensor([[[14.0, 19.0], [19.0, 41.0]]]) / 3)


def test_covariance_matrix_by_hand() -> None:
    # Less the means 2 and 3: a = (-1, 0, 1), b = (1, -3, 2); aa = 2, ab = 1, bb = 14, over 3 pixels.
    assert_close(covariance_matrix(BY_HAND), torch.tensor([[[2.0, 1.0], [1.0, 14.0]]]) / 3)


def test_matrices_are_per_image(features: Tensor) -> None:
    for matrix in (gram_matrix, covariance_matrix):
        assert matrix(features).shape == (2, 3, 3)
        assert_close(matrix(features)[1:], matrix(features[1:]))


def test_gram_matrix_ignores_where_pixels_are_and_how_many(features: Tensor) -> None:
    order = torch.randperm(20, generator=torch.Generator().manual_seed(1))
    moved = features.flatten(2)[..., order].unflatten(2, (4, 5))
    assert_close(gram_matrix(moved), gram_matrix(features))
    assert_close(gram_matrix(features.tile(1, 1, 3, 2)), gram_matrix(features))


def test_gram_matrix_is_covariance_which_ignores_an_added_constant_and_means(features: Tensor) -> None:
    assert_close(covariance_matrix(features + 7), covariance_matrix(features))
    mean = features.mean(dim=(2, 3))
    assert_close(gram_matrix(features), covariance_matrix(features) + mean[:, :, None] * mean[:, None, :])


def test_squared_error_by_hand() -> None:
    given = torch.tensor([[1.0, 2.0], [0.0, 5.0]])
    assert squared_error(given, torch.tensor([[3.0, 1.0]])).tolist() == [4 + 1, 9 + 16]


def test_relative_error_by_hand() -> None:
    # The reference's energy is 9 + 1 = 10; it serves both images of the batch.
    given = torch.tensor([[1.0, 2.0], [0.0, 5.0]])
    assert_close(relative_error(given, torch.tensor([[3.0, 1.0]])), torch.tensor([0.5, 2.5]))
    given, reference = torch.tensor([[0.0, 0.0], [1.0, 1.0]]), torch.tensor([[1.0, 1.0], [2.0, 2.0]])
    assert_close(relative_error(given, reference), torch.tensor([1.0, 0.25]))


def test_relative_error_is_free_of_scale_one_for_nothing_and_finite_for_a_flat_reference(features: Tensor) -> None:
    reference = features.flip(0)
    assert_close(relative_error(features * 30, reference * 30), relative_error(features, reference))
    assert_close(relative_error(torch.zeros_like(features), features), torch.ones(2, dtype=torch.float64))
    assert relative_error(features, features).tolist() == [0, 0]
    flat = torch.zeros(1, 2, 3, 4)
    assert relative_error(flat, flat).item() == 0
    # A mean square of 1 over epsilon = 1e-8.
    assert math.isclose(relative_error(flat + 1, flat).item(), 1e8, rel_tol=1e-5)


def test_total_variation_by_hand() -> None:
    # Rows (0, 2, 6) and (1, 7, 5): across 2 and 4, then 6 and 2; down 1, 5 and 1.
    image = torch.tensor([[[[0.0, 2.0, 6.0], [1.0, 7.0, 5.0]]]])
    assert total_variation(image, "l1").tolist() == [2 + 4 + 6 + 2 + 1 + 5 + 1]
    assert total_variation(image, "squared").tolist() == [4 + 16 + 36 + 4 + 1 + 25 + 1]


def test_total_variation_of_checkerboards() -> None:
    board = checkerboard(4, 7)
    # 3 channels of 4 * 6 count_differences across and 3 * 7 down.
    assert count_differences(board) == 3 * (24 + 21)
    for kind in ("l1", "squared"):
        assert total_variation(board, kind).tolist() == [135]
    board = checkerboard(2, 2) / 2
    assert total_variation(board, "l1").tolist() == [3 * 4 * 0.5]
    assert total_variation(board, "squared").tolist() == [3 * 4 * 0.25]


def test_total_variation_of_one_pixel_and_of_a_flat_image_is_zero() -> None:
    assert total_variation(torch.rand(1, 3, 1, 1), "l1").item() == 0
    assert count_differences(torch.rand(1, 3, 1, 1)) == 0
    assert total_variation(torch.full((1, 3, 4, 5), 0.3), "squared").item() == 0


@pytest.mark.parametrize("kind", ["l1", "squared"])
def test_total_variation_gradient(features: Tensor, kind: str) -> None:
    assert torch.autograd.gradcheck(lambda x: total_variation(x, kind), features.requires_grad_())


def test_total_variation_gradient_is_finite_where_the_image_is_flat() -> None:
    image = torch.full((1, 3, 4, 5), 0.5, requires_grad=True)
    for kind in ("l1", "squared"):
        (gradient,) = torch.autograd.grad(total_variation(image, kind).sum(), image)
        assert gradient.abs().sum() == 0


def test_matrix_and_error_gradients(features: Tensor) -> None:
    reference = features.flip(0).clone()
    features.requires_grad_()
    for matrix in (gram_matrix, covariance_matrix):
        assert torch.autograd.gradcheck(lambda x, m=matrix: relative_error(m(x), m(reference)), features)


def test_checkerboard_pattern_by_hand() -> None:
    # One of the 16 places of each 4 x 4 cell is 1: (15/16)^2 once and (1/16)^2 15 times. Its slope is taken off: in a
    # corner of the cell -1.5 / 20 both ways, and 20 times its square is what that explains.
    dots = torch.zeros(1, 3, 32, 40)
    dots[..., ::4, ::4] = 1
    assert_close(checkerboard_loss(dots, 4), torch.tensor([((225 + 15) / 256 - 2 * 20 * (1.5 / 20) ** 2) / 16]))


def test_checkerboard_pattern_is_nothing_for_slopes_and_for_what_does_not_repeat() -> None:
    across = torch.arange(40.0).expand(1, 3, 40, 40) / 100
    down = torch.arange(40.0)[:, None].expand(1, 3, 40, 40) / 50
    for period in (4, 8):
        assert_close(checkerboard_loss(across - down, period), torch.zeros(1), atol=1e-9, rtol=0)
    assert_close(checkerboard_loss(torch.full((2, 3, 32, 32), 0.7), 4), torch.zeros(2))
    # Every 5 pixels: within five cells of 4 each place sees each phase once.
    bars = torch.zeros(1, 3, 40, 40)
    bars[..., ::5] = 1
    assert_close(checkerboard_loss(bars, 4), torch.zeros(1))


def test_self_product_and_its_gradient_by_hand() -> None:
    # Channels a = (1, 2) and b = (3, 4): aa = 5, ab = 11, bb = 25.
    given = torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]])
    assert_close(self_product(given), torch.tensor([[[5.0, 11.0], [11.0, 25.0]]]))
    # Of the entry (a, b) alone: b's values for a, a's for b.
    given = torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]], requires_grad=True)
    self_product(given)[0, 0, 1].backward()
    assert_close(given.grad, torch.tensor([[[[3.0, 4.0]], [[1.0, 2.0]]]]))


@pytest.mark.parametrize("positions", [1, 7, 20, 1000])
def test_parts_add_up(positions: int, features: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "POSITIONS", positions)
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
