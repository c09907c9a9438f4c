"""How much memory there is for this process, and how much it has held at most."""

import sys
from pathlib import Path

import psutil

_MEGABYTE = 1024 * 1024
_CGROUPS = Path("/sys/fs/cgroup")


def peak_memory_mb() -> float | None:
    """Largest resident memory of this process so far, in megabytes of 2^20 bytes; None: the system does not say."""
    if sys.platform == "win32":
        return float(psutil.Process().memory_info().peak_wset) / _MEGABYTE
    if sys.platform == "linux":
        # Not getrusage: its figure begins with what the parent held when it started this process.
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
        return None
    import resource  # noqa: PLC0415 - there is none on Windows

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / _MEGABYTE if sys.platform == "darwin" else most / 1024


def available_memory() -> int:
    """Bytes that this process may take without pushing others out; in a container, what its limit leaves."""
    left = _left_in_container()
    available: int = psutil.virtual_memory().available
    return available if left is None else min(available, left)


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
