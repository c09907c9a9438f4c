"""How much memory this process has held at most."""

import sys
from pathlib import Path

_MEGABYTE = 1024 * 1024


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
    import ctypes  # noqa: PLC0415

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
