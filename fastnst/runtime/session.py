"""A trained style, ready to paint: `Stylizer("starry")(frame)`.

N pictures, H height, W width, S styles that a network can mix. Frames are uint8 (H, W, 3) RGB.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Literal, Self, TypeAlias

import numpy as np

from fastnst.errors import InputError, SettingError, StyleError
from fastnst.images import Frame
from fastnst.runtime.backend import Backend, OnnxBackend, Provider, UnavailableError
from fastnst.runtime.contract import Contract, read_contract
from fastnst.runtime.feeds import as_batch, extra_feeds, from_layout, to_layout
from fastnst.styles import find_style

ProviderChoice: TypeAlias = Literal["auto", "cpu", "cuda"]

# What `auto` tries, fastest first.
_BY_SPEED: tuple[Provider, ...] = ("cuda", "cpu")
# Height and width of the warm-up picture: odd and unequal, so that a network that pads but does not crop is found out.
_WARM_UP_SIZE = (67, 65)


class Stylizer:
    """One style's network, loaded and warmed up.

        with Stylizer("starry") as stylizer:
            painted = stylizer(frame)

    Calls from several threads at once are safe.
    """

    def __init__(self, style: str | Path, *, provider: ProviderChoice = "auto", threads: int | None = None) -> None:
        """Load a style.

        Args:
            style: name of an installed style, or path of an ONNX file.
            provider: what computes; auto takes the fastest that really runs here.
            threads: threads on the CPU; None lets ONNX Runtime choose.

        Raises:
            StyleError: no such style, or a file that is no network of ours.
            SettingError: a provider asked for by name that cannot run here.
        """
        if threads is not None and threads < 1:
            raise SettingError(f"threads {threads}; expected at least 1")
        self._path = find_style(style)
        self._skipped: dict[str, str] = {}
        self._backend: Backend | None = None
        self._backend, self._contract = self._choose(provider, threads)

    @property
    def style(self) -> str:
        """Name of the style: what the file says, else the file's name."""
        return self._contract.metadata.get("style") or self._path.stem

    @property
    def path(self) -> Path:
        """The ONNX file."""
        return self._path

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the file says of itself: style, network, provenance, licence, weights_sha256, layout, fastnst_format."""
        return MappingProxyType(self._contract.metadata)

    @property
    def provider(self) -> Provider:
        """What really computes."""
        return self._open().provider

    @property
    def skipped(self) -> Mapping[str, str]:
        """Faster providers that `auto` tried in vain, each with the reason."""
        return MappingProxyType(self._skipped)

    @property
    def styles(self) -> int:
        """S, the number of styles that the network can mix; 1 for most."""
        return self._contract.styles or 1

    def __call__(
        self, frames: Frame, *, style_weights: Sequence[float] | None = None, strength: float | None = None
    ) -> Frame:
        """Paint one picture or a batch.

        Args:
            frames: uint8 (H, W, 3) or (N, H, W, 3) RGB; not changed.
            style_weights: S shares of the styles, for a network that mixes several; None: all alike.
            strength: 0 leaves the photo, 1 is the full style, for a network with that input; None: 1.

        Returns:
            uint8 of the same shape.

        Raises:
            InputError: another type or shape, or a picture too large for the memory.
            SettingError: weights or a strength that the network does not take.
        """
        backend = self._open()
        batch = as_batch(frames)
        feeds = {"frame": to_layout(batch, self._contract)}
        feeds |= extra_feeds(len(batch), self._contract, style_weights, strength)
        try:
            painted = from_layout(backend.run(feeds), self._contract)
        except Exception as error:  # ONNX Runtime's errors have no common base
            height, width = batch.shape[1:3]
            raise InputError(
                f"{self.style} failed on {len(batch)} picture(s) of {width}x{height} "
                f"({_first_line(error)}); if memory ran out, make them smaller"
            ) from error
        return painted.reshape(frames.shape)

    def close(self) -> None:
        """Give the network's memory back; calls then fail."""
        self._backend = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> Backend:
        if self._backend is None:
            raise StyleError(f"{self.style}: this Stylizer is closed; make a new one")
        return self._backend

    def _choose(self, provider: ProviderChoice, threads: int | None) -> tuple[Backend, Contract]:
        if provider == "auto":
            for candidate in _BY_SPEED[:-1]:
                try:
                    return _load(self._path, candidate, threads)
                except (UnavailableError, StyleError) as error:
                    # If it is the file that is bad, the CPU will say so.
                    self._skipped[candidate] = str(error)
            return _load(self._path, _BY_SPEED[-1], threads)
        if provider not in _BY_SPEED:
            raise SettingError(f"provider {provider!r}; expected auto, {' or '.join(sorted(_BY_SPEED))}")
        try:
            return _load(self._path, provider, threads)
        except UnavailableError as error:
            raise SettingError(f"provider {provider} cannot run here: {error}. provider auto takes what can") from error


def _load(path: Path, provider: Provider, threads: int | None) -> tuple[Backend, Contract]:
    """Open a network file, check it against the contract, and paint a tiny picture: only that shows that it runs."""
    try:
        backend = OnnxBackend(path, provider, threads)
    except UnavailableError:
        raise
    except Exception as error:  # ONNX Runtime's errors have no common base
        raise StyleError(f"{path}: not a readable ONNX network ({_first_line(error)})") from error
    contract = read_contract(path, backend.inputs, backend.outputs, backend.metadata)
    frame = np.zeros((1, *_WARM_UP_SIZE, 3), np.uint8)
    feeds = {"frame": to_layout(frame, contract)} | extra_feeds(1, contract, None, None)
    try:
        painted = backend.run(feeds)
    except Exception as error:
        if provider != "cpu":
            raise UnavailableError(f"a test picture failed ({_first_line(error)})") from error
        raise StyleError(f"{path}: fails on a test picture ({_first_line(error)})") from error
    if painted.shape != feeds["frame"].shape:
        raise StyleError(f"{path}: turns {feeds['frame'].shape} into {painted.shape}; expected the same size")
    return backend, contract


def _first_line(error: Exception) -> str:
    """ONNX Runtime's errors run over many lines, with source files and stack traces."""
    words = str(error).splitlines()[0] if str(error) else type(error).__name__
    return words.rsplit("failed:", 1)[-1].removeprefix("[ONNXRuntimeError] : ")[:160]
