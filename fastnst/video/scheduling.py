"""How the system schedules this process's threads, kept as it was while an encoder is opened.

SVT-AV1, where root runs it, puts the thread that opens it and all of its own at the highest real-time priority
(SCHED_FIFO, 99). Whatever they start inherits that; such threads, waiting for each other by spinning, let nothing else
run on a machine of few cores.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_TASKS = Path("/proc/self/task")


@contextlib.contextmanager
def kept_scheduling() -> Iterator[None]:
    """Give each thread its scheduling back afterwards, and those that are new then that of the caller."""
    if not _TASKS.is_dir():
        yield
        return
    before = _scheduling()
    # The list above may miss a thread, even this one, while others end.
    own = os.sched_getscheduler(0), os.sched_getparam(0).sched_priority
    try:
        yield
    finally:
        for thread, scheduling in _scheduling().items():
            wanted = before.get(thread, own)
            if scheduling != wanted:
                with contextlib.suppress(OSError):  # it has ended
                    os.sched_setscheduler(thread, wanted[0], os.sched_param(wanted[1]))


def _scheduling() -> dict[int, tuple[int, int]]:
    """Policy and real-time priority of each thread, by the system's number."""
    found = {}
    for task in _TASKS.iterdir():
        thread = int(task.name)
        with contextlib.suppress(OSError):
            found[thread] = os.sched_getscheduler(thread), os.sched_getparam(thread).sched_priority
    return found
