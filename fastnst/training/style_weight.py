"""Automatic style weight of a training: content ends about as far from the photos, whatever the painting.

A few photographs are painted small by changing their pixels, with different style weights, until the content loss is
what such a painting has where a trained network reaches the goal. `fastnst optimize --strength` does the same for one
pair. Images are float32 (B, 3, H, W) RGB in [0, 1].
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from fastnst.errors import SettingError
from fastnst.io.images import Frame, resize_long_side
from fastnst.io.tensors import to_image
from fastnst.losses.perceptual import PerceptualLoss, search_style_weight
from fastnst.losses.precision import autocast
from fastnst.losses.vgg import LossNetwork
from fastnst.training.settings import TrainSettings

PHOTOS = 3
SIDE = 96
STEPS = 40
LEARNING_RATE = 0.03

EXCESS = 1.2
"""A network's content loss over that of the small paintings with the same style weight: a network cannot fit each
picture as its own pixels can (docs/training.md)."""

FIRST_WEIGHT = 5.0


def find_style_weight(
    network: LossNetwork,
    settings: TrainSettings,
    styles: Sequence[Frame],
    images: Tensor,
    dtype: torch.dtype | None,
) -> float:
    """Find the style weight with which a network should end at the settings' content goal.

    Args:
        network: the loss network.
        settings: the training's; their own style weight plays no part.
        styles: style pictures, each uint8 (H, W, 3); of several, the geometric mean of their weights is taken.
        images: some photographs, (B, 3, H, W), on the device that computes.
        dtype: arithmetic of the loss network under autocast; None is float32.

    Raises SettingError for losses that are not relative to the photo's own energy, or without layers.
    """
    if settings.normalization != "balanced" or not settings.content_layers or not settings.style_layers:
        raise SettingError("--style-weight auto needs --normalization balanced and layers for content and style")
    found = [_find(network, settings, style, images, dtype) for style in styles]
    return math.exp(sum(map(math.log, found)) / len(found))


def _find(
    network: LossNetwork, settings: TrainSettings, style: Frame, images: Tensor, dtype: torch.dtype | None
) -> float:
    device = images.device
    with autocast(device, dtype):
        loss = PerceptualLoss(network, replace(settings, style_weight=FIRST_WEIGHT))
        reference = loss.measure_style(to_image(resize_long_side(style, settings.style_size)).to(device))
        content = loss.measure_content(images)

    def lost(style_weight: float) -> float:
        weighed = PerceptualLoss(network, replace(settings, style_weight=style_weight))
        pixels = images.clone().requires_grad_()
        optimizer = torch.optim.Adam([pixels], LEARNING_RATE)
        for step in range(STEPS):
            with autocast(device, dtype):
                drawn = torch.Generator().manual_seed(step)
                losses = weighed(pixels, content, reference, generator=drawn)
            optimizer.zero_grad()
            losses.total.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            with torch.no_grad():
                pixels.clamp_(0, 1)
        with torch.no_grad(), autocast(device, dtype):
            judged = weighed(pixels, content, reference, generator=torch.Generator().manual_seed(STEPS))
            return float(judged.values["content"])

    return search_style_weight(lost, settings.content_goal / EXCESS, FIRST_WEIGHT * settings.content_weight)
