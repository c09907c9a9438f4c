"""How many threads a network gets on the CPU."""

import math
import os
from pathlib import Path

from fastnst.errors import SettingError

_CPUS = Path("/sys/devices/system/cpu")
_CGROUPS = Path("/sys/fs/cgroup")


_MOST = 64
"""Threads that any machine bears. A thousand wait for each other in turns that take minutes."""


def check_threads(threads: int | None, name: str = "threads") -> None:
    """Raise SettingError for a number of threads that is none, or far more than the machine has processors."""
    most = max(_MOST, os.cpu_count() or 1)
    if threads is not None and not 1 <= threads <= most:
        raise SettingError(f"{name} {threads}; expected at least 1 and at most {most}")


def default_threads() -> int:
    """One for each physical core that this process may use; 0 where that is the whole machine: the library knows best.

    ONNX Runtime takes a thread for each physical core of the machine and binds it there, which is right for a whole
    machine. It does not see that taskset or a container allows less; then its threads get in each other's way.
    """
    limits = [_allowed_cores(), _quota_cores()]
    known = [limit for limit in limits if limit is not None]
    return min(known, default=0)


def _allowed_cores() -> int | None:
    """Physical cores among the processors that this process may use; None: all of them, or the system does not say."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    allowed = os.sched_getaffinity(0)
    if len(allowed) >= (os.cpu_count() or 1):
        return None
    return len({_siblings(cpu) for cpu in allowed})


def _siblings(cpu: int) -> str:
    """The processors that share a core with this one; two hardware threads of a core compute no faster than one."""
    try:
        return (_CPUS / f"cpu{cpu}" / "topology" / "thread_siblings_list").read_text().strip()
    except OSError:
        return str(cpu)


def _quota_cores() -> int | None:
    """Processors' worth of time that a container may use, rounded up; None: no limit."""
    shares = [share for share in (_read_quota_v2(), _read_quota_v1()) if share is not None]
    return max(1, math.ceil(min(shares))) if shares else None


def _read_quota_v2() -> float | None:
    try:
        quota, period = (_CGROUPS / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return None


def _read_quota_v1() -> float | None:
    try:
        quota, period = (int((_CGROUPS / "cpu" / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
        return quota / period if quota > 0 else None
    except (OSError, ValueError):
        return None
