"""Whether there is an NVIDIA GPU at all."""

import ctypes
import sys


def has_nvidia_driver() -> bool:
    """Tell whether NVIDIA's driver is installed, whatever other programs make of it."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True
