"""Similarity of a stylized picture to its photo: SSIM, and through AlexNet LPIPS, content and style.

Frames are uint8 (H, W, 3) RGB, H height and W width.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from fastnst.errors import InputError
from fastnst.io.images import Frame, fit_long_side, resize_frame
from fastnst.io.tensors import to_image
from fastnst.losses.vgg import Features
from fastnst.metrics.alexnet import LAYERS, AlexNetFeatures, load_alexnet
from fastnst.metrics.color import Plane, luma
from fastnst.metrics.perceptual import STYLE_SIZE, PerceptualDistances, PerceptualFeatures, PerceptualMetrics

# Wang et al. (2004), section III-B: an 11 x 11 Gaussian window of 1.5 px, K1 = 0.01, K2 = 0.03.
_SIGMA, _RADIUS = 1.5, 5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

ALEXNET_CONTENT_LAYER = "relu3"


def ssim(frame: Frame, reference: Frame) -> float:
    """Structural similarity of two pictures' luma, mean over all pixels with a whole window: 1 equal (Wang 2004).

    Raises InputError for pictures of different sizes or below 11 px.
    """
    if frame.shape != reference.shape or min(frame.shape[:2]) < 2 * _RADIUS + 1:
        raise InputError(f"SSIM of {frame.shape} and {reference.shape}; expected equal sizes of at least 11 px")
    x, y = luma(frame), luma(reference)
    mean_x, mean_y = _blur(x), _blur(y)
    variance_x, variance_y = _blur(x * x) - mean_x**2, _blur(y * y) - mean_y**2
    covariance = _blur(x * y) - mean_x * mean_y
    likeness = (2 * mean_x * mean_y + _C1) * (2 * covariance + _C2)
    likeness /= (mean_x**2 + mean_y**2 + _C1) * (variance_x + variance_y + _C2)
    return float(likeness.mean())


@dataclass(frozen=True)
class SecondOpinion:
    """A picture measured through AlexNet."""

    features: Features
    measured: PerceptualFeatures


class AlexNetMetrics:
    """LPIPS, and content, style and centred figures on AlexNet: relu3, and relu1 to relu5."""

    def __init__(self, network: AlexNetFeatures) -> None:
        self._network = network

    def measure(self, frame: Frame) -> SecondOpinion:
        """Measure a picture of at least 31 px."""
        with torch.inference_mode():
            features = self._network(to_image(frame))
        # The features once, for both: the network of the metrics only hands them on.
        metrics = PerceptualMetrics(lambda _image: features, ALEXNET_CONTENT_LAYER, LAYERS)
        return SecondOpinion(features, metrics.measure(frame))

    def measure_style(self, frame: Frame) -> SecondOpinion:
        """Measure a style image, scaled to a long side of 512 px."""
        return self.measure(resize_frame(frame, fit_long_side(frame.shape[:2], STYLE_SIZE)))

    def lpips(self, given: SecondOpinion, reference: SecondOpinion) -> float:
        """LPIPS (AlexNet, v0.1) of two pictures of equal size: 0 equal."""
        with torch.inference_mode():
            return float(self._network.lpips(given.features, reference.features))

    @staticmethod
    def figures(stylized: SecondOpinion, photo: SecondOpinion, style: SecondOpinion) -> PerceptualDistances:
        """Content, style and centred on AlexNet."""
        return PerceptualMetrics.compare(stylized.measured, photo.measured, style.measured)


def load_alexnet_metrics(file: Path | None = None) -> tuple[AlexNetMetrics, str]:
    """Build the metrics that need AlexNet, and say which weights they have. Raises as `load_alexnet`."""
    network, provenance = load_alexnet(file)
    return AlexNetMetrics(network), provenance


def _blur(values: Plane) -> Plane:
    """Means under the window, of all pixels whose window is whole."""
    window = cv2.getGaussianKernel(2 * _RADIUS + 1, _SIGMA, cv2.CV_64F)
    blurred: Plane = np.asarray(cv2.sepFilter2D(values, cv2.CV_64F, window, window), np.float64)
    return blurred[_RADIUS:-_RADIUS, _RADIUS:-_RADIUS]
