import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from fastnst.exact.lbfgs import BANDS, LONGEST, LBFGSDescent, Spectrum, _energies

SIZES = [(12, 16), (11, 9), (8, 13)]


def noise(size: tuple[int, int], seed: int) -> Tensor:
    return torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(seed))


def flat_grey(size: tuple[int, int]) -> Tensor:
    """Luminance without detail: the first axis, the coarsest band."""
    return torch.ones(1, 3, *size)


def fine_red_green(size: tuple[int, int]) -> Tensor:
    """Red against green in stripes of one pixel: the second axis, the finest band."""
    stripes = torch.ones(size[1])
    stripes[1::2] = -1
    return torch.stack([stripes, -stripes, torch.zeros_like(stripes)])[None, :, None].expand(1, 3, *size)


def taught(size: tuple[int, int] = (12, 16)) -> Spectrum:
    spectrum = Spectrum()
    spectrum.learn(noise(size, 1) + 3 * flat_grey(size), noise(size, 2) + 2 * fine_red_green(size))
    return spectrum


@pytest.mark.parametrize("size", SIZES)
def test_energies_are_all_of_the_energy(size: tuple[int, int]) -> None:
    # Parseval: the spectrum's energy is that of the pixels, times their number.
    values = noise(size, 0)
    assert _energies(values).sum().item() == pytest.approx(values.square().sum().item() * math.prod(size), rel=1e-5)


def test_bands_by_hand() -> None:
    coarse, fine = _energies(flat_grey((12, 16))), _energies(fine_red_green((12, 16)))
    assert coarse[0, 0] == pytest.approx(coarse.sum().item())
    assert fine[1, BANDS - 1] == pytest.approx(fine.sum().item())


def test_lengths_by_hand() -> None:
    # Flat grey: moved by 2, gradient changed by 1. Fine red-green: moved by 1, changed by 1. So the one's steps are to
    # be twice the other's; without bands both would be as long as what changed weighs them: equally, by 3 pixels to 2.
    size = (12, 16)
    spectrum = Spectrum()
    spectrum.learn(2 * flat_grey(size) + fine_red_green(size), flat_grey(size) + fine_red_green(size))
    lengths = spectrum.lengths()
    usual = (3 * 2 + 2 * 1) / 5
    # Both are relative to sums, 3 * 4 + 2 pixels moved to 3 + 2 changed, which cancels.
    assert lengths[0, 0].item() == pytest.approx(2 / usual)
    assert lengths[1, BANDS - 1].item() == pytest.approx(1 / usual)
    assert_close(spectrum.stretch(flat_grey(size)), flat_grey(size) * 2 / usual)
    assert_close(spectrum.stretch(fine_red_green(size)), fine_red_green(size) / usual)


@pytest.mark.parametrize("size", SIZES)
def test_stretching_is_symmetric_and_positive(size: tuple[int, int]) -> None:
    # What an inverse Hessian must be.
    spectrum, one, other = taught(size), noise(size, 3), noise(size, 4)
    there, back = (one * spectrum.stretch(other)).sum().item(), (spectrum.stretch(one) * other).sum().item()
    assert there == pytest.approx(back, rel=1e-3, abs=1e-3)
    assert (one * spectrum.stretch(one)).sum() > 0


def test_no_band_goes_to_extremes() -> None:
    size = (12, 16)
    spectrum = Spectrum()
    spectrum.learn(1e6 * flat_grey(size) + noise(size, 1), noise(size, 2))
    lengths = spectrum.lengths()
    assert lengths.max() == LONGEST
    assert lengths.min() == 1 / LONGEST


def test_growth_is_that_of_the_newest_change() -> None:
    spectrum, newest = taught(), noise((12, 16), 5)
    spectrum.learn(noise((12, 16), 6), newest)
    wanted = (newest * spectrum.stretch(newest)).sum() / newest.square().sum()
    assert spectrum.growth() == pytest.approx(wanted.item(), rel=1e-5)


def test_older_steps_fade() -> None:
    size = (12, 16)
    spectrum, anew = taught(), Spectrum()
    for step in (spectrum, anew):
        for seed in range(60):
            step.learn(noise(size, 2 * seed), noise(size, 2 * seed + 1))
    assert_close(spectrum.lengths(), anew.lengths(), rtol=0.1, atol=0)


def test_what_is_not_known_changes_nothing() -> None:
    spectrum, direction = Spectrum(), noise((12, 16), 0)
    assert torch.equal(spectrum.stretch(direction), direction)
    assert spectrum.growth() == 1
    spectrum.learn(noise((4, 16), 1), noise((4, 16), 2))
    assert not spectrum.known


def test_it_goes_on_from_its_state() -> None:
    spectrum, again = taught(), Spectrum()
    again.load_state({name: value.clone() for name, value in spectrum.state().items()})
    for one in (spectrum, again):
        one.learn(noise((12, 16), 7), noise((12, 16), 8))
    assert torch.equal(again.lengths(), spectrum.lengths())
    assert again.growth() == spectrum.growth()
    again.forget()
    assert not again.known


def test_lbfgs_gets_down_sooner_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    # Curved three hundred times as much at the coarsest as at the finest frequencies.
    height, width = 24, 32
    down, across = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)
    steepness = torch.exp(-8 * torch.hypot(down, across))
    target = 0.5 + 0.1 * noise((height, width), 0)

    def lowest() -> float:
        descent, image, loss = LBFGSDescent(history=5), torch.full((1, 3, height, width), 0.5), math.inf
        for _ in range(25):
            gradient = torch.fft.irfft2(torch.fft.rfft2(image - target) * steepness, s=(height, width))
            loss = float(((image - target) * gradient).sum() / 2)
            image = descent.propose(image, loss, gradient)
        return loss

    with_bands = lowest()
    monkeypatch.setattr(Spectrum, "learn", lambda *_: None)
    assert with_bands < 0.5 * lowest()
