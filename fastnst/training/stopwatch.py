"""Where the time of a step goes."""

import time

import torch

GPU_EVERY = 25
"""Steps between two that are timed on a GPU: each part must then be waited for, which costs a little."""


class Stopwatch:
    """Splits a step's time over its parts: seconds by name."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.parts: dict[str, float] = {}
        """Seconds of the parts of the newest step that was timed."""
        self._steps, self._running, self._last = 0, False, 0.0

    def start(self) -> None:
        """Begin a step."""
        self._running = self.device.type == "cpu" or self._steps % GPU_EVERY == 0
        self._steps += 1
        self.parts = {}
        self._last = self._now()

    def lap(self, part: str) -> None:
        """End a part of the step: the time since the last call counts to it."""
        if not self._running:
            return
        now = self._now()
        self.parts[part] = self.parts.get(part, 0.0) + now - self._last
        self._last = now

    def _now(self) -> float:
        if self._running and self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()
