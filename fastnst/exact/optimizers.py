"""Two ways down a loss, L-BFGS and Adam, each asked for the next pixels after every evaluation.

L-BFGS takes full steps without a line search, in the box that pixels live in. The inverse Hessian that it begins from
is how curved the loss is in each color and at each spatial frequency, as the steps so far have shown: a loss network
hardly feels fine chroma or the finest luminance, and feels strokes, so that one length of step does not suit both.

Images are float32 (1, 3, H, W) RGB in [0, 1], H height and W width; both ways keep them there. Spectra are complex
(3, H, W // 2 + 1).
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from fastnst.exact.pyramid import enlarge
from fastnst.exact.settings import OptimizeSettings

# A step is taken back where the loss rises by more than this part of it: bfloat16 moves the loss by some 0.001 of it.
TOLERATED_RISE = 0.01
# Mean change of a pixel in the very first step, before any curvature is known: one level of 255.
FIRST_CHANGE = 1 / 255
MOST_HALVINGS = 4


@dataclass(frozen=True)
class CurvaturePair:
    """What one step taught of the curvature."""

    change: Tensor
    gradient_change: Tensor
    curvature: float
    """Product of the two, above 0."""


class LBFGSDescent:
    """Limited-memory BFGS (Nocedal and Wright 2006, algorithms 7.4 and 7.5) in the box [0, 1].

    Full steps without a line search, as each evaluation is dear; a step after which the loss has risen is halved.
    Differs from torch.optim.LBFGS: pixels at a bound that the loss pushes outwards are left out of the direction,
    curvature is learnt from the change that was made, not from the one before clamping, and the inverse Hessian that
    the pairs correct has a scale for each colour and frequency instead of one for all.
    """

    def __init__(self, learning_rate: float = 1.0, history: int = 100) -> None:
        self.learning_rate = learning_rate
        self._pairs: deque[CurvaturePair] = deque(maxlen=history)
        self._spectrum = Spectrum()
        self._stand: tuple[Tensor, float, Tensor] | None = None
        self._halvings = 0

    def propose(self, image: Tensor, loss: float, gradient: Tensor) -> Tensor:
        """Return the next image to evaluate, new memory; the arguments are left as they are."""
        if self._stand is not None:
            origin, before, gradient_before = self._stand
            self._learn(image - origin, gradient - gradient_before)
            if loss > before * (1 + TOLERATED_RISE):
                return self._shorten(origin, image, gradient_before)
        self._stand, self._halvings = (image, loss, gradient), 0
        return self._advance(image, gradient)

    def grow(self, size: tuple[int, int]) -> None:  # noqa: ARG002 - nothing is carried over
        """Forget: the curvature of an enlarged picture, which is smooth, tells little of the one to be painted."""
        self.forget()

    def forget(self) -> None:
        """Drop all curvature, which does not hold for another image or another loss: the next step is a first one."""
        self._pairs.clear()
        self._spectrum.forget()
        self._stand, self._halvings = None, 0

    def state(self) -> dict[str, Tensor]:
        """The pairs and where the last full step began."""
        curvatures = torch.tensor([pair.curvature for pair in self._pairs], dtype=torch.float64)
        state = {"curvatures": curvatures, "halvings": torch.tensor(self._halvings)}
        state |= {f"spectrum.{name}": value for name, value in self._spectrum.state().items()}
        for index, pair in enumerate(self._pairs):
            state |= {f"change.{index}": pair.change, f"gradient_change.{index}": pair.gradient_change}
        if self._stand is not None:
            image, loss, gradient = self._stand
            state |= {"image": image, "loss": torch.tensor(loss, dtype=torch.float64), "gradient": gradient}
        return state

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` gave."""
        self._pairs.clear()
        for index, curvature in enumerate(state["curvatures"].tolist()):
            self._pairs.append(CurvaturePair(state[f"change.{index}"], state[f"gradient_change.{index}"], curvature))
        names = self._spectrum.state()
        self._spectrum.load_state({name: state[f"spectrum.{name}"] for name in names})
        self._halvings = int(state["halvings"])
        if "image" in state:
            self._stand = (state["image"], float(state["loss"]), state["gradient"])

    def _shorten(self, origin: Tensor, image: Tensor, gradient: Tensor) -> Tensor:
        self._halvings += 1
        if self._halvings <= MOST_HALVINGS:
            return (origin + image) / 2
        # What was learnt is wrong here: start again as if this were the first step.
        self._pairs.clear()
        self._spectrum.forget()
        self._halvings = 0
        return self._advance(origin, gradient)

    def _learn(self, change: Tensor, gradient_change: Tensor) -> None:
        curvature = _dot(change, gradient_change)
        # Of no use where the loss does not curve upwards; the size of float32's noise decides what counts as upwards.
        if curvature > 1e-7 * float(change.norm() * gradient_change.norm()):
            self._pairs.append(CurvaturePair(change, gradient_change, curvature))
            self._spectrum.learn(change, gradient_change)

    def _advance(self, image: Tensor, gradient: Tensor) -> Tensor:
        stuck = ((image <= 0) & (gradient > 0)) | ((image >= 1) & (gradient < 0))
        change = self._newton(-gradient.masked_fill(stuck, 0)).masked_fill_(stuck, 0)
        if not self._pairs:
            change *= FIRST_CHANGE / max(float(change.abs().mean()), 1e-30)
        return (image + change * self.learning_rate).clamp_(0, 1)

    def _newton(self, direction: Tensor) -> Tensor:
        """Multiply by the inverse Hessian that the pairs describe: the two-loop recursion, algorithm 7.4."""
        if not self._pairs:
            return direction
        parts = []
        for pair in reversed(self._pairs):
            part = _dot(pair.change, direction) / pair.curvature
            parts.append(part)
            direction.add_(pair.gradient_change, alpha=-part)
        newest = self._pairs[-1]
        direction = self._spectrum.stretch(direction)
        size = _dot(newest.gradient_change, newest.gradient_change) * self._spectrum.growth()
        direction *= newest.curvature / size
        for pair, part in zip(self._pairs, reversed(parts), strict=True):
            direction.add_(pair.change, alpha=part - _dot(pair.gradient_change, direction) / pair.curvature)
        return direction


def _dot(one: Tensor, other: Tensor) -> float:
    return float(torch.dot(_flat(one), _flat(other)))


def _flat(tensor: Tensor) -> Tensor:
    # In the order that images made from frames have in memory: then it is a view.
    return (tensor.permute(0, 2, 3, 1) if tensor.ndim == 4 else tensor).reshape(-1)


SMALLEST_SIDE = 8
"""Pixels; smaller images have no bands worth the name."""

BANDS = 8
"""Half octaves of frequency, the finest up to half a cycle a pixel; the coarsest has all that is below."""

LONGEST = 4.0
"""A band's steps are at most that much longer or shorter than they would be without bands."""

FADING = 0.9
"""What older steps count for, at each newer one."""

# Luminance and two axes of chroma, orthonormal: so that distances stay what they are.
_AXES = ((3**-0.5, 3**-0.5, 3**-0.5), (2**-0.5, -(2**-0.5), 0.0), (6**-0.5, 6**-0.5, -2 * 6**-0.5))


class Spectrum:
    """Lengths of step for each axis of colour and band of frequencies.

    A length is the geometric mean of Barzilai and Borwein's two (1988): how far pixels were moved over how much their
    gradient changed by it, |s| / |y|, of the part of both that lies in the band.
    """

    def __init__(self) -> None:
        self._moved = self._changed = self._newest = torch.empty(0)

    @property
    def known(self) -> bool:
        """Whether there was a step to learn from."""
        return self._moved.numel() > 0

    def forget(self) -> None:
        """Drop all."""
        self._moved = self._changed = self._newest = torch.empty(0)

    def learn(self, change: Tensor, gradient_change: Tensor) -> None:
        """Take in how pixels were moved and how the gradient changed by it, both (1, 3, H, W)."""
        if change.ndim != 4 or min(change.shape[2:]) < SMALLEST_SIDE:
            return
        moved, changed = _energies(change), _energies(gradient_change)
        self._newest = changed
        # Steps get shorter on the way down: each counts in parts of its own.
        moved, changed = moved / moved.sum(), changed / changed.sum()
        if self.known:
            moved, changed = moved + FADING * self._moved, changed + FADING * self._changed
        self._moved, self._changed = moved, changed

    def lengths(self) -> Tensor:
        """How much longer than without bands steps are to be, (3, BANDS)."""
        lengths = (self._moved / self._changed.clamp_min(1e-30)).sqrt()
        usual = (lengths * self._changed).sum() / self._changed.sum()
        return (lengths / usual).clamp(1 / LONGEST, LONGEST)

    def stretch(self, direction: Tensor) -> Tensor:
        """A direction, (1, 3, H, W), with each band as long as it is to be."""
        if not self.known:
            return direction
        spectrum = _to_axes(direction)
        lengths, bands = self.lengths().to(direction.dtype), _bands(direction)
        for axis in range(3):
            spectrum[axis] *= lengths[axis][bands]
        stretched = torch.einsum("ac,ahw->chw", _axes(direction), torch.fft.irfft2(spectrum, s=direction.shape[2:]))
        return stretched[None].contiguous(memory_format=torch.channels_last)

    def growth(self) -> float:
        """By how much the newest step's change of gradient y gets larger, as (y, stretched y) / (y, y)."""
        if not self.known:
            return 1.0
        return float((self.lengths() * self._newest).sum() / self._newest.sum())

    def state(self) -> dict[str, Tensor]:
        """All that changes."""
        return {"moved": self._moved, "changed": self._changed, "newest": self._newest}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` gave."""
        self._moved, self._changed, self._newest = state["moved"], state["changed"], state["newest"]
        shapes = {self._moved.shape, self._changed.shape, self._newest.shape}
        if shapes not in ({torch.Size([0])}, {torch.Size([3, BANDS])}):
            raise ValueError("the spectrum is of the wrong shape")


def _to_axes(values: Tensor) -> Tensor:
    spectrum: Tensor = torch.fft.rfft2(torch.einsum("ac,chw->ahw", _axes(values), values[0]))
    return spectrum


def _axes(values: Tensor) -> Tensor:
    return torch.tensor(_AXES, dtype=values.dtype, device=values.device)


def _energies(values: Tensor) -> Tensor:
    """Energy in each band, float64 (3, BANDS), of values (1, 3, H, W)."""
    spectrum, width = _to_axes(values), values.shape[3]
    energy = spectrum.real.square().add_(spectrum.imag.square()).double()
    # The spectrum of real values holds half of the columns: all others stand for their mirror images too.
    energy[..., 1 : (width + 1) // 2] *= 2
    bands = _bands(values).flatten()
    return torch.stack([torch.bincount(bands, plane.flatten(), BANDS) for plane in energy])


def _bands(values: Tensor) -> Tensor:
    """Number of the band that each place of the spectrum belongs to, int64 (H, W // 2 + 1)."""
    height, width = values.shape[2:]
    down = torch.fft.fftfreq(height, device=values.device)[:, None]
    across = torch.fft.rfftfreq(width, device=values.device)
    octaves = torch.log2((2 * torch.hypot(down, across)).clamp_min_(1e-9))
    return (BANDS - 1 + 2 * octaves).round_().clamp_(0, BANDS - 1).long()


class AdamDescent:
    """Adam (Kingma and Ba 2015, algorithm 1), the pixels clamped to [0, 1] after each update."""

    def __init__(
        self,
        learning_rate: float = 10 / 255,
        end: float | None = None,
        steps: int = 1,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-12,
    ) -> None:
        """Take Adam's settings; the learning rate falls linearly to `end` over that many steps, or stays (None)."""
        self.learning_rate = learning_rate
        self._end, self._steps = learning_rate if end is None else end, steps
        self._betas, self._epsilon = betas, epsilon
        self._done, self._updates = 0, 0
        self._mean = self._square = torch.empty(0)

    def propose(self, image: Tensor, loss: float, gradient: Tensor) -> Tensor:  # noqa: ARG002 - Adam needs no loss
        """Return the next image to evaluate."""
        if not self._updates:
            self._mean, self._square = torch.zeros_like(image), torch.zeros_like(image)
        share = min(1.0, self._done / self._steps)
        learning_rate = self.learning_rate + (self._end - self.learning_rate) * share
        self._done, self._updates = self._done + 1, self._updates + 1
        first, second = self._betas
        self._mean.lerp_(gradient, 1 - first)
        self._square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
        size = (self._square / (1 - second**self._updates)).sqrt_().add_(self._epsilon)
        return torch.addcdiv(image, self._mean, size, value=-learning_rate / (1 - first**self._updates)).clamp_(0, 1)

    def grow(self, size: tuple[int, int]) -> None:
        """Enlarge the moments. The loss is a mean over pixels: a pixel's gradient shrinks as their number grows."""
        if self._updates:
            height, width = self._mean.shape[2:]
            share = height * width / (size[0] * size[1])
            self._mean = enlarge(self._mean, size) * share
            # The cubic overshoots: a square must not fall below 0.
            self._square = enlarge(self._square, size).clamp_(min=0) * share**2

    def forget(self) -> None:
        """Drop the moments; the learning rate goes on falling."""
        self._updates = 0
        self._mean = self._square = torch.empty(0)

    def state(self) -> dict[str, Tensor]:
        """The two moments and the number of updates."""
        counts = torch.tensor([self._done, self._updates])
        return {"counts": counts, "mean": self._mean, "square": self._square}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` gave."""
        self._done, self._updates = state["counts"].tolist()
        self._mean, self._square = state["mean"].clone(), state["square"].clone()
        if min(self._done, self._updates) < 0 or (self._updates and self._mean.ndim != 4):
            raise ValueError("the moments do not fit the number of updates")


PixelOptimizer: TypeAlias = LBFGSDescent | AdamDescent
"""A way down: told the loss and its gradient where it stands, it says which image to evaluate next."""


def new_descent(settings: OptimizeSettings) -> PixelOptimizer:
    """The way down that the settings name."""
    if settings.optimizer == "adam":
        return AdamDescent(
            settings.learning_rate or 10 / 255,
            settings.learning_rate_end,
            settings.learning_rate_steps or settings.steps,
            (settings.adam_beta1, settings.adam_beta2),
            settings.adam_epsilon,
        )
    return LBFGSDescent(settings.learning_rate or 1.0, settings.history)
