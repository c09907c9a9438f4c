"""Running a probe (probes.py) in a process of its own: what crashes there or hangs costs only an answer."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

LATE = "gave no answer in"
"""How the failure of a probe that did not end begins: it hangs, or the computer is busy."""

MODULE = ("-m", "fastnst.diagnosis.probes")


@dataclass(frozen=True)
class Answer:
    """What a probe said, and how it ended."""

    lines: list[dict[str, Any]] = field(default_factory=list)
    failure: str | None = None
    """Why it did not end well; what it said until then still holds."""

    @property
    def first(self) -> dict[str, Any]:
        """The first line; where there is none, an error."""
        return self.lines[0] if self.lines else {"error": self.failure or "gave no answer"}


def probe(name: str, *arguments: str, timeout_s: float = 90, module: Sequence[str] = MODULE) -> Answer:
    """Run a probe and wait for it, `timeout_s` seconds at most; `module` is what Python is called with."""
    command = [sys.executable, *module, name, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, timeout=timeout_s, stdin=subprocess.DEVNULL, check=False)
    except subprocess.TimeoutExpired as late:
        return Answer(_read(late.stdout or b""), f"{LATE} {timeout_s:.0f} s")
    return Answer(_read(done.stdout), _ending(done.returncode, done.stderr))


def _read(output: bytes) -> list[dict[str, Any]]:
    lines = []
    for line in output.decode(errors="replace").splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:  # cut short
            continue
    return lines


def _ending(status: int, errors: bytes) -> str | None:
    if status == 0:
        return None
    if status < 0:
        return f"crashed (signal {-status})"
    last = errors.decode(errors="replace").strip().splitlines()[-1:]
    return f"ended with status {status}" + "".join(f" ({line[:160]})" for line in last)
