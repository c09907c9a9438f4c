"""How much memory there is for a picture."""

import ctypes
import os
import sys
from pathlib import Path

_MEMINFO = Path("/proc/meminfo")
_CGROUPS = Path("/sys/fs/cgroup")


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
