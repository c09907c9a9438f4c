"""Processes that read pictures for another one, as torch's DataLoader starts them."""

import os
import signal
import sys
from multiprocessing import get_context, parent_process
from multiprocessing.context import BaseContext
from threading import Thread


def start_worker(_number: int) -> None:
    """Leave Ctrl-C to the main process, which ends its workers; torch itself limits each to one thread."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this worker when the main process is killed: torch watches the worker's parent, here the fork server."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def worker_context() -> BaseContext:
    """Start workers from a clean process: a fork of a process with threads (NCCL, TensorBoard) may hang for ever."""
    if sys.platform == "win32":
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload(["torch"])  # torch is then imported once, not once a worker
    return context
