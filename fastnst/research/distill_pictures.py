"""What the compact network learns from: photographs, paintings, distorted ones, noise and flat color; pairs of near
ones, and pictures optimized through the network, stopped at all stages of it.

An optimizer finds what a loss network is blind to, and goes there; so the network is fitted again to what its teacher
says of such pictures (the idea of Ross et al. 2011, "A reduction of imitation learning and structured prediction to
no-regret online learning"). For the refinement worker processes draw a few steps ahead; what is drawn for a step
follows from the seed and the step's number alone, whatever the number of workers.

Shapes: B pictures. Images are float32 (1, 3, H, W) RGB in [0, 1]; all that is drawn comes from the generator that is
handed in.
"""

import itertools
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from fastnst.errors import InputError
from fastnst.io.images import read_frame, resize_long_side
from fastnst.io.tensors import to_image
from fastnst.losses.perceptual import PerceptualLoss
from fastnst.losses.settings import LossSettings
from fastnst.losses.vgg import LossNetwork
from fastnst.losses.weights import autocast
from fastnst.training.data import start_worker, worker_context
from fastnst.training.photographs import Framing, list_pictures, read_square

_TRIES = 50
_PHOTO_ZOOM, _PAINTING_ZOOM = 1.4, 4.5  # most that a crop shows less than the whole shorter side
_STYLE_SIZES = (224, 288, 384)


class Pictures:
    """Pictures drawn from two folders; broken files are passed over."""

    def __init__(self, photos: Path, paintings: Path, crop: int) -> None:
        """Scan the folders; raises InputError for one without pictures."""
        self.crop_size = crop
        self._photos = [photos / name for name in list_pictures(photos)]
        self._paintings = [paintings / name for name in list_pictures(paintings)]

    def photo(self, rng: np.random.Generator) -> Tensor:
        """A square of a photograph."""
        return self._square(rng, self._photos, rng.uniform(1, _PHOTO_ZOOM))

    def painting(self, rng: np.random.Generator) -> Tensor:
        """A square of a painting, from the whole of it to a few strokes."""
        return self._square(rng, self._paintings, math.exp(rng.uniform(0, math.log(_PAINTING_ZOOM))))

    def style(self, rng: np.random.Generator) -> Tensor:
        """A style picture: mostly a whole painting, sometimes a photograph."""
        if rng.random() < 0.15:
            return self.photo(rng)
        for _ in range(_TRIES):
            try:
                frame = read_frame(self._paintings[rng.integers(len(self._paintings))])
            except InputError:
                continue
            return to_image(resize_long_side(frame, int(rng.choice(_STYLE_SIZES))))
        raise _unusable(self._paintings)

    def other(self, rng: np.random.Generator) -> Tensor:
        """Anything but a plain photograph."""
        kind = rng.random()
        if kind < 0.45:
            return self.painting(rng)
        return self._distorted(rng) if kind < 0.85 else self.noise(rng)

    def noise(self, rng: np.random.Generator) -> Tensor:
        """Noise of some grain, contrast and color, down to a flat color."""
        grain = int(rng.choice([1, 2, 4, 8, 16]))
        cells = self.crop_size // grain + 1
        values = _uniform(rng, 1, 3, cells, cells)
        if rng.random() < 0.5:
            values = values.mean(1, keepdim=True).expand(-1, 3, -1, -1)
        values = F.interpolate(values, (self.crop_size, self.crop_size), mode=str(rng.choice(["nearest", "bilinear"])))
        flat = _uniform(rng, 1, 3, 1, 1)
        return flat + (values - flat) * float(rng.choice([0, 0.1, 0.3, 1, 1]))

    def _distorted(self, rng: np.random.Generator) -> Tensor:
        image = self.photo(rng) if rng.random() < 0.5 else self.painting(rng)
        match rng.integers(5):
            case 0:
                grain = torch.from_numpy(rng.standard_normal(image.shape, dtype=np.float32))
                image = image + grain * rng.uniform(0.02, 0.3)
            case 1:
                image = F.avg_pool2d(F.pad(image, (3, 3, 3, 3), mode="reflect"), 7, 1)
            case 2:
                image = (image - 0.5) * rng.uniform(0.1, 2.5) + _uniform(rng, 1, 3, 1, 1)
            case 3:
                image = image[:, torch.from_numpy(rng.permutation(3))]
            case _:
                share = rng.uniform(0.2, 0.8)
                image = share * image + (1 - share) * self.noise(rng)
        return image.clamp(0, 1)

    def _square(self, rng: np.random.Generator, files: list[Path], zoom: float) -> Tensor:
        framing = Framing(zoom, rng.random(), rng.random(), bool(rng.random() < 0.5))
        for _ in range(_TRIES):
            try:
                return to_image(read_square(files[rng.integers(len(files))], self.crop_size, framing))
            except InputError:
                continue
        raise _unusable(files)


def _uniform(rng: np.random.Generator, *shape: int) -> Tensor:
    return torch.from_numpy(rng.random(shape, dtype=np.float32))


def _unusable(files: list[Path]) -> InputError:
    return InputError(f"{files[0].parent}: {_TRIES} of its pictures in a row cannot be used; give another folder")


DESCENT_STEPS = (4, 120)
"""Fewest and most steps that a picture is optimized for."""

_NO_CONTENT = 1e6
"""Style weight beside which content does not count."""

_SETTINGS = LossSettings(loss_network="compact", style_weight=1.0)
"""Each picture's own style weight comes as a factor."""


@dataclass(frozen=True)
class DescentPlan:
    """What a picture is optimized from and for; all is drawn within what users ask for and beyond."""

    photo: Tensor
    start: Tensor
    style: Tensor
    style_weight: float
    learning_rate: float
    """Of Adam on the pixels."""
    steps: int


def draw_plan(pictures: Pictures, rng: np.random.Generator) -> DescentPlan:
    """Draw photograph, first image, style, weights, learning rate and number of steps."""
    photo = pictures.photo(rng)
    return DescentPlan(
        photo=photo,
        start=_first_image(photo, pictures, rng),
        style=pictures.style(rng),
        style_weight=_between(rng, 1.5, 40) if rng.random() < 0.9 else _NO_CONTENT,
        learning_rate=_between(rng, 0.008, 0.05),
        steps=int(_between(rng, *DESCENT_STEPS)),
    )


class PictureDescent:
    """A picture on its way down the loss by the compact network.

    Each step goes through the network as it then stands; photograph and style are measured once, at the beginning.
    """

    def __init__(
        self, network: LossNetwork, plan: DescentPlan, device: torch.device, dtype: torch.dtype | None
    ) -> None:
        """Measure what is aimed at. `device` is where the network is; `dtype` its arithmetic, None is float32."""
        self.image = plan.start.to(device)
        """Where it stands, (1, 3, H, W)."""
        self.left = plan.steps
        """Steps to come."""
        self.style_weight = plan.style_weight
        loss = PerceptualLoss(network, _SETTINGS)
        with autocast(device, dtype):
            self.content = loss.measure_content(plan.photo.to(device))
            self.style = loss.measure_style(plan.style.to(device))
        self.pixels = self.image.clone().requires_grad_()
        self.adam = torch.optim.Adam([self.pixels], lr=plan.learning_rate, betas=(0.9, 0.99), eps=1e-12)


def advance(network: LossNetwork, descents: Sequence[PictureDescent], steps: int, dtype: torch.dtype | None) -> Tensor:
    """Go that many steps with each, or as many as it has left; returns where they stand then, (B, 3, H, W).

    They go through the network together, which a GPU is hardly slower for. `dtype`: arithmetic, None is float32.
    """
    loss, device = PerceptualLoss(network, _SETTINGS), descents[0].pixels.device
    content = {layer: torch.cat([one.content[layer] for one in descents]) for layer in descents[0].content}
    style = {
        layer: tuple(torch.cat(parts) for parts in zip(*(one.style[layer] for one in descents), strict=True))
        for layer in descents[0].style
    }
    weights = torch.tensor([one.style_weight for one in descents], device=device)
    for step in range(min(steps, max(one.left for one in descents))):
        images = torch.cat([one.pixels.detach() for one in descents]).contiguous(memory_format=torch.channels_last)
        images.requires_grad_(True)
        with autocast(device, dtype):
            total = loss(images, content, style, weights).total
        (gradient,) = torch.autograd.grad(total, images)
        for one, own in zip(descents, gradient.chunk(len(descents)), strict=True):
            if step < one.left:
                one.pixels.grad = own.contiguous()
                one.adam.step()
                with torch.no_grad():
                    one.pixels.clamp_(0, 1)
    for one in descents:
        one.left = max(0, one.left - steps)
        one.image = one.pixels.detach().clone()
    return torch.cat([one.image for one in descents])


def draw_descent(
    network: LossNetwork, pictures: Pictures, rng: np.random.Generator, device: torch.device, dtype: torch.dtype | None
) -> Tensor:
    """Optimize one picture for a random number of steps."""
    descent = PictureDescent(network, draw_plan(pictures, rng), device, dtype)
    return advance(network, [descent], descent.left, dtype)


def _first_image(photo: Tensor, pictures: Pictures, rng: np.random.Generator) -> Tensor:
    kind = rng.random()
    if kind < 0.7:
        return photo
    if kind < 0.85:
        return torch.from_numpy(rng.random(photo.shape, dtype=np.float32))
    return pictures.other(rng)


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high)))


_PAIRS, _PLANS = 1, 2  # keep their random numbers apart
_Item = TypeVar("_Item")


def near_pairs(pictures: Pictures, seed: int, count: int, workers: int) -> Iterator[Tensor]:
    """Endlessly: `count` pictures and then what is near each of them, (2 * count, 3, H, W)."""
    return _drawn(_Pairs(pictures, seed, count), workers)


def plans(pictures: Pictures, seed: int, workers: int) -> Iterator[DescentPlan]:
    """Endlessly: pictures to be optimized."""
    return _drawn(_Plans(pictures, seed), workers)


def draw(pictures: Pictures, rng: np.random.Generator) -> Tensor:
    """A photograph or, as often, something else, (1, 3, H, W)."""
    return pictures.other(rng) if rng.random() < 0.5 else pictures.photo(rng)


def near(image: Tensor, pictures: Pictures, rng: np.random.Generator) -> Tensor:
    """The image, (1, 3, H, W), with noise of one pixel or of four, or a little nearer to another one."""
    amount, kind = float(rng.choice([0.03, 0.06, 0.12])), rng.random()
    if kind < 0.75:
        grain = 1 if kind < 0.5 else 4
        size = (1, 3, image.shape[2] // grain, image.shape[3] // grain)
        noise = torch.from_numpy(rng.standard_normal(size, dtype=np.float32))
        noise = F.interpolate(noise, image.shape[2:], mode="bilinear") if grain > 1 else noise
        return (image + (amount if grain == 1 else 2 * amount) * noise).clamp(0, 1)
    return (image + 4 * amount * (draw(pictures, rng) - image)).clamp(0, 1)


@dataclass(frozen=True)
class _Pairs(Dataset[Tensor]):
    pictures: Pictures
    seed: int
    count: int

    def __getitem__(self, step: int) -> Tensor:
        rng = np.random.default_rng((_PAIRS, self.seed, step))
        images = [draw(self.pictures, rng) for _ in range(self.count)]
        return torch.cat([*images, *(near(image, self.pictures, rng) for image in images)])


@dataclass(frozen=True)
class _Plans(Dataset[DescentPlan]):
    pictures: Pictures
    seed: int

    def __getitem__(self, number: int) -> DescentPlan:
        return draw_plan(self.pictures, np.random.default_rng((_PLANS, self.seed, number)))


class _Numbers:
    def __iter__(self) -> Iterator[int]:
        return itertools.count()


def _drawn(items: Dataset[_Item], workers: int) -> Iterator[_Item]:
    with warnings.catch_warnings():
        # Told to use one core, torch warns of a second worker; readers mostly wait, so it does no harm.
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
        loader: DataLoader[_Item] = DataLoader(
            items,
            batch_size=None,
            sampler=_Numbers(),
            num_workers=workers,
            worker_init_fn=start_worker if workers else None,
            multiprocessing_context=worker_context() if workers else None,
            generator=torch.Generator().manual_seed(0),
        )
        return iter(loader)
