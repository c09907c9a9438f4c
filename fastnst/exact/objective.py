"""What the exact method minimises: the perceptual loss of the pixels, against references measured once.

`strength` is one knob that means the same for every pair of photo and style: how much of the photo's content is given
up, the relative squared error of the stylized picture's features at the content layers, 0 the photo itself, 1 as far
from it as nothing at all. Which style weight leads there depends on photo, painting and formulas by orders of
magnitude; so the pair is painted small, a few steps at a time, until the weight is known. That takes about as long as
ten steps at 512 pixels.

H and W are height and width; images are float32 (1, 3, H, W) RGB in [0, 1], frames uint8 (H, W, 3) RGB.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from fastnst.errors import InputError, SettingError
from fastnst.exact.color_control import ColorChoice, colour_rule, recolour_style
from fastnst.exact.optimizers import LBFGSDescent
from fastnst.exact.regions import Guides
from fastnst.exact.settings import OptimizeSettings, Style, Styles, check_picture, crop_to, fitted_size, share_out
from fastnst.io.images import Frame, resize_frame
from fastnst.io.tensors import to_frame, to_image
from fastnst.losses.losses import relative_error
from fastnst.losses.perceptual import PerceptualLoss, search_style_weight
from fastnst.losses.terms import Positions, StyleReference, StyleTarget
from fastnst.losses.vgg import LossNetwork
from fastnst.losses.weights import autocast

Blend = Literal["gram", "loss", "image"]


class PixelObjective:
    """The loss of an image and its gradient; the references are measured in float32 whatever `dtype` is."""

    def __init__(
        self,
        loss: PerceptualLoss,
        content: Tensor,
        style: Tensor | Sequence[StyleTarget],
        dtype: torch.dtype | None,
        *,
        color: ColorChoice = "style",
    ) -> None:
        """Measure the references: content image, (1, 3, H, W), and style image of any size, or targets measured before.

        `dtype` is the arithmetic of the loss network in `evaluate`; None is float32. Raises InputError for an image
        that the loss network is too deep for.
        """
        self.loss, self.dtype = loss, dtype
        self.check_size(loss.network, "photo", (content.shape[2], content.shape[3]), "--size", "a larger --size")
        self._colours = colour_rule(color, content)
        self.content = loss.measure_content(self._colours.view(content))
        self.style: StyleReference | Sequence[StyleTarget]
        if isinstance(style, Tensor):
            self.check_size(
                loss.network, "style picture", (style.shape[2], style.shape[3]), "--style-size", "a larger --style-size"
            )
            self.style = loss.measure_style(style)
        else:
            self.style = style

    def evaluate(self, image: Tensor) -> tuple[dict[str, float], Tensor]:
        """Losses of an image by name (total, content, style, total_variation), and the gradient of the total."""
        pixels = image.detach().requires_grad_()
        with autocast(image.device, self.dtype):
            terms = self.loss(self._colours.view(pixels), self.content, self.style)
        (gradient,) = torch.autograd.grad(terms.total, pixels)
        return terms.floats(), self._colours.project(gradient)

    def judge(self, image: Tensor) -> dict[str, float]:
        """Losses of an image by name, in float32."""
        with torch.no_grad():
            return self.loss(self._colours.view(image), self.content, self.style).floats()

    def content_lost(self, image: Tensor) -> float:
        """How much of the photo an image has given up: relative error at the content layers, 0 nothing, 1 all."""
        with torch.no_grad():
            features = self.loss.features(self._colours.view(image))
        errors = [relative_error(features[layer], self.content[layer]) for layer in self.loss.settings.content_layers]
        return float(torch.stack(errors).mean())

    def constrain(self, image: Tensor) -> Tensor:
        """The nearest image that is allowed, (1, 3, H, W): to be asked after every change of the pixels."""
        return self._colours.constrain(image)

    @staticmethod
    def check_size(network: LossNetwork, what: str, size: tuple[int, int], decided_by: str, remedy: str) -> None:
        """Raise InputError for a picture, `what` in words, that the network is too deep for.

        Its size is (height, width) in pixels, which something decided; the remedy is what to give instead.
        """
        height, width = size
        if min(height, width) < network.smallest_side:
            raise InputError(
                f"the {what} is {width}x{height} pixels once resized to {decided_by}; the loss network needs at least "
                f"{network.smallest_side} a side for {network.layers[-1]}: give {remedy} or shallower layers"
            )


class Subject:
    """A photo and its styles. Asked for a size, it measures them anew: so every level of a pyramid has its own."""

    def __init__(
        self, content: Frame, styles: Styles, settings: OptimizeSettings, content_mask: Frame | None = None
    ) -> None:
        """Take photo, uint8 (H, W, 3) RGB, its regions, each in its own colour, and style pictures; none is changed.

        The settings say how they are brought together: size, style_size, stroke, aspect, style_blend, regions ...
        Raises InputError for what is no picture and for masks that do not fit, SettingError for impossible weights.
        """
        self.settings = settings
        self._content = check_picture(content, "photo")
        given = share_out(styles)
        self._guides = Guides.of(content, given, content_mask, settings)
        shape = content.shape[:2]
        if settings.aspect == "crop":
            given = [replace(style, frame=crop_to(style.frame, shape)) for style in given]
        self._styles = blend_images(given) if settings.style_blend == "image" else given

    def size(self, long_side: int) -> tuple[int, int]:
        """(height, width) of the picture at a long side of that many pixels."""
        return fitted_size(self._content, long_side, self.settings.aspect)

    def photo(self, long_side: int) -> Tensor:
        """The content image at a long side of that many pixels."""
        return to_image(resize_frame(self._content, self.size(long_side)))

    def objective(
        self, loss: PerceptualLoss, long_side: int, device: torch.device, dtype: torch.dtype | None
    ) -> PixelObjective:
        """What is minimised at a long side of that many pixels; style pictures are scaled along with the photo.

        Raises InputError for a picture that is too small for the loss network.
        """
        self._check_sizes(loss.network, long_side)
        photo = self.photo(long_side).to(device)
        targets = self._targets(loss, photo, long_side)
        return PixelObjective(loss, photo, targets, dtype, color=self.settings.color)

    def style_side(self, long_side: int) -> int:
        """Long side of the style pictures beside a photo of that long side, pixels."""
        s = self.settings
        return max(1, round((s.style_size or s.size) * s.stroke * long_side / s.size))

    def shortest_side(self, long_side: int) -> int:
        """Shortest side of photo and styles at a long side of the photo of that many pixels."""
        fit, style_side = self.settings.aspect, self.style_side(long_side)
        sizes = [self.size(long_side), *(fitted_size(style.frame, style_side, fit) for style in self._styles)]
        return min(min(size) for size in sizes)

    def _check_sizes(self, network: LossNetwork, long_side: int) -> None:
        s = self.settings
        larger = "--style-size" if s.stroke == 1 else "--stroke"
        whole = ("--size", "a larger --size"), ("--style-size", f"a larger {larger}")
        smallest = (("the smallest of --pyramid-levels", "fewer --pyramid-levels"),) * 2
        # At the whole size first: what is too small there is helped by no other number of scales.
        for side, (of_photo, of_style) in ((s.size, whole), (long_side, smallest)):
            PixelObjective.check_size(network, "photo", self.size(side), *of_photo)
            for style in self._styles:
                size = fitted_size(style.frame, self.style_side(side), s.aspect)
                PixelObjective.check_size(network, "style picture", size, *of_style)

    def _targets(self, loss: PerceptualLoss, photo: Tensor, long_side: int) -> list[StyleTarget]:
        guides = self._guides
        measured = []
        for index, style in enumerate(self._styles):
            size = fitted_size(style.frame, self.style_side(long_side), self.settings.aspect)
            frame = recolour_style(resize_frame(style.frame, size), to_frame(photo), self.settings.color)
            image = to_image(frame).to(photo.device)
            regions = {0: None} if guides is None else guides.of_style(index, loss, image)
            statistics = loss.measure_regions(image, list(regions.values()))
            measured.append(MeasuredStyle(style.weight, dict(zip(regions, statistics, strict=True))))
        positions: dict[int, Positions | None] = {0: None} if guides is None else guides.of_content(loss, photo)
        even = self.settings.normalization == "balanced"
        return make_targets(measured, positions, self.settings.style_blend, even=even)


PILOT_SIDE = 128
"""Long side of the small paintings, pixels, where the pictures' shapes allow it."""
PILOT_STEPS = 30
SETTLING = 1.2
"""After the small paintings' few steps that much more is lost than in the end: content comes back as a picture settles
(0.378 after 30 steps, 0.331 after 100, 0.313 after 300, at 128 pixels; 0.382 after 30 at 256)."""


def weigh(
    subject: Subject,
    network: LossNetwork,
    settings: OptimizeSettings,
    device: torch.device,
    dtype: torch.dtype | None,
) -> OptimizeSettings:
    """Return the settings with the style weight that their strength asks for, or as they are where there is none.

    The photo is the first image of the small paintings, whatever `init` says.
    """
    if settings.content_target is None:
        return settings
    if not settings.content_layers or not settings.style_layers:
        raise SettingError("--content-target weighs style against content; give layers for both")
    side = pilot_side(subject, network, settings.size)
    content = settings.content_weight or 1.0
    plain = replace(settings, content_weight=content, content_target=None)
    objective = subject.objective(PerceptualLoss(network, plain), side, device, dtype)
    photo = subject.photo(side).to(device)

    def lost(style_weight: float) -> float:
        objective.loss = PerceptualLoss(network, replace(plain, style_weight=style_weight))
        return objective.content_lost(_paint(objective, photo))

    weight = search_style_weight(lost, SETTLING * settings.content_target, first_weight(objective, photo))
    return replace(plain, style_weight=weight)


def pilot_side(subject: Subject, network: LossNetwork, longest: int) -> int:
    """Long side of the small paintings: so large that also narrow pictures reach the deepest layer."""
    side = min(PILOT_SIDE, longest)
    while side < longest and subject.shortest_side(side) < 4 * network.smallest_side:
        side = min(longest, math.ceil(side * 1.25))
    return side


def first_weight(objective: PixelObjective, photo: Tensor) -> float:
    """A style weight at which both terms pull alike at a photo with some noise in it, where each has a gradient."""
    noise = torch.rand(photo.shape, generator=torch.Generator().manual_seed(0)).to(photo.device)
    image = objective.constrain(0.9 * photo + 0.1 * noise)
    loss, norms = objective.loss, []
    settings = replace(loss.settings, tv_weight=0.0)
    for content_weight, style_weight in ((loss.settings.content_weight, 0.0), (0.0, 1.0)):
        weights = replace(settings, content_weight=content_weight, style_weight=style_weight)
        objective.loss = PerceptualLoss(loss.network, weights)
        norms.append(float(objective.evaluate(image)[1].norm()))
    objective.loss = loss
    return max(norms[0], 1e-30) / max(norms[1], 1e-30)


def _paint(objective: PixelObjective, image: Tensor) -> Tensor:
    descent, best, lowest = LBFGSDescent(), image, math.inf
    for _ in range(PILOT_STEPS):
        losses, gradient = objective.evaluate(image)
        if losses["total"] < lowest:
            best, lowest = image, losses["total"]
        image = objective.constrain(descent.propose(image, losses["total"], gradient))
    return best


# Several styles in one picture: which statistics they make together.
#
# Blending by statistics or by losses is the same for formulas that divide every style alike, such as the papers': the
# gradient of sum_s w_s |G - A_s|^2 is that of |G - sum_s w_s A_s|^2. Balanced losses are relative to each style's own
# energy |A_s|^2, and there the two differ, to opposite sides: the plain mean of the matrices is nearer to the style of
# more energy, the sum of the losses to that of less. So matrices that are averaged for a balanced loss are weighed by
# w_s / |A_s|, halfway between: with equal weights the mean is then equally far from each of two styles.


@dataclass(frozen=True)
class MeasuredStyle:
    """A style, measured."""

    weight: float
    regions: dict[int, StyleReference]
    """Statistics by number of the region; those it lacks are left out."""


def blend_images(styles: Sequence[Style]) -> list[Style]:
    """One style whose picture is the weighted mean of all, each cropped to the first one's shape and size."""
    shape = styles[0].frame.shape
    resized = [resize_frame(crop_to(style.frame, shape), (shape[0], shape[1])) for style in styles]
    mean = sum(style.weight * frame.astype(np.float64) for style, frame in zip(styles, resized, strict=True))
    return [replace(styles[0], frame=np.rint(mean).astype(np.uint8), weight=1.0)]


def make_targets(
    styles: Sequence[MeasuredStyle], positions: dict[int, Positions | None], blend: Blend, *, even: bool = False
) -> list[StyleTarget]:
    """Targets of each region of the photo: each region counts 1/K, as in eq. 6 of cs229.

    The weights of the styles are shared out anew among those that have a region. `positions` are the photo's regions by
    number; None is all of it. A blend by losses has a target a style; else there is one of averaged statistics, which
    `even` weighs so that each style's share is relative to its energy.
    """
    found = {region: [style for style in styles if region in style.regions] for region in positions}
    regions = [region for region, having in found.items() if having]
    targets = []
    for region in regions:
        where, total = positions[region], sum(style.weight for style in found[region])
        shares = [(style.weight / total, _within(style.regions[region], where)) for style in found[region]]
        if blend != "loss":
            shares = [(1.0, _mean(shares, even=even))]
        targets += [StyleTarget(statistics, share / len(regions), where) for share, statistics in shares]
    return targets


def _within(statistics: StyleReference, where: Positions | None) -> StyleReference:
    return {layer: values for layer, values in statistics.items() if where is None or layer in where}


def _mean(shares: Sequence[tuple[float, StyleReference]], *, even: bool) -> StyleReference:
    """Weighted mean, layer by layer, over those that have the layer."""
    if len(shares) == 1:
        return shares[0][1]
    layers = dict.fromkeys(layer for _, statistics in shares for layer in statistics)
    mean: StyleReference = {}
    for layer in layers:
        having = [(share, statistics[layer]) for share, statistics in shares if layer in statistics]
        parts = zip(*(values for _, values in having), strict=True)
        mean[layer] = tuple(_weighted([share for share, _ in having], part, even=even) for part in parts)
    return mean


def _weighted(shares: Sequence[float], values: Sequence[Tensor], *, even: bool) -> Tensor:
    stacked, weights = torch.stack(list(values)), torch.tensor(shares, device=values[0].device)
    if even:
        norms = stacked.flatten(1).norm(dim=1)
        # A flat picture has next to no energy: without a bound it would outweigh all others.
        weights = weights / norms.clamp_min(1e-3 * float(norms.max()) + 1e-30)
    weights = weights / weights.sum()
    return (weights.view(-1, *[1] * (stacked.dim() - 1)) * stacked).sum(0)
