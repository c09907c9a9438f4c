"""The border between pictures and tensors, and what torch's side writes beside them: TensorBoard's events.

A frame is uint8 (H, W, 3) RGB in numpy; an image is float32 (B, 3, H, W) RGB in [0, 1] in torch.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from fastnst.io.images import Frame


def to_image(frame: Frame) -> Tensor:
    """Frame, uint8 (H, W, 3), to image, float32 (1, 3, H, W) in [0, 1]."""
    return torch.from_numpy(np.array(frame)).permute(2, 0, 1)[None].float() / 255


def to_frame(image: Tensor) -> Frame:
    """Image, (1, 3, H, W) in [0, 1], to frame, uint8 (H, W, 3): clamped, then rounded to the nearest level."""
    levels = image.detach().float().clamp(0, 1).mul(255).round().to(torch.uint8)
    frame: Frame = levels[0].permute(1, 2, 0).cpu().contiguous().numpy()
    return frame


@contextmanager
def quiet_tensorboard() -> Iterator[None]:
    """Let TensorBoard's thread end without a traceback where the disk is full: the next event raises the error anew."""
    before = threading.excepthook

    def quiet(failed: threading.ExceptHookArgs) -> None:
        if not (isinstance(failed.exc_value, OSError) and type(failed.thread).__name__ == "_AsyncWriterThread"):
            before(failed)

    threading.excepthook = quiet
    try:
        yield
    finally:
        threading.excepthook = before
