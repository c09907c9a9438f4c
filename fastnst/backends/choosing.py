"""Which back-end runs a network: each is tried on a picture, compared with the CPU, and timed.

A list of providers proves nothing: ONNX Runtime names CUDA where no GPU is, and some drivers compute nonsense.
"""

import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fastnst.backends.contract import (
    PROVIDERS,
    Array,
    Backend,
    Precision,
    Provider,
    ProviderChoice,
    UnavailableError,
    first_line,
)
from fastnst.backends.cpu import OpenVinoBackend, openvino_precisions
from fastnst.backends.onnx_device import PRECISIONS, DeviceBackend, has_webgpu
from fastnst.errors import SettingError
from fastnst.io.images import Frame

# Height and width of the test picture: odd and unequal, so that a network that pads but does not crop is found out.
_TEST_SIZE = (67, 65)
_TIMED_SIZE = (240, 320)
_ROUNDS, _BUDGET_S = 4, 0.5
# Least likeness of a back-end's picture to the CPU's. Networks in bfloat16 reach 39 to 57 dB (docs/providers.md), a
# JPEG file of quality 95 about 40; a driver that computes nonsense stays under 20.
_LEAST_PSNR_DB = 35.0
# A result in full precision, the same on every machine, is worth a tenth of the time.
_WORTH_IT = 0.9


@dataclass(frozen=True)
class Choice:
    """Which back-end runs a network, and why."""

    provider: Provider
    precision: Precision = "float32"
    reason: str = ""
    """What it was measured at, where there was a choice."""

    skipped: Mapping[str, str] = field(default_factory=dict)
    """Others that `auto` tried, each with why it was not taken."""

    on_cpu: tuple[str, ...] = ()
    """Operators on whole pictures that an accelerator leaves to the CPU."""

    def __str__(self) -> str:
        """In words, such as `openvino in bfloat16 (21 ms for a 320x240 picture; cpu: 48 ms)`."""
        words = self.provider if self.precision == "float32" else f"{self.provider} in {self.precision}"
        details = [self.reason] if self.reason else []
        if self.on_cpu:
            details.append(f"{', '.join(self.on_cpu)} on the CPU")
        details += [f"{provider}: {why}" for provider, why in self.skipped.items()]
        return f"{words} ({'; '.join(details)})" if details else words


@dataclass(frozen=True)
class NetworkFile:
    """A network file, and how it is fed."""

    path: Path
    feed: Callable[[Frame], dict[str, Array]]
    """Turns frames, uint8 (N, H, W, 3) RGB, into the network's inputs by name."""

    threads: int | None = None


def choose_backend(
    network: NetworkFile, cpu: Backend, expected: Array, provider: ProviderChoice = "auto"
) -> tuple[Backend, Choice]:
    """Open a network, which `cpu` has open already, where the user wants it, or where it runs fastest.

    `expected` is what `cpu` makes of `test_picture()`. auto tries all that this system can have, but for TensorRT,
    which takes minutes to start. Raises SettingError for a provider asked for by name that cannot run here.
    """
    if provider == "auto":
        return _choose_fastest(network, cpu, expected)
    if provider not in PROVIDERS:
        raise SettingError(f"provider {provider!r}; expected one of auto, {', '.join(PROVIDERS)}")
    if provider == "cpu":
        return cpu, Choice("cpu")
    try:
        backend = open_backend(network, provider, expected)
    except UnavailableError as error:
        raise SettingError(f"provider {provider} cannot run here: {error}. provider auto takes what can") from error
    return backend, Choice(provider, backend.precision, on_cpu=backend.on_cpu)


def open_backend(network: NetworkFile, provider: Provider, expected: Array) -> Backend:
    """Open a network elsewhere than on the CPU, in the fastest precision whose test picture is like the CPU's.

    Raises UnavailableError: it does not run there, or runs and comes out differently.
    """
    likeness = -math.inf
    for backend in _opened(network, provider):
        try:
            painted = backend.run(network.feed(test_picture()))
        except UnavailableError:
            raise
        except Exception as error:  # the back-ends' errors have no common base
            raise UnavailableError(f"a test picture failed ({first_line(error)})") from error
        likeness = psnr_db(painted, expected)
        if likeness >= _LEAST_PSNR_DB:
            return backend
    raise UnavailableError(f"a test picture comes out differently than on the CPU ({likeness:.0f} dB PSNR)")


def candidates() -> tuple[Provider, ...]:
    """What `auto` tries on this system beside the CPU."""
    webgpu: tuple[Provider, ...] = ("webgpu",) if has_webgpu() else ()
    if sys.platform == "darwin":
        return ("coreml", *webgpu, "openvino")
    return ("cuda", *(("directml",) if sys.platform == "win32" else ()), *webgpu, "openvino")


def test_picture() -> Frame:
    """Return what networks are tried on: colours that change softly, and noise, uint8 (1, H, W, 3)."""
    return draw_picture(_TEST_SIZE)


test_picture.__test__ = False  # type: ignore[attr-defined] # pytest takes it for a test


def psnr_db(painted: Array, expected: Array) -> float:
    """Peak signal-to-noise ratio in dB of two pictures with levels 0..255; minus infinity for another shape or NaN."""
    if painted.shape != expected.shape:
        return -math.inf
    error = float(np.square(painted.astype(np.float64) - expected).mean())
    if not math.isfinite(error):
        return -math.inf
    return 10 * math.log10(255**2 / error) if error else math.inf


def _opened(network: NetworkFile, provider: Provider) -> Iterator[Backend]:
    """Open a network in one precision after the other, fastest first."""
    if provider == "cpu":
        raise ValueError("the CPU needs no trial")
    precisions = openvino_precisions() if provider == "openvino" else PRECISIONS[provider]
    for precision in precisions:
        try:
            yield _open(network, provider, precision)
        except UnavailableError:
            raise
        except Exception as error:
            raise UnavailableError(f"it cannot open this network ({first_line(error)})") from error


def _open(network: NetworkFile, provider: Provider, precision: Precision) -> Backend:
    if provider == "openvino":
        return OpenVinoBackend(network.path, precision=precision, threads=network.threads)
    assert provider != "cpu"
    return DeviceBackend(network.path, provider, precision=precision, threads=network.threads)


def _choose_fastest(network: NetworkFile, cpu: Backend, expected: Array) -> tuple[Backend, Choice]:
    working: dict[Provider, Backend] = {"cpu": cpu}
    skipped: dict[str, str] = {}
    for candidate in candidates():
        try:
            working[candidate] = open_backend(network, candidate, expected)
        except UnavailableError as error:
            skipped[candidate] = str(error)
    if len(working) == 1:
        return cpu, Choice("cpu", skipped=skipped)
    times = _time_all(working, network.feed(draw_picture(_TIMED_SIZE)))
    fastest = min(times, key=lambda provider: times[provider])
    if times[fastest] > _WORTH_IT * times["cpu"]:
        fastest = "cpu"
    skipped |= {provider: _in_words(times[provider]) for provider in working if provider != fastest}
    height, width = _TIMED_SIZE
    reason = f"{_in_words(times[fastest])} for a {width}x{height} picture"
    chosen = working[fastest]
    return chosen, Choice(fastest, chosen.precision, reason, skipped, chosen.on_cpu)


def _time_all(backends: Mapping[Provider, Backend], feeds: dict[str, Array]) -> dict[Provider, float]:
    """Least time of each in seconds, in turns, so that what else the computer does strikes all alike."""
    times = dict.fromkeys(backends, math.inf)
    started = time.perf_counter()
    for round_ in range(_ROUNDS):
        for provider, backend in backends.items():
            elapsed_s = _time(backend, feeds)
            if round_ > 0:  # the first time, memory is made ready and kernels are chosen
                times[provider] = min(times[provider], elapsed_s)
        if round_ > 0 and time.perf_counter() - started > _BUDGET_S:
            break
    return times


def _time(backend: Backend, feeds: dict[str, Array]) -> float:
    started = time.perf_counter()
    try:
        backend.run(feeds)
    except Exception:  # out of memory at this size, say: never the fastest
        return math.inf
    return time.perf_counter() - started


def _in_words(elapsed_s: float) -> str:
    if math.isinf(elapsed_s):
        return "failed on a larger picture"
    elapsed_ms = elapsed_s * 1e3
    return f"{elapsed_ms:.1f} ms" if elapsed_ms < 10 else f"{elapsed_ms:.0f} ms"


def draw_picture(size: tuple[int, int]) -> Frame:
    """Draw colours that change softly, and noise, the same every time: uint8 (1, H, W, 3) of size (H, W)."""
    height, width = size
    down, across = np.mgrid[:height, :width]
    waves = np.stack([np.sin(down / 9), np.cos(across / 7), np.sin((down + across) / 23)], axis=-1)
    noise = np.random.default_rng(0).normal(0, 20, (height, width, 3))
    return (127 + 90 * waves + noise).clip(0, 255).astype(np.uint8)[None]
