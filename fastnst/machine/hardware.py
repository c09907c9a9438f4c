"""What this computer is: the machine that figures were taken on, and whether it has an NVIDIA GPU."""

import ctypes
import os
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = ("fastnst", "numpy", "onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "openvino")


def describe_machine() -> dict[str, Any]:
    """What the times were taken on, and how busy it was before."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "processors": os.cpu_count(),
        "load_before": None if load is None else round(load, 2),
        "python": platform.python_version(),
        "packages": dict(_versions()),
    }


def _processor() -> str:
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
