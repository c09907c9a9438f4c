"""Refining the fitted compact network by gradient descent: on VGG's responses, and on how they change.

A loss network serves by its gradient, so that it is not enough to answer a picture as VGG does: the answer must change
as VGG's does when the picture changes a little (the aim of Czarnecki et al. 2017, "Sobolev training for neural
networks"). The network is shown pairs of near pictures: two stages of a picture that is being optimised through the
network as it stands, a picture with and without noise, and one that is moved towards another. Differences of responses
need no second derivative.

Shapes: B pictures of a batch, C channels of a layer of VGG, D components of a head. Images are float32 (B, 3, H, W) RGB
in [0, 1].
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fastnst.distillation.descents import Descent
from fastnst.distillation.fitting import principal_basis, regress
from fastnst.distillation.pictures import Pictures
from fastnst.errors import DivergedError
from fastnst.perceptual.compact import COMPONENTS, LAYERS, CompactFeatures, convolution_of
from fastnst.perceptual.precision import autocast
from fastnst.perceptual.vgg import VGGFeatures

BASIS_PICTURES = 160
"""Pictures that the components are measured on."""

_POSITIONS = 300  # in each of them
_POOL = 24  # pictures that are on their way down
_DESCENTS, _OTHERS = 2, 2  # pairs of a step, of the two kinds
_WARM_UP = 150
_LARGEST_NORM = 5.0
_STRAYING = 4.0  # a change that is missed by more than that counts no more: some pairs hardly differ
_WEIGHTS = {"relu4_2": 2.0}  # the content term hangs on it alone


@dataclass(frozen=True)
class Missed:
    """Relative squared errors at one layer: of the responses, and of their changes."""

    responses: float
    changes: float


class Refiner:
    """Takes a compact network through the steps of a refinement."""

    def __init__(
        self,
        network: CompactFeatures,
        teacher: VGGFeatures,
        pictures: Pictures,
        *,
        learning_rate: float,
        steps: int,
        dtype: torch.dtype | None,
        seed: int,
    ) -> None:
        """Measure VGG's principal components and fit the heads to them.

        Args:
            network: is changed.
            teacher: VGG with the convolutions of the network's layers, before their rectifiers.
            pictures: what is looked at.
            learning_rate: Adam's at its highest; it falls to 0 along half a cosine.
            steps: how many there will be.
            dtype: arithmetic of both networks; None is float32.
            seed: of all that is drawn.
        """
        self.network, self.teacher, self.pictures, self.dtype = network, teacher, pictures, dtype
        self.device = next(network.parameters()).device
        self._rate, self._steps, self._rng = learning_rate, steps, np.random.default_rng((seed, 1))
        self._pool = [self._descent() for _ in range(_POOL)]
        self.bases = self._measure()
        self._adam = torch.optim.Adam(network.parameters(), betas=(0.9, 0.99))
        self._begun = 0

    def step(self, number: int) -> Mapping[str, Missed]:
        """Make one update, the `number`-th of all from 0 on; returns the errors before it, by layer.

        Raises DivergedError, with the network as it was before, for an error that is no finite number.
        """
        first, second = zip(*self._pairs(), strict=True)
        images = torch.cat([*first, *second]).contiguous(memory_format=torch.channels_last)
        wanted = self._teach(images)
        self.network.requires_grad_(True)
        with autocast(self.device, self.dtype):
            given = self.network(images)
        total, missed = torch.zeros((), device=self.device), {}
        for layer in LAYERS:
            own, theirs = given[layer].float(), wanted[layer]
            responses = _relative(own, theirs).mean()
            changes = _relative(_change(own), _change(theirs)).clamp(max=_STRAYING).mean()
            total = total + _WEIGHTS.get(layer, 1.0) * (responses + changes)
            missed[layer] = Missed(responses.item(), changes.item())
        if not math.isfinite(total.item()):
            self.network.requires_grad_(False)
            raise DivergedError(f"step {number + 1}: the error is no longer a number; take a lower --refine-rate")
        for group in self._adam.param_groups:
            group["lr"] = self._rate * min(1.0, (self._begun + 1) / _WARM_UP) * _cosine(number / self._steps)
        self._adam.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), _LARGEST_NORM)
        self._adam.step()
        self.network.requires_grad_(False)
        self._begun += 1
        return missed

    def _pairs(self) -> list[tuple[Tensor, Tensor]]:
        pairs = []
        for place in self._rng.integers(_POOL, size=_DESCENTS):
            descent = self._pool[place]
            before = descent.image
            pairs.append((descent.advance(int(self._rng.integers(1, 6)), self.dtype), before))
            if not descent.left:
                self._pool[place] = self._descent()
        for _ in range(_OTHERS):
            image = self._draw()
            pairs.append((image.to(self.device), self._near(image).to(self.device)))
        return pairs

    def _near(self, image: Tensor) -> Tensor:
        """The image with noise of one pixel or of four, or a little nearer to another one."""
        amount, kind = float(self._rng.choice([0.03, 0.06, 0.12])), self._rng.random()
        if kind < 0.75:
            grain = 1 if kind < 0.5 else 4
            size = (1, 3, image.shape[2] // grain, image.shape[3] // grain)
            noise = torch.from_numpy(self._rng.standard_normal(size, dtype=np.float32))
            noise = F.interpolate(noise, image.shape[2:], mode="bilinear") if grain > 1 else noise
            return (image + (amount if grain == 1 else 2 * amount) * noise).clamp(0, 1)
        return (image + 4 * amount * (self._draw() - image)).clamp(0, 1)

    def _draw(self) -> Tensor:
        other = self._rng.random() < 0.5
        return self.pictures.other(self._rng) if other else self.pictures.photo(self._rng)

    def _descent(self) -> Descent:
        return Descent(self.network, self.pictures, self._rng, self.device)

    @torch.no_grad()
    def _teach(self, images: Tensor) -> dict[str, Tensor]:
        """VGG's responses in the components of each layer, (B, D, H', W')."""
        with autocast(self.device, self.dtype):
            responses = self.teacher(images)
        rectified = {layer: responses[convolution_of(layer)].float().relu() for layer in LAYERS}
        return {layer: F.conv2d(rectified[layer], self.bases[layer]) for layer in LAYERS}

    def _measure(self) -> dict[str, Tensor]:
        """The components of each layer, (D, C, 1, 1), scaled to a mean square of 1; heads are fitted to them."""
        theirs: dict[str, list[Tensor]] = {layer: [] for layer in LAYERS}
        own: dict[str, list[Tensor]] = {layer: [] for layer in LAYERS}
        for number in range(BASIS_PICTURES):
            image = self._draw().to(self.device)
            if number % 3 == 0:
                descent = self._pool[number % _POOL]
                image = descent.advance(int(self._rng.integers(2, 12)), self.dtype)
            image = image.contiguous(memory_format=torch.channels_last)
            with torch.no_grad(), autocast(self.device, self.dtype):
                responses, rectified = self.teacher(image), self.network.rectified(image)
            for layer in LAYERS:
                name = convolution_of(layer)
                area = responses[name].shape[2] * responses[name].shape[3]
                chosen = self._rng.choice(area, min(_POSITIONS, area), replace=False)
                places = torch.from_numpy(chosen).to(self.device)
                theirs[layer].append(responses[name].float().relu().flatten(2)[0][:, places].T)
                own[layer].append(rectified[name].float().flatten(2)[0][:, places].T)
        bases = {}
        for layer in LAYERS:
            inputs, responses_of = torch.cat(own[layer]).double(), torch.cat(theirs[layer]).double()
            basis = principal_basis(responses_of, COMPONENTS[layer])
            basis = basis / (responses_of @ basis.T).square().mean().sqrt()
            head = self.network.heads[layer].get_parameter("weight")
            with torch.no_grad():
                head.copy_(regress(inputs, responses_of @ basis.T, constant=False).T[:, :, None, None])
            bases[layer] = basis[:, :, None, None].to(head.dtype)
        self._pool = [self._descent() if not descent.left else descent for descent in self._pool]
        return bases


def _change(features: Tensor) -> Tensor:
    """What is between the first half of a batch and the second, (B, D, H, W) -> (B / 2, D, H, W)."""
    first, second = features.chunk(2)
    return first - second


def _relative(given: Tensor, wanted: Tensor) -> Tensor:
    """Squared errors over squares, of each picture: (B, D, H, W) twice -> (B,)."""
    return (given - wanted).square().sum((1, 2, 3)) / wanted.square().sum((1, 2, 3)).clamp(min=1e-6)


def _cosine(done: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
