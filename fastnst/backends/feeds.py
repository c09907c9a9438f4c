"""Between frames and a network's inputs and outputs.

N pictures, H height, W width, S styles that a network can mix. Frames are uint8 RGB.
"""

import numpy as np

from fastnst.backends.backend import Array
from fastnst.backends.contract import Contract
from fastnst.backends.mixing import StyleWeights, even_weights, to_shares
from fastnst.errors import InputError, SettingError
from fastnst.io.images import Frame

MAX_STRENGTH = 1.5
"""For networks that have the input; for the others, 1 is all that they give."""


def as_batch(frames: Frame) -> Frame:
    """Check a frame or a batch and return it as (N, H, W, 3), without a copy where the memory is in order.

    Raises InputError for any other type or shape.
    """
    if not isinstance(frames, np.ndarray):
        raise InputError(f"a {type(frames).__name__}; expected a numpy array, uint8 (H, W, 3) or (N, H, W, 3) RGB")
    if frames.dtype != np.uint8 or frames.ndim not in {3, 4} or frames.shape[-1] != 3 or 0 in frames.shape:
        raise InputError(f"an array {frames.dtype} {frames.shape}; expected uint8 (H, W, 3) or (N, H, W, 3) RGB")
    return np.ascontiguousarray(frames if frames.ndim == 4 else frames[None])


def to_layout(batch: Frame, contract: Contract) -> Array:
    """Frames (N, H, W, 3) in the form that the network takes; without a copy where that is the same."""
    if contract.layout == "nhwc-uint8":
        return batch
    return np.ascontiguousarray(batch.transpose(0, 3, 1, 2), dtype=np.float32)


def from_layout(painted: Array, contract: Contract) -> Frame:
    """What the network gave as frames (N, H, W, 3); the other way round from `to_layout`."""
    if contract.layout == "nhwc-uint8":
        return painted
    return np.ascontiguousarray(np.rint(painted).clip(0, 255).astype(np.uint8).transpose(0, 2, 3, 1))


def extra_feeds(contract: Contract, style_weights: StyleWeights | None, strength: float | None) -> dict[str, Array]:
    """The inputs beside the frame that this network has: one mix and one strength for all pictures of a batch.

    Without the input, a strength is up to the caller, who lays the painting over the photo (io/blending.py).

    Raises SettingError for weights that it does not take, and for values that cannot be.
    """
    feeds: dict[str, Array] = {}
    if contract.styles is not None:
        weights = even_weights(contract.styles) if style_weights is None else style_weights
        feeds["style_weights"] = np.array(to_shares(contract.style_names, weights), np.float32)
    elif style_weights is not None:
        raise SettingError("style weights given, but this network knows one style; leave them out")
    value = 1.0 if strength is None else strength
    if contract.strength:
        if not 0 <= value <= MAX_STRENGTH:
            raise SettingError(
                f"strength {value:g}; expected 0 (the photo) to 1 (the full style), {MAX_STRENGTH:g} at most"
            )
        feeds["strength"] = np.array([value], np.float32)
    elif not 0 <= value <= 1:
        raise SettingError(f"strength {value:g}; expected 0 to 1, this network's full style: it has no input for more")
    return feeds
