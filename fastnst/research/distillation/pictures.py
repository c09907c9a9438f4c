"""What the compact network learns from: photographs, paintings, distorted ones, noise and flat color.

Images are float32 (1, 3, H, W) RGB in [0, 1]; all that is drawn comes from the generator that is handed in.
"""

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fastnst.errors import InputError
from fastnst.io.images import fit_long_side, read_frame, resize_frame
from fastnst.io.tensors import to_image
from fastnst.training.crops import Framing, list_pictures, read_square

_TRIES = 50
_PHOTO_ZOOM, _PAINTING_ZOOM = 1.4, 4.5  # most that a crop shows less than the whole shorter side
_STYLE_SIZES = (224, 288, 384)


class Pictures:
    """Pictures drawn from two folders; broken files are passed over."""

    def __init__(self, photos: Path, paintings: Path, crop: int) -> None:
        """Scan the folders; raises InputError for one without pictures."""
        self.crop = crop
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
            return to_image(resize_frame(frame, fit_long_side(frame.shape[:2], int(rng.choice(_STYLE_SIZES)))))
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
        cells = self.crop // grain + 1
        values = _uniform(rng, 1, 3, cells, cells)
        if rng.random() < 0.5:
            values = values.mean(1, keepdim=True).expand(-1, 3, -1, -1)
        values = F.interpolate(values, (self.crop, self.crop), mode=str(rng.choice(["nearest", "bilinear"])))
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
                return to_image(read_square(files[rng.integers(len(files))], self.crop, framing))
            except InputError:
                continue
        raise _unusable(files)


def _uniform(rng: np.random.Generator, *shape: int) -> Tensor:
    return torch.from_numpy(rng.random(shape, dtype=np.float32))


def _unusable(files: list[Path]) -> InputError:
    return InputError(f"{files[0].parent}: {_TRIES} of its pictures in a row cannot be used; give another folder")
