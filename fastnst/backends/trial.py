"""Network files that anybody may have made are tried in another process first, which can be killed.

A file can hold a loop without end, or ask for all memory there is, already while it is loaded; in this process nothing
would help then, not even Ctrl-C. One such process serves all files, and ends with this one.
"""

import atexit
import contextlib
import faulthandler
import io
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import psutil

from fastnst.backends.contract import first_line
from fastnst.errors import StyleError

_LIMIT_S = 20.0
_MORE_S_PER_BYTE = 1e-7
"""Seconds on top for large files."""

_START_S = 90.0
"""Until the process has imported what it needs, on a slow computer that is busy."""

_MEMORY, _MORE_MEMORY = 1_500_000_000, 20
"""Bytes that a trial may take, and so many times the size of the file and what lies beside it."""

_ROOT = Path(__file__).parents[2]
_CODE = f"import sys; sys.path.insert(0, {str(_ROOT)!r}); from fastnst.backends import trial; trial.serve()"


def try_network(path: Path, *, limit_s: float | None = None, memory: int | None = None) -> None:
    """Open a network file and run it on small pictures, elsewhere.

    The seconds and the bytes of memory that it may take go by the size of the file where they are not given. Raises
    StyleError where it is no network of ours, does not run, or takes too long or too much memory.
    """
    size = _size_with_data(path)
    limit_s = _LIMIT_S + size * _MORE_S_PER_BYTE if limit_s is None else limit_s
    memory = _MEMORY + size * _MORE_MEMORY if memory is None else memory
    with _lock:
        error = _ask(path, limit_s, memory)
    if error is not None:
        raise StyleError(error)


def _size_with_data(path: Path) -> int:
    """Bytes of the file, and of weights beside it: files of the same name that end in data, weights or bin."""
    with contextlib.suppress(OSError):
        beside = (file for file in path.parent.iterdir() if file.name.startswith(path.stem))
        weights = [file for file in beside if file.name.endswith(("data", ".weights", ".bin")) and file != path]
        return sum(file.stat().st_size for file in (path, *weights) if file.is_file())
    return 0


class _Worker:
    """The other process, and a thread that reads its answers."""

    def __init__(self) -> None:
        # Ctrl-C is for this process, which then ends the other. -P: no modules from the working folder.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _CODE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin: IO[bytes] = self._process.stdin
        self._stdout: IO[bytes] = self._process.stdout
        self._answers: queue.Queue[bytes] = queue.Queue()
        threading.Thread(target=self._read, name="trial", daemon=True).start()

    def _read(self) -> None:
        for line in self._stdout:
            self._answers.put(line)
        self._answers.put(b"")

    def send(self, asked: dict[str, object]) -> None:
        self._stdin.write(json.dumps(asked).encode() + b"\n")
        self._stdin.flush()

    def answer(self, limit_s: float, memory: int | None = None) -> dict[str, object] | None:
        """Wait for an answer; None: the process died. Raises TimeoutError and MemoryError."""
        until = time.monotonic() + limit_s
        while True:
            try:
                line = self._answers.get(timeout=0.02)
                return json.loads(line) if line else None
            except queue.Empty:
                if time.monotonic() > until:
                    raise TimeoutError from None
                if memory is not None and self._memory() > memory:
                    raise MemoryError from None

    def _memory(self) -> int:
        try:
            return int(psutil.Process(self._process.pid).memory_info().rss)
        except psutil.Error:
            return 0

    def close(self) -> None:
        self._process.kill()
        with contextlib.suppress(OSError):
            self._stdin.close()
        self._process.wait()
        # The reading thread has seen the end by now, or does at once.
        with contextlib.suppress(OSError, ValueError):
            self._stdout.close()


_lock = threading.Lock()
_worker: list[_Worker] = []
_unavailable: list[bool] = []


def _ask(path: Path, limit_s: float, memory: int) -> str | None:
    """Have a file tried; return what is wrong with it. Where no other process can run, nothing is known."""
    worker = _started()
    if worker is None:
        return None
    try:
        worker.send({"path": os.path.abspath(path), "shown": str(path), "limit_s": limit_s})  # noqa: PTH100 - links stay
        answer = worker.answer(limit_s, memory)
    except TimeoutError:
        _end()
        return f"{path}: has not loaded and stylized a test picture within {limit_s:.0f} s; it is no network to use"
    except MemoryError:
        _end()
        return f"{path}: takes more than {memory / 1e9:.1f} GB for a test picture; it is no network to use"
    except BaseException:
        _end()
        raise
    if answer is None:
        _end()
        return f"{path}: the process that tried it ended without an answer; it is damaged, or not for this computer"
    error = answer["error"]
    return None if error is None else str(error)


def _started() -> _Worker | None:
    if _worker:
        return _worker[0]
    if _unavailable or not sys.executable:
        return None
    worker = None
    try:
        worker = _Worker()
        ready = worker.answer(_START_S)
    except (OSError, TimeoutError, ValueError):
        ready = None
    except BaseException:
        if worker is not None:
            worker.close()
        raise
    if worker is None or ready is None:
        # A program that was frozen into one file, say, is no Python that could be started again.
        _unavailable.append(True)
        if worker is not None:
            worker.close()
        return None
    _worker.append(worker)
    return worker


def _end() -> None:
    while _worker:
        _worker.pop().close()


atexit.register(_end)


def serve() -> None:
    """Try the files that are named on stdin, until it ends: the other process."""
    sys.stdin.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    answers, sys.stdout = sys.stdout, io.StringIO()  # whatever a library prints is no answer
    from fastnst.backends.opening import try_all  # noqa: PLC0415 - takes a moment

    _reply(answers.write, answers.flush, None)
    for line in sys.stdin:
        asked = json.loads(line)
        path, shown = Path(asked["path"]), asked["shown"]
        # Should nobody be there any more to kill this process.
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123
            faulthandler.dump_traceback_later(asked["limit_s"] + 10, exit=True, file=nowhere)
            try:
                try_all(path)
                error = None
            except Exception as caught:
                error = str(caught) if isinstance(caught, StyleError) else f"{path}: fails ({first_line(caught)})"
            faulthandler.cancel_dump_traceback_later()
        _reply(answers.write, answers.flush, None if error is None else error.replace(str(path), shown))


def _reply(write: Callable[[str], object], flush: Callable[[], object], error: str | None) -> None:
    write(json.dumps({"error": error}) + "\n")
    flush()
