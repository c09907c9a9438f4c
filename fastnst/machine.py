"""What this computer has, and what of it this process may use: processors, memory, GPUs; what pip has installed; and
signals.

Of fastnst's extras stylizing needs none.
"""

import ctypes
import json
import math
import os
import platform
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, distribution, version
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from types import FrameType
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import psutil

from fastnst.errors import MissingPackageError, SettingError

_PACKAGES = ("fastnst", "numpy", "onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "openvino")
CPUS = Path("/sys/devices/system/cpu")
CGROUPS = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")
_MEGABYTE = 1024 * 1024

_MOST = 64
"""Threads that any machine bears. A thousand wait for each other in turns that take minutes."""


def describe_machine() -> dict[str, Any]:
    """What the times were taken on, and how busy it was before."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "system": platform.platform(),
        "processor": processor_name(),
        "processors": os.cpu_count(),
        "load_before": None if load is None else round(load, 2),
        "python": platform.python_version(),
        "packages": dict(_versions()),
    }


def processor_name() -> str:
    """The processor's name; Linux tells platform.processor() nothing."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _versions() -> Iterator[tuple[str, str]]:
    for name in _PACKAGES:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue


def has_nvidia_driver() -> bool:
    """Tell whether NVIDIA's driver is installed, whatever other programs make of it."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


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


def usable_processors() -> int:
    """Logical processors that this process may use, at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, _quota_cores() or allowed))


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
        return (CPUS / f"cpu{cpu}" / "topology" / "thread_siblings_list").read_text().strip()
    except OSError:
        return str(cpu)


def _quota_cores() -> int | None:
    """Processors' worth of time that a container may use, rounded up; None: no limit."""
    shares = [share for share in (_read_quota_v2(), _read_quota_v1()) if share is not None]
    return max(1, math.ceil(min(shares))) if shares else None


def _read_quota_v2() -> float | None:
    try:
        quota, period = (CGROUPS / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return None


def _read_quota_v1() -> float | None:
    try:
        quota, period = (int((CGROUPS / "cpu" / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
        return quota / period if quota > 0 else None
    except (OSError, ValueError):
        return None


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


def check_memory(what: str, resident: int, addresses: int) -> None:
    """Raise SettingError where a command's libraries take more memory than there is, before they are loaded.

    Without memory for their threads they would end the process by themselves, and without a line. They take so many
    bytes resident, and so many of addresses, which `ulimit -v` limits.
    """
    limits = [("memory", resident, available_memory())]
    limits += [("addresses (ulimit -v)", addresses, left) for left in _left_of_addresses()]
    for kind, needed, left in limits:
        if left < needed:
            raise SettingError(
                f"{what} needs {needed / 1e6:.0f} MB of {kind} to begin with, and {left / 1e6:.0f} MB are free; "
                "end other programs or raise the limit"
            )


def available_memory() -> int:
    """Bytes that this process may take without pushing others out; under a limit of its own, what that leaves."""
    limits = [*_left_in_groups(), *_left_of_addresses()]
    return min([psutil.virtual_memory().available, *limits])


def _left_of_addresses() -> list[int]:
    """What `ulimit -v`, which some batch systems set, leaves."""
    if sys.platform == "win32":
        return []
    import resource  # noqa: PLC0415 - Windows has none

    most = resource.getrlimit(resource.RLIMIT_AS)[0]
    return [] if most == resource.RLIM_INFINITY else [max(0, most - psutil.Process().memory_info().vms)]


def _left_in_groups() -> Iterator[int]:
    """What the limits of a container, and of all groups that this process is in (systemd, SLURM), leave."""
    for below, limit, used in (
        ("", "memory.max", "memory.current"),
        ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        own = PurePosixPath(_own_groups().get(below, "/").lstrip("/"))
        for group in (own, *own.parents):
            folder = CGROUPS / below / group
            try:
                most, taken = ((folder / name).read_text().strip() for name in (limit, used))
                if most != "max":
                    yield max(int(most) - int(taken) + _files(folder), 0)
            except (OSError, ValueError):
                continue


def _own_groups() -> dict[str, str]:
    """The path of this process's group, of the older kind by what it is for, of the newer one by an empty word."""
    try:
        lines = [line.split(":", 2) for line in OWN_GROUPS.read_text().splitlines()]
    except OSError:
        return {}
    return {kind: path for _, kinds, path in lines for kind in kinds.split(",")}


def _files(folder: Path) -> int:
    """Bytes of files that the system keeps in memory for a group, and that can go."""
    lines = (folder / "memory.stat").read_text().splitlines()
    # The older file counts the group itself first, then the same with all groups below it.
    numbers = [int(line.split()[1]) for line in lines if line.split()[0] in {"inactive_file", "total_inactive_file"}]
    return max(numbers, default=0)


TRAINING_PACKAGES = ("torch", "torchvision", "onnxscript", "tensorboard", "matplotlib")
"""What the extra `train` of pyproject.toml brings: for training, the exact method and everything that measures."""


def install_line(extra: str) -> str:
    """The command that brings an extra to this installation: from the checkout that it came from, if from one."""
    place, editable = _installed_from()
    if place is None:
        return f'pip install "fastnst[{extra}]"'
    return f'pip install {"-e " if editable else ""}"{place}[{extra}]"'


def _installed_from() -> tuple[str | None, bool]:
    """The folder that fastnst was installed from, "." where it is the working folder; and whether it is editable."""
    try:
        said = json.loads(distribution("fastnst").read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError):
        return None, False
    address = urlsplit(str(said.get("url", "")))
    folder = Path(url2pathname(address.path))
    if address.scheme != "file" or not (folder / "pyproject.toml").is_file():
        return None, False
    place = "." if folder.resolve() == Path.cwd().resolve() else str(folder)
    return place, bool(said.get("dir_info", {}).get("editable"))


def installed_version() -> str:
    """Version of the installed fastnst."""
    try:
        return version("fastnst")
    except PackageNotFoundError:
        return "unknown (not installed)"


def missing_for_training() -> list[str]:
    """Return those of TRAINING_PACKAGES that are not installed; imports none of them, and takes a millisecond."""
    return [package for package in TRAINING_PACKAGES if find_spec(package) is None]


def check_training_installed(what: str) -> None:
    """Raise MissingPackageError, which says what `what` lacks and what brings it, where a package is not installed."""
    if missing := missing_for_training():
        raise MissingPackageError(
            f"{what} needs what is not installed for training: {', '.join(missing)}; {install_line('train')}"
        )


@contextmanager
def flag_on_signals(*numbers: signal.Signals) -> Iterator[threading.Event]:
    """Give a flag that signals set, so that the work at hand is finished; after the first they act as usual again.

    Outside the main thread, where no signals arrive, it stays unset.
    """
    flag = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    before = {number: signal.getsignal(number) for number in numbers}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(_number: int, _frame: FrameType | None) -> None:
        flag.set()
        restore()

    for number in before:
        signal.signal(number, note)
    try:
        yield flag
    finally:
        restore()
