import math

import pytest
import torch
from torch.testing import assert_close

from fastnst.losses.distributions import (
    band_deviations,
    log_ratio_loss,
    luma_chroma,
    oriented_energies,
    oriented_shares,
    pattern_loss,
    projections,
    quantiles,
    random_directions,
    sliced_wasserstein,
)


def grating(period: float, degrees: float, side: int = 128, depth: float = 0.2) -> torch.Tensor:
    """Gray, (1, 3, side, side), with waves of a period in pixels that run in a direction."""
    down, across = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    angle = math.radians(degrees)
    phase = 2 * math.pi / period * (across * math.cos(angle) + down * math.sin(angle))
    return (0.5 + depth * phase.sin()).expand(1, 3, -1, -1)


def noise(side: int = 128) -> torch.Tensor:
    return torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(3))


def test_projections_by_hand() -> None:
    # Two channels, three positions; along (1, 0) the first channel, along (0.6, 0.8) 0.6 a + 0.8 b.
    features = torch.tensor([[[1.0, 2.0, 3.0], [10.0, 0.0, -10.0]]])
    directions = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    assert_close(projections(features, directions), torch.tensor([[[1.0, 2.0, 3.0], [8.6, 1.2, -6.2]]]))


def test_directions_are_unit_vectors_and_always_the_same() -> None:
    directions = random_directions(5, 7)
    assert_close(directions.norm(dim=1), torch.ones(7))
    assert_close(directions, random_directions(5, 7))


def test_quantiles_by_hand() -> None:
    values = torch.tensor([[4.0, 1.0, 3.0, 2.0]])
    assert_close(quantiles(values, 4), torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
    # At probabilities 1/4 and 3/4, half-way between neighbours.
    assert_close(quantiles(values, 2), torch.tensor([[1.5, 3.5]]))
    # More than there are values: the ends repeat.
    assert_close(quantiles(torch.tensor([[1.0, 2.0]]), 4), torch.tensor([[1.0, 1.25, 1.75, 2.0]]))


def test_sliced_wasserstein_by_hand() -> None:
    # Two directions; the reference's variances are 1 and 4, the squared distances 4 and 1: 2.5 over 2.5.
    reference = torch.tensor([[[-1.0, 1.0], [-2.0, 2.0]]])
    given = torch.tensor([[[1.0, 3.0], [-1.0, 3.0]]])
    assert sliced_wasserstein(given, reference).item() == pytest.approx(1, rel=1e-5)
    assert sliced_wasserstein(reference, reference).item() == 0


def test_sliced_wasserstein_compares_with_more_quantiles_than_there_are_values() -> None:
    reference = quantiles(torch.arange(1000.0)[None, None], 100)
    few = quantiles(torch.arange(5.0, 1000, 10)[None, None], 10)
    assert sliced_wasserstein(few, reference).item() < 1e-4


def test_twice_and_half_as_much_cost_nearly_the_same() -> None:
    twice, half, equal = log_ratio_loss(torch.tensor([2.0, 0.5, 1.0]), torch.ones(3))
    assert equal.item() < 1e-9
    assert twice.item() == pytest.approx(math.log(2.05 / 1.05) ** 2, rel=1e-4)
    assert half.item() == pytest.approx(math.log(0.55 / 1.05) ** 2, rel=1e-4)


def test_nothing_costs_much_but_not_infinitely_much() -> None:
    assert log_ratio_loss(torch.zeros(1), torch.ones(1)).item() == pytest.approx(math.log(21) ** 2, rel=1e-4)


def test_luma_and_chroma_by_hand() -> None:
    colors = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]).T.reshape(1, 3, 1, 3)
    expected = torch.tensor([[1.0, 0.299, 0.114], [0.0, -0.169, 0.5], [0.0, 0.5, -0.081]])
    assert_close(luma_chroma(colors)[0, :, 0], expected)


def test_a_grating_is_in_the_band_of_its_period() -> None:
    fine, coarse = (band_deviations(grating(period, 0))[0, 0] for period in (3, 24))
    assert fine.argmax() == 0
    assert coarse.argmax() == 3
    # Gray has no colors.
    assert band_deviations(grating(3, 0))[0, 1:].max().item() < 1e-5


def test_twice_the_contrast_is_twice_the_deviation_in_every_band() -> None:
    picture = noise()
    assert_close(band_deviations(0.5 + (picture - 0.5) / 2), band_deviations(picture) / 2, rtol=1e-4, atol=1e-6)


def test_small_pictures_have_all_bands() -> None:
    assert band_deviations(noise(8)).shape == (1, 3, 6)
    assert band_deviations(noise(8)).isfinite().all()


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
    loss = pattern_loss(flat, torch.ones(1, 3, 6, 18), oriented_energies(noise())[1]) + band_deviations(flat).sum()
    loss.backward()
    assert flat.grad is not None
    assert pattern_loss(flat, torch.ones(1, 3, 6, 18), oriented_energies(noise())[1]).item() == pytest.approx(
        0, abs=1e-6
    )
