"""Weights of the compact network: each convolution is fitted to its counterpart of VGG by least squares, and all are
then refined by gradient descent.

From the first layer to the last, a convolution is fitted to VGG's responses, given what the compact network's own
earlier layers hand on, so that each layer makes up for the errors before it (He et al. 2017, "Channel pruning for
accelerating very deep neural networks"). Of VGG's channels those are kept that explain the others best. The input is
reduced to the directions that the teacher's kernel makes most of, the output by reduced-rank regression (Zhang et al.
2016, "Accelerating very deep convolutional networks for classification and detection").

A loss network serves by its gradient, so that it is not enough to answer a picture as VGG does: the answer must change
as VGG's does when the picture changes a little (the aim of Czarnecki et al. 2017, "Sobolev training for neural
networks"). The network is shown pairs of near pictures: two stages of a picture that is being optimized through the
network as it stands, a picture with and without noise, and one that is moved towards another. Differences of responses
need no second derivative.

Shapes: N positions sampled over all images, B pictures of a batch, C channels of a layer of VGG, D channels kept of
them or components of a head. Images are float32 (B, 3, H, W) RGB in [0, 1].
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fastnst.errors import DivergedError
from fastnst.losses.compact import COMPONENTS, LAYERS, MEAN, SHAPES, STD, CompactFeatures, begins_block, convolution_of
from fastnst.losses.losses import gram_matrix
from fastnst.losses.settings import LossSettings
from fastnst.losses.vgg import VGGFeatures
from fastnst.losses.weights import autocast
from fastnst.research.distill_pictures import PictureDescent, Pictures, advance, draw, near_pairs, plans

POSITIONS = 384
"""Positions sampled in each image."""


@dataclass(frozen=True)
class Fit:
    """How well a layer was fitted, as shares of VGG's variance that are missed."""

    layer: str
    convolution: float
    """By the kept channels after the rectifier."""

    head: float | None
    """By the components that the layer's head gives; None: it has no head."""


class Fitter:
    """Fits a compact network to a teacher on some images, layer by layer."""

    def __init__(
        self, network: CompactFeatures, teacher: VGGFeatures, images: Sequence[Tensor], dtype: torch.dtype | None
    ) -> None:
        """Sample the responses of VGG with the layers of SHAPES, as convolutions before their rectifiers.

        The compact network's weights are replaced. Images are (1, 3, H, W) RGB in [0, 1] on the networks' device;
        `dtype` is the arithmetic of the teacher; None is float32.
        """
        self.network, self.teacher = network, teacher
        self.bases: dict[str, Tensor] = {}
        """For each head the basis that it answers in, (components, C, 1, 1), scaled to a mean square of 1."""

        generator = torch.Generator().manual_seed(0)
        self._positions: list[dict[str, Tensor]] = []
        sampled: dict[str, list[Tensor]] = {name: [] for name in teacher.layers}
        for image in images:
            with torch.no_grad(), autocast(image.device, dtype):
                responses = teacher(image)
            places = {}
            for name, value in responses.items():
                area = value.shape[2] * value.shape[3]
                places[name] = torch.randint(area, (min(POSITIONS, 2 * area),), generator=generator).to(image.device)
                sampled[name].append(_at(value.float(), places[name]))
            self._positions.append(places)
        self._sampled = {name: torch.cat(parts) for name, parts in sampled.items()}
        self._inputs = [(image - MEAN) / STD for image in images]
        self._before: tuple[Tensor, Tensor] | None = None  # the layer before: compact (N, D), and VGG's (N, C)

    @torch.no_grad()
    def fit(self, name: str) -> Fit:
        """Fit one convolution and its head; to be called in the order of SHAPES."""
        if begins_block(name):
            self._inputs = [F.avg_pool2d(value, 2) for value in self._inputs]
        shape, responses = SHAPES[name], self._sampled[name].double()
        rectified = responses.relu()
        kept = choose_channels(rectified, shape.channels)
        scale = rectified[:, kept].square().mean().sqrt()
        wanted = responses[:, kept] / scale
        # What a rectifier lets through of a channel is what counts of it.
        weights = (wanted.relu().var(0) / wanted.var(0)).sqrt().clamp(min=0.05)
        unit = self.network.convolutions[name]
        inputs = self._inputs
        if shape.reduced and self._before is not None:
            kernel = self.teacher.convolutions[name].get_parameter("weight").double()[kept] / scale
            directions = self._directions(kernel * weights[:, None, None, None], shape.reduced)
            unit.get_submodule("reduce").get_parameter("weight").copy_(directions[:, :, None, None])
            inputs = [unit.get_submodule("reduce")(value) for value in inputs]
        patches = torch.cat([
            _at(F.unfold(value, 3, padding=1)[..., None], places[name])
            for value, places in zip(inputs, self._positions, strict=True)
        ]).double()  # fmt: skip
        solution = regress(patches, wanted)
        if shape.rank:
            inner = _leading(patches, solution, weights, shape.rank)
            outer = regress(patches @ inner, wanted, ridge=1e-6)
            _set(unit.get_submodule("convolve").get_parameter("weight"), inner.T)
            _set(unit.get_submodule("expand").get_parameter("weight"), outer[:-1].T)
            _set(unit.get_submodule("expand").get_parameter("bias"), outer[-1])
            solution = torch.cat([inner @ outer[:-1], outer[-1:]])
        else:
            convolve = unit.get_submodule("convolve")
            _set(convolve.get_parameter("weight"), solution[:-1].T)
            _set(convolve.get_parameter("bias"), solution[-1])
        fitted = (patches @ solution[:-1] + solution[-1]).relu()
        self._inputs = [unit(value) for value in self._inputs]
        own = [_at(value, places[name]) for value, places in zip(self._inputs, self._positions, strict=True)]
        self._before = torch.cat(own).double(), rectified
        layer = name.replace("conv", "relu")
        head = self._fit_head(layer, fitted, rectified) if layer in self.network.heads else None
        return Fit(layer, _missed(fitted, wanted.relu()), head)

    def _directions(self, kernel: Tensor, count: int) -> Tensor:
        """Directions (count, own channels) of the input that a kernel (D, C, 3, 3) of VGG makes most of."""
        own, theirs = self._before or (torch.empty(0), torch.empty(0))
        own = own - own.mean(0)
        covariance = own.T @ own / len(own)
        values, vectors = torch.linalg.eigh(covariance)
        values = values.clamp(min=1e-6 * float(values.max()))
        root, inverse = (vectors * values.sqrt()) @ vectors.T, (vectors / values.sqrt()) @ vectors.T
        restored = regress(own, theirs, ridge=1e-3)[:-1]
        through = root @ (restored @ torch.einsum("ocyx,odyx->cd", kernel, kernel) @ restored.T) @ root
        _, principal = torch.linalg.eigh((through + through.T) / 2)
        directions: Tensor = (inverse @ principal.flip(1)[:, :count]).T
        return directions

    def _fit_head(self, layer: str, fitted: Tensor, rectified: Tensor) -> float:
        head = self.network.heads[layer].get_parameter("weight")
        basis = principal_basis(rectified, head.shape[0])
        basis = basis / (rectified @ basis.T).square().mean().sqrt()
        wanted = rectified @ basis.T
        solution = regress(fitted, wanted, constant=False)
        _set(head, solution.T)
        self.bases[layer] = basis[:, :, None, None].to(head.dtype)
        return _missed(fitted @ solution, wanted)


def choose_channels(responses: Tensor, count: int) -> Tensor:
    """Choose `count` channels, or all, that explain the others best: pivots of a Cholesky factorisation.

    Responses are (N, C), after the rectifier.
    """
    if count >= responses.shape[1]:
        return torch.arange(responses.shape[1], device=responses.device)
    covariance = torch.cov(responses.T)
    covariance = covariance / covariance.diagonal().mean()
    left = covariance + 1e-6 * torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device)
    chosen: list[int] = []
    for _ in range(count):
        gain = left.square().sum(0) / left.diagonal().clamp(min=1e-9)
        gain[chosen] = -1
        best = int(gain.argmax())
        chosen.append(best)
        left = left - torch.outer(left[:, best], left[best]) / left[best, best]
    return torch.tensor(chosen, device=responses.device)


def principal_basis(responses: Tensor, count: int) -> Tensor:
    """Principal components about the origin, (count, C) orthonormal rows, of responses (N, C).

    About the origin, not about the mean, as the Gram matrix that they serve is.
    """
    _, vectors = torch.linalg.eigh(responses.T @ responses / len(responses))
    basis: Tensor = vectors.flip(1)[:, :count].T
    return basis


def regress(inputs: Tensor, targets: Tensor, *, ridge: float = 1e-4, constant: bool = True) -> Tensor:
    """Weights, (A + 1, B) with the constant last, with which inputs (N, A) come closest to targets (N, B).

    `ridge` is relative to each input's mean square. Without `constant` the weights are (A, B).
    """
    if constant:
        inputs = torch.cat([inputs, inputs.new_ones(len(inputs), 1)], dim=1)
    moments = inputs.T @ inputs / len(inputs)
    diagonal = moments.diagonal()
    moments = moments + torch.diag(ridge * diagonal + ridge * 1e-2 * diagonal.mean())
    solution: Tensor = torch.linalg.solve(moments, inputs.T @ targets / len(inputs))
    return solution


def _leading(patches: Tensor, solution: Tensor, weights: Tensor, rank: int) -> Tensor:
    """First factor, (A, rank), of the best approximation of some rank to a solution of `regress`, (A + 1, D)."""
    predicted = patches @ solution[:-1]
    spread = (predicted - predicted.mean(0)) * weights
    _, vectors = torch.linalg.eigh(spread.T @ spread / len(spread))
    inner = (solution[:-1] * weights) @ vectors.flip(1)[:, :rank]
    scaled: Tensor = inner / (patches @ inner).var(0).mean().sqrt()
    return scaled


def _at(value: Tensor, places: Tensor) -> Tensor:
    """Values at some places of a map: (1, A, H, W) or (1, A, H W, 1), (n,) -> (n, A)."""
    return value.flatten(2)[0].index_select(1, places).T


def _set(parameter: Tensor, value: Tensor) -> None:
    parameter.copy_(value.reshape(parameter.shape))


def _missed(given: Tensor, wanted: Tensor) -> float:
    return float((given - wanted).square().mean() / wanted.var(0).mean())


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
        """Measure VGG's principal components and fit the heads to them; the compact network is changed.

        The teacher is VGG with the convolutions of the network's layers, before their rectifiers. Adam's learning rate
        falls from its highest to 0 along half a cosine over all steps; half of the pairs of near pictures in each are
        stages of optimizations. So many workers draw pictures, twice. `dtype` is the arithmetic of both networks; None
        is float32.
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
