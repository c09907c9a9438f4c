"""How many pictures a second reach the screen, and how old they are when they do."""

from collections import deque
from statistics import median

# What the eye should read is a mean over about this long.
_SPAN_S = 2.0


class Meter:
    """Counts pictures as they are shown."""

    def __init__(self) -> None:
        self._recent: deque[tuple[float, float]] = deque()
        self._latencies: list[float] = []

    @property
    def shown(self) -> int:
        """Pictures so far."""
        return len(self._latencies)

    def note(self, captured_s: float, shown_s: float) -> None:
        """Count a picture that arrived at `captured_s` and was on the screen at `shown_s`."""
        latency_ms = (shown_s - captured_s) * 1000
        self._latencies.append(latency_ms)
        self._recent.append((shown_s, latency_ms))
        while self._recent[0][0] < shown_s - _SPAN_S:
            self._recent.popleft()

    def fps(self, now_s: float) -> float:
        """Pictures a second over the last two seconds, or since the first one."""
        since = [shown_s for shown_s, _ in self._recent if shown_s >= now_s - _SPAN_S]
        if len(since) < 2:
            return 0.0
        # While pictures come, time counts between them; once they stop, up to now.
        end_s = since[-1] if now_s - since[-1] < 2 * (since[-1] - since[0]) / (len(since) - 1) else now_s
        return (len(since) - 1) / (end_s - since[0])

    def latency_ms(self) -> float:
        """From capture to screen, median over the last two seconds of pictures."""
        return median(latency for _, latency in self._recent) if self._recent else 0.0

    def latency_share_ms(self, share: float) -> float:
        """The latency that this share of all pictures stays within."""
        if not self._latencies:
            return 0.0
        ordered = sorted(self._latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
