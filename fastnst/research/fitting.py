"""Weights of the compact network: each convolution is fitted to its counterpart of VGG by least squares.

From the first layer to the last, a convolution is fitted to VGG's responses, given what the compact network's own
earlier layers hand on, so that each layer makes up for the errors before it (He et al. 2017, "Channel pruning for
accelerating very deep neural networks"). Of VGG's channels those are kept that explain the others best. The input is
reduced to the directions that the teacher's kernel makes most of, the output by reduced-rank regression (Zhang et al.
2016, "Accelerating very deep convolutional networks for classification and detection").

Shapes: N positions sampled over all images, C channels of a layer of VGG, D channels kept of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from fastnst.losses.compact import MEAN, SHAPES, STD, CompactFeatures, begins_block
from fastnst.losses.precision import autocast
from fastnst.losses.vgg import VGGFeatures

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
        """Sample the teacher's responses.

        Args:
            network: the compact network; its weights are replaced.
            teacher: VGG with the layers of SHAPES, as convolutions before their rectifiers.
            images: images (1, 3, H, W) RGB in [0, 1] on the networks' device.
            dtype: arithmetic of the teacher; None is float32.
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
    """Choose the channels, (count,) numbers, that explain the others best: pivots of a Cholesky factorisation.

    Args:
        responses: (N, C), after the rectifier.
        count: D, how many; all of them where there are no more.
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
