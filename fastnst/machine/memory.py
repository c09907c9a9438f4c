"""How much memory there is for this process, and how much it has held at most."""

import ctypes
import os
import sys
from pathlib import Path

_MEGABYTE = 1024 * 1024
_MEMINFO = Path("/proc/meminfo")
_CGROUPS = Path("/sys/fs/cgroup")


def peak_memory_mb() -> float | None:
    """Largest resident memory of this process so far, in megabytes of 2^20 bytes; None: the system does not say."""
    if sys.platform == "win32":
        return _peak_on_windows()
    if sys.platform == "linux":
        # Not getrusage: its figure begins with what the parent held when it started this process.
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
        return None
    import resource  # noqa: PLC0415 - there is none on Windows

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / _MEGABYTE if sys.platform == "darwin" else most / 1024


def _peak_on_windows() -> float | None:
    class Counters(ctypes.Structure):
        """PROCESS_MEMORY_COUNTERS of psapi.h."""

        _fields_ = (
            ("size", ctypes.c_ulong),
            ("page_faults", ctypes.c_ulong),
            ("peak_working_set", ctypes.c_size_t),
            ("others", ctypes.c_size_t * 7),
        )

    counters = Counters()
    counters.size = ctypes.sizeof(counters)
    windows = ctypes.windll  # type: ignore[attr-defined, unused-ignore]
    windows.kernel32.GetCurrentProcess.restype = ctypes.c_void_p
    process = ctypes.c_void_p(windows.kernel32.GetCurrentProcess())
    if not windows.psapi.GetProcessMemoryInfo(process, ctypes.byref(counters), counters.size):
        return None
    return float(counters.peak_working_set) / _MEGABYTE


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
