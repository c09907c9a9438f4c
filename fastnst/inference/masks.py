"""Masks: where each of several paintings goes.

H height, W width in pixels; sizes are (height, width). Weights are uint8 (H, W), 255 for all of a painting.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageColor, ImageFilter

from fastnst.errors import InputError, SettingError
from fastnst.io.images import Frame, read_frame, read_picture

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
        """Take over weights, one for each painting, all of one size, whose sum is at most 255.

        Where a mask is `bare` the photo stays. With `rest` one more painting comes before these, which gets what they
        and the photo leave. `feather` is the standard deviation of the blur of borders, pixels of the picture.
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

        Raises InputError: the picture has another shape than the mask.
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

    Raises InputError: no picture that can be read.
    """
    picture = read_picture(path)
    weights = np.array(Image.fromarray(picture.frame).convert("L"))
    if picture.alpha is not None:
        weights = (weights.astype(np.uint16) * picture.alpha // 255).astype(np.uint8)
    return Mask(path, [weights], feather=feather)


Colors: TypeAlias = npt.NDArray[np.int32]
"""(n, 3) RGB, 0..255."""

# The palette is looked for in a copy with this long side, in steps of 16 levels.
_SAMPLE_SIDE = 1024
_STEP = 16
_PLACES = np.array([65536, 256, 1], np.int32)
# Two colours of a palette are at least so far apart (of 442 from black to white): drawings have soft edges, JPEG noise.
_APART = 60.0
# A colour that the user names means the nearest one in the mask, up to this distance. CSS' green is a dark one, which
# nobody means who paints masks: it is taken for lime, 0 255 0.
_NEAR = 150.0
# Smallest share of the map that makes a colour a region; others are soft edges and noise.
_LEAST_SHARE = 0.005
_SHOWN = 6


def read_regions(path: Path, paintings: Mapping[str, int | None], *, rest: bool = False, feather: float = 0.0) -> Mask:
    """Read a map of regions. Each pixel belongs to the colour of the map that it is nearest to.

    `paintings` has the number of the painting, from 0, by colour (red, '#ff0000'); None for the photo. With `rest` one
    more painting comes before them, which gets all other colours; without it they are the photo's. Raises InputError
    for what is no picture, or one without such a colour, SettingError for a colour that is none.
    """
    wanted = {color: _parse(color) for color in paintings}
    frame = read_frame(path)
    palette, shares = _find_palette(frame)
    places = _match(path, wanted, palette, shares)
    others = [place for place in range(len(palette)) if place not in places.values()]
    nearest = _nearest(frame, palette[[*places.values(), *others]])
    numbers = list(paintings.values())

    def weights_of(number: int | None) -> Frame:
        chosen = np.array([own == number for own in numbers] + [False] * len(others))
        return np.where(chosen[nearest], np.uint8(255), np.uint8(0))

    weights = [weights_of(number) for number in range(len(set(numbers) - {None}))]
    return Mask(path, weights, bare=weights_of(None) if None in numbers else None, rest=rest, feather=feather)


def _parse(color: str) -> tuple[int, ...]:
    try:
        return ImageColor.getrgb("lime" if color.lower() == "green" else color)[:3]
    except ValueError as error:
        raise SettingError(f"--region {color}=...: no color; expected a name such as red, or '#ff0000'") from error


def _find_palette(frame: Frame) -> tuple[Colors, npt.NDArray[np.float64]]:
    """Colours of a map, (n, 3), and the share of the picture that each has about it, (n,); most frequent first."""
    height, width = frame.shape[:2]
    stride = -(-max(height, width) // _SAMPLE_SIDE)
    pixels = frame[::stride, ::stride].reshape(-1, 3).astype(np.int32)
    codes, counts = np.unique(pixels @ _PLACES, return_counts=True)
    colors = codes[:, None] // _PLACES % 256
    # A colour counts for all that are about the same: JPEG files have hardly two pixels alike.
    cells = np.unique(colors // _STEP @ _PLACES, return_inverse=True)[1]
    around = (np.bincount(cells, counts) / len(pixels))[cells]
    palette: list[npt.NDArray[np.int32]] = []
    shares: list[float] = []
    for place in np.lexsort((-counts, -around)):
        if around[place] < _LEAST_SHARE:
            break
        if all(np.linalg.norm(colors[place] - known) >= _APART for known in palette):
            palette.append(colors[place])
            shares.append(float(around[place]))
    return np.array(palette, np.int32).reshape(-1, 3), np.array(shares)


def _match(
    path: Path, wanted: Mapping[str, Sequence[int]], palette: Colors, shares: npt.NDArray[np.float64]
) -> dict[str, int]:
    """Place in the palette of each colour that was named."""
    places: dict[str, int] = {}
    for name, rgb in wanted.items():
        apart = np.linalg.norm(palette - np.array(rgb), axis=1) if len(palette) else np.array([np.inf])
        place = int(apart.argmin())
        if apart[place] > _NEAR or place in places.values():
            shown = ", ".join(
                f"#{color[0]:02x}{color[1]:02x}{color[2]:02x} ({share:.0%})"
                for color, share in list(zip(palette, shares, strict=True))[:_SHOWN]
            )
            raise InputError(f"{path}: has no region of its own in {name}; it has {shown or 'no colours'}")
        places[name] = place
    return places


def _nearest(frame: Frame, palette: Colors) -> npt.NDArray[np.uint8]:
    """Place in the palette of the colour nearest to each pixel, (H, W)."""
    found = np.empty(frame.shape[:2], np.uint8)
    for row, pixels in enumerate(frame):
        apart = ((pixels[:, None].astype(np.int32) - palette) ** 2).sum(axis=2)
        found[row] = apart.argmin(axis=1)
    return found
