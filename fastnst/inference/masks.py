"""Masks: where each of several paintings goes.

H height, W width in pixels; sizes are (height, width). Weights are uint8 (H, W), 255 for all of a painting.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from fastnst.errors import InputError
from fastnst.io.images import Frame, read_picture

# Proportions may differ by so much.
_LIKE_SHAPE = 0.02


class Mask:
    """Weights of paintings, for pictures of any size."""

    def __init__(
        self,
        path: Path,
        weights: Sequence[Frame],
        *,
        bare: Frame | None = None,
        rest: bool = False,
        feather: float = 0.0,
    ) -> None:
        """Take over weights, all of one size, whose sum is at most 255.

        Args:
            path: of the mask, for messages.
            weights: one for each painting.
            bare: where the photo stays.
            rest: before these paintings comes one more, which gets what they and the photo leave.
            feather: standard deviation of the blur of borders, pixels of the picture.
        """
        self.path = path
        self._weights, self._bare, self._rest, self._feather = list(weights), bare, rest, feather
        self._fitted: tuple[Frame, ...] = ()

    @property
    def identity(self) -> str:
        """Tells this mask from others: a hash of all that it does."""
        content = hashlib.sha256(f"{self._rest} {self._feather}".encode())
        for weights in (*self._weights, self._bare):
            content.update(b"none" if weights is None else f"{weights.shape}".encode() + weights.tobytes())
        return content.hexdigest()

    def weights(self, size: tuple[int, int]) -> tuple[Frame, ...]:
        """Weights for a picture of `size`, one for each painting; kept for the next picture of the same size.

        Raises:
            InputError: the picture has another shape than the mask.
        """
        fitted = self._fitted
        if not fitted or fitted[0].shape != size:
            self._check_shape(size)
            # At once, for several threads may paint pictures of different sizes.
            fitted = self._fitted = self._fit(size)
        return fitted

    def _fit(self, size: tuple[int, int]) -> tuple[Frame, ...]:
        fitted: list[Frame] = []
        left = np.full(size, 255, np.uint8)
        for weights in self._weights if self._bare is None else (*self._weights, self._bare):
            picture = Image.fromarray(weights).resize(size[::-1], Image.Resampling.BILINEAR)
            if self._feather:
                picture = picture.filter(ImageFilter.GaussianBlur(self._feather))
            # Rounding may bring the sum of several over 255.
            fitted.append(np.minimum(np.asarray(picture), left))
            left -= fitted[-1]
        del fitted[len(self._weights) :]
        return (left, *fitted) if self._rest else tuple(fitted)

    def _check_shape(self, size: tuple[int, int]) -> None:
        first = self._weights[0] if self._weights else self._bare
        assert first is not None
        height, width = first.shape
        # A pixel more or less is no other shape.
        if abs(width * size[0] - height * size[1]) > max(_LIKE_SHAPE * width * size[0], width + height):
            raise InputError(
                f"{self.path}: {width}x{height} is not the shape of the picture, {size[1]}x{size[0]}; "
                "expected a mask of the same proportions"
            )


def read_mask(path: Path, *, feather: float = 0.0) -> Mask:
    """Read a mask for one painting: it gets as much as the mask is bright and opaque.

    Raises:
        InputError: no picture that can be read.
    """
    picture = read_picture(path)
    weights = np.array(Image.fromarray(picture.frame).convert("L"))
    if picture.alpha is not None:
        weights = (weights.astype(np.uint16) * picture.alpha // 255).astype(np.uint8)
    return Mask(path, [weights], feather=feather)
