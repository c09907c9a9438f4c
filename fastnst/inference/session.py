"""A trained style, ready to paint: `Stylizer("starry")(frame)`.

N pictures, H height, W width, S styles that a network can mix. Frames are uint8 (H, W, 3) RGB.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

from fastnst.backends.backend import Array, Backend, Provider, ProviderChoice, first_line
from fastnst.backends.choosing import Choice, Network, choose_backend, test_picture
from fastnst.backends.contract import Contract, read_contract
from fastnst.backends.feeds import as_batch, extra_feeds, from_layout, to_layout
from fastnst.backends.mixing import StyleWeights
from fastnst.backends.onnx_cpu import OnnxBackend
from fastnst.errors import InputError, StyleError
from fastnst.io.blending import blend
from fastnst.io.images import Frame
from fastnst.io.styles import find_style
from fastnst.machine.cores import check_threads

# For a picture of 67 x 65, which takes milliseconds; some seconds on a slow computer that is busy.
_PATIENCE_S = 60.0


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
            provider: what computes; auto takes the fastest that really runs here, see `choice`.
            threads: threads on the CPU; None: one for each physical core that may be used.

        Raises:
            StyleError: no such style, or a file that is no network of ours.
            SettingError: a provider asked for by name that cannot run here.
        """
        check_threads(threads)
        self._path = find_style(style)
        self._backend: Backend | None = None
        self._backend, self._choice, self._contract = _load(self._path, provider, threads)

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
    def choice(self) -> Choice:
        """What really computes, in which precision, and why; `str(choice)` says it in words."""
        return self._choice

    @property
    def skipped(self) -> Mapping[str, str]:
        """Other providers that `auto` tried and did not take, each with the reason."""
        return MappingProxyType(dict(self._choice.skipped))

    @property
    def styles(self) -> int:
        """S, the number of styles that the network can mix; 1 for most."""
        return self._contract.styles or 1

    @property
    def style_names(self) -> tuple[str, ...]:
        """Names of these styles, in the order of their weights."""
        return self._contract.style_names

    @property
    def takes_strength(self) -> bool:
        """The network itself paints more or less strongly; of others, the painting is laid over the photo."""
        return self._contract.strength

    def __call__(
        self, frames: Frame, *, style_weights: StyleWeights | None = None, strength: float | None = None
    ) -> Frame:
        """Paint one picture or a batch.

        Args:
            frames: uint8 (H, W, 3) or (N, H, W, 3) RGB; not changed.
            style_weights: for a network that mixes several styles, the share of each in their order, or by name, as
                {"munch": 2, "hokusai": 1}; divided by their sum. None: all alike.
            strength: 0 leaves the photo, 1 is the full style; up to 1.5 where the network has this input. None: 1.

        Returns:
            uint8 of the same shape.

        Raises:
            InputError: another type or shape, or a picture too large for the memory.
            SettingError: weights or a strength that the network does not take.
        """
        backend = self._open()
        batch = as_batch(frames)
        feeds = {"frame": to_layout(batch, self._contract)}
        feeds |= extra_feeds(self._contract, style_weights, strength)
        try:
            painted = from_layout(backend.run(feeds), self._contract)
        except Exception as error:  # the back-ends' errors have no common base
            height, width = batch.shape[1:3]
            raise InputError(
                f"{self.style} failed on {len(batch)} picture(s) of {width}x{height} "
                f"({first_line(error)}); if memory ran out, make them smaller"
            ) from error
        painted = painted.reshape(frames.shape)
        return painted if strength is None or self.takes_strength else blend(painted, frames, strength)

    def check(self, style_weights: StyleWeights | None, strength: float | None) -> None:
        """Raise SettingError for weights or a strength that this network does not take."""
        extra_feeds(self._contract, style_weights, strength)

    def stream(
        self,
        frames: Iterable[Frame],
        *,
        style_weights: StyleWeights | None = None,
        strength: float | None = None,
    ) -> Iterator[Frame]:
        """Paint one picture after the other, each when it is asked for.

            for painted in stylizer.stream(frames): ...

        Args:
            frames: any number of uint8 (H, W, 3) RGB, of any sizes; taken one at a time.
            style_weights: as for one picture.
            strength: as for one picture.

        Yields:
            uint8 of the same shapes, in the same order.

        Raises:
            InputError, SettingError: as for one picture, when it is reached.
        """
        for frame in frames:
            yield self(frame, style_weights=style_weights, strength=strength)

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


def _load(path: Path, provider: ProviderChoice, threads: int | None) -> tuple[Backend, Choice, Contract]:
    """Open a network file, check it against the contract, and choose what runs it."""
    cpu = _open_on_cpu(path, threads)
    contract = read_contract(path, cpu.inputs, cpu.outputs, cpu.metadata)

    def feed(frames: Frame) -> dict[str, Array]:
        return {"frame": to_layout(frames, contract)} | extra_feeds(contract, None, None)

    painted = _paint_test_picture(path, cpu, feed(test_picture()))
    backend, choice = choose_backend(Network(path, feed, threads=threads), cpu, painted, provider)
    return backend, choice, contract


def _open_on_cpu(path: Path, threads: int | None) -> OnnxBackend:
    try:
        return OnnxBackend(path, threads)
    except Exception as error:  # ONNX Runtime's errors have no common base
        raise StyleError(f"{path}: not a readable ONNX network ({first_line(error)})") from error


def _paint_test_picture(path: Path, cpu: OnnxBackend, feeds: Mapping[str, Array]) -> Array:
    """Run a network once: only that shows that it runs. What it makes of the picture, others are compared with."""
    try:
        painted = cpu.run(feeds, limit_s=_PATIENCE_S)
    except Exception as error:
        raise StyleError(f"{path}: fails on a test picture ({first_line(error)})") from error
    if painted.shape != feeds["frame"].shape:
        raise StyleError(f"{path}: turns {feeds['frame'].shape} into {painted.shape}; expected the same size")
    return painted
