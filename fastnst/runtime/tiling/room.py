"""How much memory there is for a picture, and how much painting it in one piece takes."""

import ctypes
import os
import sys
from pathlib import Path

from fastnst.runtime.backend import Precision, Provider

PROCESS_BYTES = 300 * 2**20
"""Interpreter, libraries, weights and their copies in what computes."""

FRAMES = 3
"""Copies of a picture while it is painted: given, prepared, painted."""

ONE_PIECE_BYTES = 4 * 2**30
"""Resident memory that pictures are painted in one piece within, where nobody asks for more."""

USABLE = 0.7
"""Share of the free memory that is counted on."""

_MEMINFO = Path("/proc/meminfo")
_CGROUPS = Path("/sys/fs/cgroup")


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


def usable_memory() -> int | None:
    """Bytes that may be planned with; None: the system does not say."""
    available = available_memory()
    return None if available is None else int(available * USABLE)


def one_piece_limit() -> int:
    """Bytes of resident memory up to which a picture is painted in one piece."""
    usable = usable_memory()
    return ONE_PIECE_BYTES if usable is None else min(ONE_PIECE_BYTES, usable)


def available_memory() -> int | None:
    """Bytes that this process may take without pushing others out; None: the system does not say."""
    if sys.platform == "win32":
        return _available_on_windows()
    if sys.platform != "linux":
        # Memory in use by files counts as used on macOS: half of what is built in is a fair guess.
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    known = [room for room in (_available_on_linux(), _left_in_container()) if room is not None]
    return min(known, default=None)


def _available_on_linux() -> int | None:
    try:
        lines = _MEMINFO.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def _left_in_container() -> int | None:
    """What a container's limit leaves; files that the system keeps in memory for it can go."""
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            most, taken = ((_CGROUPS / name).read_text().strip() for name in (limit, used))
            return None if most == "max" else max(int(most) - int(taken) + _files(limit), 0)
        except (OSError, ValueError):
            continue
    return None


def _files(limit: str) -> int:
    path = (_CGROUPS / limit).parent / "memory.stat"
    lines = path.read_text().splitlines()
    # The older file counts the group itself first, then the same with all groups below it.
    numbers = [int(line.split()[1]) for line in lines if line.split()[0] in {"inactive_file", "total_inactive_file"}]
    return max(numbers, default=0)


def _available_on_windows() -> int | None:
    class Status(ctypes.Structure):
        """MEMORYSTATUSEX of sysinfoapi.h."""

        _fields_ = (("length", ctypes.c_ulong), ("load", ctypes.c_ulong), ("sizes", ctypes.c_ulonglong * 7))

    status = Status(length=ctypes.sizeof(Status))
    windows = ctypes.windll  # type: ignore[attr-defined, unused-ignore]
    if not windows.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
        return None
    available: int = status.sizes[1]  # physical memory: total, available
    return available
