"""How much memory there is for a picture, and how much painting it in one piece takes."""

from fastnst.backends.backend import Precision, Provider
from fastnst.machine.resources import available_memory

PROCESS_BYTES = 300 * 2**20
"""Interpreter, libraries, weights and their copies in what computes."""

FRAMES = 3
"""Copies of a picture while it is stylized: given, prepared, stylized."""

ONE_PIECE_BYTES = 4 * 2**30
"""Resident memory that pictures are stylized in one piece within, where nobody asks for more."""

USABLE = 0.7
"""Share of the free memory that is counted on."""

# Memory that each number of the graph's fullest moment takes, in numbers of the precision. ONNX Runtime's arena grows
# by powers of two: measured 1.8 to 2.8. OpenVINO plans it beforehand: 1.12 to 1.18.
_HELD: dict[Provider, float] = {"cpu": 2.8, "openvino": 1.25}


def one_piece_bytes(numbers: float, pixels: int, provider: Provider = "cpu", precision: Precision = "float32") -> int:
    """Estimate from above the resident memory that painting in one piece takes; on accelerators, their memory's too.

    Args:
        numbers: per pixel that the graph holds at its fullest moment.
        pixels: of the picture.
        provider: what computes.
        precision: in which form.
    """
    each = _HELD.get(provider, _HELD["cpu"]) * (4 if precision == "float32" else 2)
    return PROCESS_BYTES + round(pixels * (numbers * each + FRAMES * 3))


def usable_memory() -> int:
    """Bytes that may be planned with."""
    return int(available_memory() * USABLE)


def one_piece_limit() -> int:
    """Bytes of resident memory up to which a picture is painted in one piece."""
    return min(ONE_PIECE_BYTES, usable_memory())
