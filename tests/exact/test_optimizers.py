"""Ways down a loss, and what L-BFGS learns of its curvature."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from fastnst.exact.optimizers import (
    BANDS,
    LONGEST,
    AdamDescent,
    CurvaturePair,
    LBFGSDescent,
    PixelOptimizer,
    Spectrum,
    _energies,
    new_descent,
)
from fastnst.exact.settings import OptimizeSettings

Loss = Callable[[Tensor], Tensor]


def go(descent: PixelOptimizer, loss: Loss, image: Tensor, steps: int) -> list[tuple[float, Tensor]]:
    """Loss and image of each evaluation."""
    seen = []
    for _ in range(steps):
        pixels = image.clone().requires_grad_()
        value = loss(pixels)
        (gradient,) = torch.autograd.grad(value, pixels)
        seen.append((value.item(), image))
        image = descent.propose(image, value.item(), gradient)
    return seen


def bowl(target: Tensor, steepness: Tensor) -> Loss:
    return lambda image: (steepness * (image - target).square()).sum()


@pytest.fixture
def start() -> Tensor:
    return torch.full((1, 3, 2, 3), 0.5)


@pytest.fixture
def target() -> Tensor:
    return torch.rand(1, 3, 2, 3, generator=torch.Generator().manual_seed(0)) * 0.8 + 0.1


@pytest.fixture
def steepness() -> Tensor:
    return torch.logspace(0, 3, 18).view(1, 3, 2, 3)


def test_first_and_second_lbfgs_step_by_hand() -> None:
    # Against the gradient, so long that the pixels change by 1 / 255 on average: by 1 and 3 halves of it.
    image, gradient = torch.tensor([0.5, 0.5]), torch.tensor([10.0, -30.0])
    moved = LBFGSDescent().propose(image, 1.0, gradient)
    assert_close(moved, torch.tensor([0.5 - 0.5 / 255, 0.5 + 1.5 / 255]))
    # In one dimension one pair is the whole curvature: x^2 / 2 - 0.3 x has its bottom at 0.3.
    seen = go(LBFGSDescent(), lambda x: (x.square() / 2 - 0.3 * x).sum(), torch.tensor([0.5]), 3)
    assert_close(seen[1][1], torch.tensor([0.5 - 1 / 255]))
    assert_close(seen[2][1], torch.tensor([0.3]))


def test_two_loop_recursion_equals_the_matrices() -> None:
    # Nocedal and Wright (2006), eq. 6.17, with the matrices written out, from eq. 6.20's multiple of the identity.
    generator = torch.Generator().manual_seed(0)
    factor = torch.randn(6, 6, generator=generator, dtype=torch.float64)
    hessian = factor @ factor.mT + torch.eye(6)
    changes = [torch.randn(6, generator=generator, dtype=torch.float64) for _ in range(4)]
    pairs = [(change, hessian @ change, float(change @ hessian @ change)) for change in changes]
    newest = pairs[-1]
    inverse = torch.eye(6, dtype=torch.float64) * newest[2] / newest[1].square().sum()
    for change, gradient_change, curvature in pairs:
        shift = torch.eye(6) - torch.outer(gradient_change, change) / curvature
        inverse = shift.mT @ inverse @ shift + torch.outer(change, change) / curvature
    descent = LBFGSDescent()
    descent._pairs.extend(CurvaturePair(*pair) for pair in pairs)
    direction = torch.randn(6, generator=generator, dtype=torch.float64)
    expected = inverse @ direction
    assert_close(descent._newton(direction), expected)


def test_lbfgs_reaches_the_bottom_as_fast_as_torchs(start: Tensor, target: Tensor, steepness: Tensor) -> None:
    loss = bowl(target, steepness / 1000)
    ours = [value for value, _ in go(LBFGSDescent(), loss, start, 30)]
    pixels = start.clone().requires_grad_()
    theirs = torch.optim.LBFGS([pixels], max_iter=1, history_size=100, tolerance_grad=0, tolerance_change=0)
    seen = []

    def closure() -> Tensor:
        theirs.zero_grad()
        value = loss(pixels)
        value.backward()
        seen.append(value.item())
        return value

    for _ in range(30):
        theirs.step(closure)
    # The first steps differ in length; how fast the bottom is reached must not.
    assert ours[-1] < 2 * seen[-1] + 1e-9


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_lbfgs_converges_whatever_the_loss_is_scaled_by(
    scale: float, start: Tensor, target: Tensor, steepness: Tensor
) -> None:
    image = go(LBFGSDescent(), bowl(target, steepness * scale), start, 60)[-1][1]
    assert_close(image, target, rtol=0, atol=1e-3)


@pytest.mark.parametrize("descent", [LBFGSDescent(), AdamDescent()])
def test_pixels_stay_in_the_box_and_reach_its_walls(descent: PixelOptimizer, start: Tensor, steepness: Tensor) -> None:
    outside = torch.where(torch.arange(18).view(1, 3, 2, 3) % 3 == 0, 1.7, 0.4)
    outside[0, 0, 0, 0] = -2
    seen = go(descent, bowl(outside, steepness / 100), start, 120)
    assert all(image.min() >= 0 and image.max() <= 1 for _, image in seen)
    assert_close(seen[-1][1], outside.clamp(0, 1), rtol=0, atol=0.02)


def test_lbfgs_comes_back_from_a_wall(target: Tensor, steepness: Tensor) -> None:
    wall = torch.zeros(1, 3, 2, 3)
    image = go(LBFGSDescent(), bowl(target, steepness), wall, 60)[-1][1]
    assert_close(image, target, rtol=0, atol=1e-3)


def test_lbfgs_halves_a_step_that_made_the_loss_rise_by_more_than_noise() -> None:
    descent = LBFGSDescent()
    image = torch.tensor([0.5, 0.5])
    first = descent.propose(image, 1.0, torch.tensor([1.0, 1.0]))
    half = descent.propose(first, 1.5, torch.tensor([1.0, 1.0]))
    assert_close(half, (image + first) / 2)
    quarter = descent.propose(half, 1.2, torch.tensor([1.0, 1.0]))
    assert_close(quarter, image + (first - image) / 4)
    descent = LBFGSDescent()
    image = torch.tensor([0.5, 0.5])
    first = descent.propose(image, 1.0, torch.tensor([1.0, 1.0]))
    # A rise of half a per cent is no reason to go back.
    second = descent.propose(first, 1.005, torch.tensor([1.0, 1.0]))
    assert second[0] < first[0]


def test_lbfgs_forgets_when_halving_does_not_help() -> None:
    descent = LBFGSDescent()
    origin = torch.tensor([0.5, 0.5])
    gradient = torch.tensor([1.0, 1.0])
    image = descent.propose(origin, 1.0, gradient)
    image = descent.propose(image, 0.9, gradient * 0.9)
    origin, gradient = torch.tensor([0.5 - 1 / 255] * 2), gradient * 0.9
    for _ in range(4):
        image = descent.propose(image, 5.0, gradient)
    again = descent.propose(image, 5.0, gradient)
    # As at the very first step: one level down from where the loss was last good.
    assert_close(again, origin - 1 / 255)


def test_settings_choose_the_descent_and_its_history(start: Tensor, target: Tensor, steepness: Tensor) -> None:
    descent = LBFGSDescent(history=3)
    go(descent, bowl(target, steepness), start, 12)
    assert len(descent._pairs) == 3
    lbfgs = new_descent(OptimizeSettings(history=7, learning_rate=0.5))
    assert isinstance(lbfgs, LBFGSDescent)
    assert lbfgs._pairs.maxlen == 7
    assert lbfgs.learning_rate == 0.5
    assert isinstance(new_descent(OptimizeSettings(optimizer="adam")), AdamDescent)


def test_learning_rate_scales_the_steps(start: Tensor, target: Tensor, steepness: Tensor) -> None:
    loss = bowl(target, steepness)
    for kind in (LBFGSDescent, AdamDescent):
        long, short = (go(kind(rate), loss, start, 2)[1][1] - start for rate in (0.02, 0.01))
        assert_close(long, 2 * short)


def test_adams_steps_by_hand() -> None:
    # Adam's first update is the gradient over its own size, however small: 10 levels of 255.
    moved = AdamDescent().propose(torch.tensor([0.5, 0.5]), 1.0, torch.tensor([1e-7, -3.0]))
    assert_close(moved, torch.tensor([0.5 - 10 / 255, 0.5 + 10 / 255]), rtol=1e-3, atol=0)
    # Second step, gradients 2 and 0: m = beta1 (1 - beta1) 2 / (1 - beta1^2), v likewise of 4, plus epsilon.
    image, beta1, beta2, epsilon = torch.tensor([0.5], dtype=torch.float64), 0.6, 0.8, 0.3
    descent = AdamDescent(0.01, betas=(beta1, beta2), epsilon=epsilon)
    first = descent.propose(image, 1.0, torch.tensor([2.0], dtype=torch.float64))
    assert first.item() == pytest.approx(0.5 - 0.01 * 2 / (2 + epsilon))
    second = descent.propose(first, 1.0, torch.tensor([0.0], dtype=torch.float64))
    mean = beta1 * (1 - beta1) * 2 / (1 - beta1**2)
    size = math.sqrt(beta2 * (1 - beta2) * 4 / (1 - beta2**2))
    assert (first - second).item() == pytest.approx(0.01 * mean / (size + epsilon))


def test_adam_equals_torchs(start: Tensor, target: Tensor, steepness: Tensor) -> None:
    loss = bowl(target, steepness)
    ours = go(AdamDescent(0.01), loss, start, 10)
    pixels = start.clone().requires_grad_()
    theirs = torch.optim.Adam([pixels], lr=0.01, eps=1e-12)
    for _, image in ours:
        assert_close(pixels.detach(), image)
        theirs.zero_grad()
        loss(pixels).backward()
        theirs.step()


@pytest.mark.parametrize("kind", [LBFGSDescent, AdamDescent])
def test_arguments_are_left_alone(kind: type[PixelOptimizer], start: Tensor, target: Tensor, steepness: Tensor) -> None:
    descent, image = kind(), start
    for _ in range(5):
        gradient = 2 * steepness * (image - target)
        before = image.clone(), gradient.clone()
        proposed = descent.propose(image, math.inf if image is start else 1.0, gradient)
        assert_close((image, gradient), before, rtol=0, atol=0)
        assert proposed.data_ptr() != image.data_ptr()
        image = proposed


def test_lbfgs_leaves_out_pixels_that_are_pushed_against_a_wall() -> None:
    # Three of four are stuck, or the first step's mean length would be shared with them; the last moves by all of it.
    image, gradient = torch.tensor([0.0, 1.0, 0.0, 0.5]), torch.tensor([10.0, -10.0, 10.0, 10.0])
    moved = LBFGSDescent().propose(image, 1.0, gradient)
    assert_close(moved, torch.tensor([0.0, 1.0, 0.0, 0.5 - 4 / 255]))
    # By the two-loop recursion with this one pair, (0, -1) becomes (1/15, -7/15).
    descent = LBFGSDescent()
    descent._pairs.append(CurvaturePair(torch.tensor([-1.0, 1.0]), torch.tensor([-1.0, 2.0]), 3.0))
    assert_close(descent._newton(torch.tensor([0.0, -1.0])), torch.tensor([1 / 15, -7 / 15]))
    moved = descent.propose(torch.tensor([0.0, 0.5]), 1.0, torch.tensor([1.0, 1.0]))
    assert_close(moved, torch.tensor([0.0, 0.5 - 7 / 15]))


def test_adams_learning_rate_falls_linearly_over_the_steps_that_are_given_or_over_all() -> None:
    # A constant gradient makes each of Adam's steps as long as its learning rate.
    image, gradient, rates = torch.tensor([0.9], dtype=torch.float64), torch.tensor([1.0], dtype=torch.float64), []
    descent = AdamDescent(0.1, end=0.02, steps=4)
    for _ in range(6):
        moved = descent.propose(image, 1.0, gradient)
        rates.append((image - moved).item())
        image = moved
    assert rates == pytest.approx([0.1, 0.08, 0.06, 0.04, 0.02, 0.02])
    # cs229: from 10 to 1 over 1000 steps, of which 400 are done; the second step's rate.
    image, gradient = torch.full((1, 3, 2, 2), 0.9), torch.ones(1, 3, 2, 2)
    settings = OptimizeSettings(optimizer="adam", steps=4, learning_rate=0.1, learning_rate_end=0.02)
    for steps, rate in ((None, 0.08), (10, 0.092)):
        descent = new_descent(replace(settings, learning_rate_steps=steps))
        moved = descent.propose(image, 1.0, gradient)
        assert_close(moved - descent.propose(moved, 1.0, gradient), torch.full_like(image, rate))


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
@pytest.mark.parametrize("done", [0, 1, 7])
def test_a_descent_goes_on_bit_for_bit_from_its_state(
    optimizer: str, done: int, start: Tensor, target: Tensor, steepness: Tensor
) -> None:
    # Steep enough that lbfgs halves steps now and then.
    loss = bowl(target, steepness * 30)
    settings = OptimizeSettings(optimizer=optimizer, steps=12, learning_rate_end=0.001, history=4)
    whole = [image for _, image in go(new_descent(settings), loss, start, 12)]
    descent = new_descent(settings)
    for image in whole[:done]:
        descent.propose(image, loss(image).item(), 2 * steepness * 30 * (image - target))
    again = new_descent(settings)
    again.load_state({name: value.clone() for name, value in descent.state().items()})
    rest = [image for _, image in go(again, loss, whole[done], 12 - done)]
    assert len(rest) == 12 - done
    for ours, theirs in zip(rest, whole[done:], strict=True):
        assert torch.equal(ours, theirs)


def test_growing_adam() -> None:
    # A slope of the same steepness everywhere, a mean over pixels: four times the pixels, a quarter of the gradient.
    descent = AdamDescent(0.01)
    image = torch.full((1, 3, 4, 4), 0.5)
    for _ in range(3):
        image = descent.propose(image, 1.0, torch.full_like(image, 0.4))
    descent.grow((8, 8))
    large = torch.full((1, 3, 8, 8), 0.5)
    assert_close(descent.propose(large, 1.0, torch.full_like(large, 0.1)), large - 0.01)
    # Beside an edge a cubic falls below 0; of a squared gradient that would be no number.
    descent, image = AdamDescent(0.01), torch.full((1, 3, 4, 4), 0.5)
    descent.propose(image, 1.0, torch.eye(4).expand(1, 3, 4, 4) * 100)
    descent.grow((8, 8))
    assert descent.propose(torch.full((1, 3, 8, 8), 0.5), 1.0, torch.zeros(1, 3, 8, 8)).isfinite().all()
    descent = AdamDescent(0.01)
    descent.grow((8, 8))
    large = torch.full((1, 3, 8, 8), 0.5)
    assert_close(descent.propose(large, 1.0, torch.full_like(large, 0.1)), large - 0.01)


def test_growing_lbfgs_begins_anew(start: Tensor, target: Tensor, steepness: Tensor) -> None:
    descent = LBFGSDescent()
    go(descent, bowl(target, steepness), start, 5)
    descent.grow((4, 6))
    image, gradient = torch.full((1, 3, 4, 6), 0.5), torch.ones(1, 3, 4, 6)
    assert_close(descent.propose(image, 1.0, gradient), image - 1 / 255)


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


def test_bands_and_lengths_by_hand() -> None:
    coarse, fine = _energies(flat_grey((12, 16))), _energies(fine_red_green((12, 16)))
    assert coarse[0, 0] == pytest.approx(coarse.sum().item())
    assert fine[1, BANDS - 1] == pytest.approx(fine.sum().item())
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


def test_growth_is_that_of_the_newest_change_and_older_steps_fade() -> None:
    spectrum, newest = taught(), noise((12, 16), 5)
    spectrum.learn(noise((12, 16), 6), newest)
    wanted = (newest * spectrum.stretch(newest)).sum() / newest.square().sum()
    assert spectrum.growth() == pytest.approx(wanted.item(), rel=1e-5)
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
