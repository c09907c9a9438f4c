"""A picture in another picture's colors.

Frames are uint8 (H, W, 3) RGB, H height and W width.
"""

import numpy as np
import numpy.typing as npt

from fastnst.io.images import Frame

_Numbers = npt.NDArray[np.float64]

# Where a grey photo or a single-colored painting has no spread, eigenvalues are rounding noise.
_NO_SPREAD = 1e-7


def match_colors(frame: Frame, reference: Frame) -> Frame:
    """Give a picture the mean and the covariance of another's RGB colors, clipped to 0..255.

    The linear map of Gatys et al. (2016, "Preserving color in neural artistic style transfer", eq. 1 to 3) in its
    symmetric form, the one that moves colors least; here the painting's colors go to the photo. Directions in
    which the picture has no spread, as for a grey one, cannot be given any.
    """
    given, wanted = _pixels(frame), _pixels(reference)
    centred = given - given.mean(0)
    spread, goal = np.cov(given.T, bias=True), np.cov(wanted.T, bias=True)
    transform = _symmetric_map(spread, goal)
    matched = centred @ transform.T + wanted.mean(0)
    levels: Frame = np.rint(matched.clip(0, 255)).astype(np.uint8)
    return levels.reshape(frame.shape)


def _pixels(frame: Frame) -> _Numbers:
    return frame.reshape(-1, 3).astype(np.float64)


def _symmetric_map(spread: _Numbers, goal: _Numbers) -> _Numbers:
    root, inverse = _root(spread)
    middle, _ = _root(root @ goal @ root)
    transform: _Numbers = inverse @ middle @ inverse
    return transform


def _root(matrix: _Numbers) -> tuple[_Numbers, _Numbers]:
    """Square root of a symmetric positive matrix, and the root's inverse where it has any."""
    values, vectors = np.linalg.eigh(matrix)
    values = np.where(values > _NO_SPREAD * max(values.max(), 1.0), values, 0)
    roots = np.sqrt(values)
    inverses = np.divide(1, roots, out=np.zeros_like(roots), where=roots > 0)
    return (vectors * roots) @ vectors.T, (vectors * inverses) @ vectors.T
