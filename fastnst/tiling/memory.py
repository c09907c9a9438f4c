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


def reachable_memory() -> int:
    """Bytes of resident memory that this process may reach: what it takes itself is taken already."""
    return PROCESS_BYTES + usable_memory()


def one_piece_limit() -> int:
    """Bytes of resident memory up to which a picture is painted in one piece."""
    return min(ONE_PIECE_BYTES, reachable_memory())


def one_piece_excess(needed: int, long_side: int) -> str | None:
    """Say what is wrong where there is less memory than painting in one piece takes; None where there is enough.

    Args:
        needed: bytes by `one_piece_bytes`.
        long_side: of the picture, in pixels; the words name one that fits.
    """
    free = available_memory()
    work = needed - PROCESS_BYTES
    if work <= free:
        return None
    fitting = int(long_side * (free * USABLE / work) ** 0.5)
    return (
        f"takes about {work / 1e9:.2f} GB of memory in one piece, and {free / 1e9:.2f} GB are free; "
        f"reduce it to {fitting} pixels (--size {fitting})"
    )
