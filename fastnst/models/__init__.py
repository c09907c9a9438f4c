"""Feed-forward networks: their architectures, their file of weights, and their export to ONNX.

May import `io`, `backends` (the contract of exported files).
"""

from typing import Literal, TypeAlias

# Here, since settings of trainings are shown where torch is not installed.
Upsampling: TypeAlias = Literal["nearest", "bilinear"]
"""Between convolutions on the way back to full size: the nearest neighbor leaves strokes like bricks of 4 pixels."""
