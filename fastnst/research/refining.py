"""Refining the fitted compact network by gradient descent: on VGG's responses, and on how they change.

A loss network serves by its gradient, so that it is not enough to answer a picture as VGG does: the answer must change
as VGG's does when the picture changes a little (the aim of Czarnecki et al. 2017, "Sobolev training for neural
networks"). The network is shown pairs of near pictures: two stages of a picture that is being optimized through the
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

from fastnst.errors import DivergedError
from fastnst.losses.compact import COMPONENTS, LAYERS, CompactFeatures, convolution_of
from fastnst.losses.losses import gram_matrix
from fastnst.losses.precision import autocast
from fastnst.losses.settings import LossSettings
from fastnst.losses.vgg import VGGFeatures
from fastnst.research.distill_pictures import PictureDescent, Pictures, advance, draw, near_pairs, plans
from fastnst.research.fitting import principal_basis, regress

BASIS_PICTURES = 160
"""Pictures that the components are measured on."""

_POSITIONS = 300  # in each of them
_POOL = 12  # pictures that are on their way down, for each of those that a step advances
_WARM_UP = 150
_LARGEST_NORM = 5.0
_STRAYING = 4.0  # a change that is missed by more than that counts no more: some pairs hardly differ
_WEIGHTS = {"relu4_2": 2.0}  # the content term hangs on it alone
STYLE_WEIGHT = 2.0  # weight of the changes of Gram matrices beside the others, at the layers of the style term
_SETTINGS = LossSettings(loss_network="compact")


@dataclass(frozen=True)
class Missed:
    """Relative squared errors at one layer: of the responses, of their changes, and of their Gram matrix's."""

    responses: float
    changes: float
    style: float


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
        pairs: int,
        workers: int,
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
            pairs: of near pictures in each; half of them are stages of optimizations.
            workers: processes that draw pictures, twice.
            dtype: arithmetic of both networks; None is float32.
            seed: of all that is drawn.
        """
        self.network, self.teacher, self.pictures, self.dtype = network, teacher, pictures, dtype
        self.device = next(network.parameters()).device
        self._rate, self._steps, self._rng = learning_rate, steps, np.random.default_rng((seed, 1))
        self._advanced = pairs // 2
        self._near = near_pairs(pictures, seed, pairs - self._advanced, workers)
        self._plans = plans(pictures, seed, workers)
        self._pool = [self._descent() for _ in range(_POOL * self._advanced)]
        self.bases = self._measure()
        self._adam = torch.optim.Adam(network.parameters(), betas=(0.9, 0.99))
        self._begun = 0

    def step(self, number: int) -> Mapping[str, Missed]:
        """Make one update, the `number`-th of all from 0 on; returns the errors before it, by layer.

        Raises DivergedError, with the network as it was before, for an error that is no finite number.
        """
        images = self._pairs().contiguous(memory_format=torch.channels_last)
        wanted = self._teach(images)
        self.network.requires_grad_(True)
        with autocast(self.device, self.dtype):
            given = self.network(images)
        total, errors = torch.zeros((), device=self.device), []
        for layer in LAYERS:
            own, theirs = given[layer].float(), wanted[layer]
            responses = relative_errors(own, theirs).mean()
            changes = relative_errors(change_of(own), change_of(theirs)).clamp(max=_STRAYING).mean()
            style = (
                relative_errors(change_of(gram_matrix(own)), change_of(gram_matrix(theirs))).clamp(max=_STRAYING).mean()
            )
            total = total + _WEIGHTS.get(layer, 1.0) * (responses + changes)
            total = total + (STYLE_WEIGHT * style if layer in _SETTINGS.style_layers else 0)
            errors.append(torch.stack([responses, changes, style]))
        values = torch.stack(errors).tolist()
        if not all(math.isfinite(value) for row in values for value in row):
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
        return {layer: Missed(*row) for layer, row in zip(LAYERS, values, strict=True)}

    def _pairs(self) -> Tensor:
        """Pictures, and then in the same order what is near each."""
        chosen = [int(place) for place in self._rng.permutation(len(self._pool))[: self._advanced]]
        descents = [self._pool[place] for place in chosen]
        before = [descent.image for descent in descents]
        after = advance(self.network, descents, int(self._rng.integers(1, 6)), self.dtype)
        for place in chosen:
            if not self._pool[place].left:
                self._pool[place] = self._descent()
        first, second = next(self._near).to(self.device).chunk(2)
        return torch.cat([after, first, *before, second])

    def _descent(self) -> PictureDescent:
        return PictureDescent(self.network, next(self._plans), self.device, self.dtype)

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
            image = draw(self.pictures, self._rng).to(self.device)
            if number % 3 == 0:
                descent = self._pool[number % len(self._pool)]
                image = advance(self.network, [descent], int(self._rng.integers(2, 12)), self.dtype)
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


def change_of(features: Tensor) -> Tensor:
    """What is between the first half of a batch and the second, (B, ...) -> (B / 2, ...)."""
    first, second = features.chunk(2)
    return first - second


def relative_errors(given: Tensor, wanted: Tensor) -> Tensor:
    """Squared errors over squares, of each picture: (B, ...) twice -> (B,)."""
    return (given - wanted).square().flatten(1).sum(1) / wanted.square().flatten(1).sum(1).clamp(min=1e-6)


def _cosine(done: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
