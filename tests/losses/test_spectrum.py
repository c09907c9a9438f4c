import math

import pytest
import torch
from torch.testing import assert_close

from fastnst.losses.spectrum import (
    finest_detail,
    log_ratio_loss,
    luma_chroma,
    oriented_energies,
    oriented_shares,
    pattern_loss,
)


def grating(period: float, degrees: float, side: int = 128, depth: float = 0.2) -> torch.Tensor:
    """Gray, (1, 3, side, side), with waves of a period in pixels that run in a direction."""
    down, across = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    angle = math.radians(degrees)
    phase = 2 * math.pi / period * (across * math.cos(angle) + down * math.sin(angle))
    return (0.5 + depth * phase.sin()).expand(1, 3, -1, -1)


def noise(side: int = 128) -> torch.Tensor:
    return torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(3))


def test_twice_and_half_as_much_cost_nearly_the_same_and_nothing_is_finite() -> None:
    twice, half, equal = log_ratio_loss(torch.tensor([2.0, 0.5, 1.0]), torch.ones(3))
    assert equal.item() < 1e-9
    assert twice.item() == pytest.approx(math.log(2.05 / 1.05) ** 2, rel=1e-4)
    assert half.item() == pytest.approx(math.log(0.55 / 1.05) ** 2, rel=1e-4)
    assert log_ratio_loss(torch.zeros(1), torch.ones(1)).item() == pytest.approx(math.log(21) ** 2, rel=1e-4)


def test_luma_and_chroma_by_hand() -> None:
    colors = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]).T.reshape(1, 3, 1, 3)
    expected = torch.tensor([[1.0, 0.299, 0.114], [0.0, -0.169, 0.5], [0.0, 0.5, -0.081]])
    assert_close(luma_chroma(colors)[0, :, 0], expected)


def test_the_finest_detail_is_that_of_a_few_pixels_in_proportion_to_contrast() -> None:
    fine, coarse = (finest_detail(grating(period, 0)).item() for period in (3, 24))
    assert fine > 10 * coarse
    picture = noise()
    assert_close(finest_detail(0.5 + (picture - 0.5) / 2), finest_detail(picture) / 2, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("side", [1, 2, 8])
def test_small_pictures_have_detail_too(side: int) -> None:
    assert finest_detail(noise(side)).isfinite().all()


@pytest.mark.parametrize(("period", "degrees", "ring", "sector"), [(4, 4, 1, 0), (6, 95, 2, 9), (12, 125, 4, 12)])
def test_a_grating_is_in_the_ring_of_its_period_and_the_sector_of_its_direction(
    period: float, degrees: float, ring: int, sector: int
) -> None:
    energies, _ = oriented_energies(grating(period, degrees))
    assert divmod(int(energies[0, 0].argmax()), 18) == (ring, sector)


def test_the_power_of_a_grating_by_hand() -> None:
    # A wave of depth a has power a^2/4 (sum of the window)^2 at its frequency and that of its mirror image, of which
    # the half spectrum has one; Hann's window has a sum of 32, and spreads it over neighbouring bins of sum 2.25.
    energies, rings = oriented_energies(grating(8, 0, depth=0.2))
    counted = (energies[0, 0, 3] > energies[0, 0, 3].max() / 100).sum()
    assert counted >= 1
    assert rings[0, 0, 3].item() > 0
    assert_close(oriented_energies(grating(8, 0, depth=0.4))[1], 4 * rings, rtol=1e-3, atol=1e-4)


def test_noise_has_no_direction_and_a_grating_has() -> None:
    assert oriented_shares(noise(512)).max().item() < 2
    assert oriented_shares(grating(6, 30)).max().item() > 6


def test_a_pattern_costs_what_it_has_beyond_its_share() -> None:
    free, painting = torch.ones(1, 3, 6, 18), oriented_energies(noise())[1]
    striped = noise() + grating(6, 120) - 0.5
    assert pattern_loss(noise(), 2 * free, painting).item() < 0.02
    assert pattern_loss(striped, free, painting).item() > 0.5
    # A photo or a painting that has the same grating excuses it.
    assert pattern_loss(striped, oriented_shares(striped), painting).item() == 0


def test_a_flat_picture_has_no_pattern_and_a_gradient() -> None:
    flat = torch.full((1, 3, 64, 64), 0.5, requires_grad=True)
    loss = pattern_loss(flat, torch.ones(1, 3, 6, 18), oriented_energies(noise())[1]) + finest_detail(flat).sum()
    loss.backward()
    assert flat.grad is not None
    assert pattern_loss(flat, torch.ones(1, 3, 6, 18), oriented_energies(noise())[1]).item() == pytest.approx(
        0, abs=1e-6
    )
