"""One style's network, open to run: checked against the contract, on the provider that suits it, in tiles where needed.

N pictures, H height, W width, S styles that a network can mix. Frames are uint8 (H, W, 3) RGB.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

import numpy as np

from fastnst.backends.backend import Array, Backend, Provider, ProviderChoice, first_line
from fastnst.backends.choosing import Choice, NetworkFile, choose_backend, test_picture
from fastnst.backends.contract import Contract, read_contract
from fastnst.backends.feeds import as_batch, extra_feeds, from_layout, to_layout
from fastnst.backends.mixing import StyleWeights
from fastnst.backends.onnx_cpu import OnnxBackend
from fastnst.errors import InputError, SettingError, StyleError
from fastnst.inference.tile_policy import TileChoice, TilePolicy
from fastnst.io.decoding import LFS_POINTER, is_lfs_pointer
from fastnst.io.images import Frame
from fastnst.machine.cores import check_threads

# For a picture of 67 x 65, which takes milliseconds; some seconds on a slow computer that is busy.
_MOST_POINTER_BYTES = 1000
_PATIENCE_S = 60.0


class StyleSession:
    """A network file, loaded and warmed up. Calls from several threads at once are safe."""

    def __init__(
        self,
        path: Path,
        *,
        provider: ProviderChoice = "auto",
        threads: int | None = None,
        tile: TileChoice = "off",
        prefer: Provider | None = None,
    ) -> None:
        """Open a network file.

        Args:
            path: an exported ONNX file.
            provider: what computes; auto takes the fastest that really runs here, see `choice`.
            threads: threads on the CPU; None: one for each physical core that may be used.
            tile: when pictures are painted in tiles, see `TilePolicy`.
            prefer: what runs another network already: auto takes it where it runs this one too, for trying all takes
                seconds.

        Raises:
            StyleError: a file that is no network of ours; with a number for `tile`, one that knows no tiles.
            SettingError: a provider asked for by name that cannot run here; with a number, one without tiles.
        """
        check_threads(threads)
        self.path = path
        """The ONNX file."""

        self._backend: Backend | None = None
        self._backend, self.choice, self._contract = _load(path, provider, threads, prefer)
        self.tiles = TilePolicy(path, self.choice, asked=provider, tile=tile, threads=threads)
        """When this network paints in tiles, and how often it did."""

        self._holds_memory = False

    @property
    def style(self) -> str:
        """Name of the style: what the file says, else the file's name."""
        return self._contract.metadata.get("style") or self.path.stem

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the file says of itself: style, network, provenance, licence, weights_sha256, layout, fastnst_format."""
        return MappingProxyType(self._contract.metadata)

    @property
    def provider(self) -> Provider:
        """What really computes."""
        return self._open().provider

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
        """Run the network on one picture or a batch.

        Args:
            frames: uint8 (H, W, 3) or (N, H, W, 3) RGB; not changed.
            style_weights: for a network that mixes several styles, the share of each in their order, or by name;
                divided by their sum. None: all alike.
            strength: for a network that takes one; None: 1, the full style.

        Returns:
            uint8 of the same shape.

        Raises:
            InputError: another type or shape, or a picture too large for the memory.
            StyleError: the network changes the size.
            SettingError: weights or a strength that the network does not take.
        """
        backend, batch = self._open(), as_batch(frames)
        feeds = extra_feeds(self._contract, style_weights, strength)
        if self.tiles.needed(frames):
            return self._run_in_tiles(frames, style_weights, strength)
        self._holds_memory |= self.tiles.is_large(frames)
        try:
            painted = from_layout(backend.run({"frame": to_layout(batch, self._contract)} | feeds), self._contract)
        except Exception as error:  # the back-ends' errors have no common base
            if self.tiles.possible(frames):  # no memory after all, or none on the device
                return self._run_in_tiles(frames, style_weights, strength)
            height, width = batch.shape[1:3]
            raise InputError(
                f"{self.style} failed on {len(batch)} picture(s) of {width}x{height} "
                f"({first_line(error)}); if memory ran out, make them smaller"
            ) from error
        if painted.shape != batch.shape:
            raise StyleError(f"{self.style}: turned {batch.shape} into {painted.shape}; expected the same size")
        return painted.reshape(frames.shape)

    def check(self, style_weights: StyleWeights | None, strength: float | None) -> None:
        """Raise SettingError for weights or a strength that this network, or a painting laid over the photo, lacks."""
        extra_feeds(self._contract, style_weights, strength)

    def close(self) -> None:
        """Give the network's memory back; calls then fail."""
        self._backend = None
        self.tiles.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run_in_tiles(self, frame: Frame, style_weights: StyleWeights | None, strength: float | None) -> Frame:
        if self._holds_memory:
            # After a picture so much smaller, what large ones took is given back.
            small = np.zeros((1, 16, 16, 3), np.uint8)
            self._open().run({"frame": to_layout(small, self._contract)} | extra_feeds(self._contract, None, None))
            self._holds_memory = False
        return self.tiles.run(frame, style_weights, strength if self.takes_strength else None)

    def _open(self) -> Backend:
        if self._backend is None:
            raise StyleError(f"{self.style}: is closed; open it anew")
        return self._backend


def _load(
    path: Path, provider: ProviderChoice, threads: int | None, prefer: Provider | None
) -> tuple[Backend, Choice, Contract]:
    """Open a network file, check it against the contract, and choose what runs it."""
    cpu = _open_on_cpu(path, threads)
    contract = read_contract(path, cpu.inputs, cpu.outputs, cpu.metadata)

    def feed(frames: Frame) -> dict[str, Array]:
        return {"frame": to_layout(frames, contract)} | extra_feeds(contract, None, None)

    painted = _run_test_picture(path, cpu, feed(test_picture()))
    network = NetworkFile(path, feed, threads=threads)
    if provider == "auto" and prefer is not None:
        with suppress(SettingError):  # what runs one network may not run another
            return *choose_backend(network, cpu, painted, prefer), contract
    return *choose_backend(network, cpu, painted, provider), contract


def _open_on_cpu(path: Path, threads: int | None) -> OnnxBackend:
    try:
        return OnnxBackend(path, threads)
    except Exception as error:  # ONNX Runtime's errors have no common base
        if path.is_file() and path.stat().st_size < _MOST_POINTER_BYTES and is_lfs_pointer(path.read_bytes()):
            raise StyleError(f"{path}: {LFS_POINTER}") from error
        raise StyleError(f"{path}: not a readable ONNX network ({first_line(error)})") from error


def _run_test_picture(path: Path, cpu: OnnxBackend, feeds: Mapping[str, Array]) -> Array:
    """Run a network once: only that shows that it runs. What it makes of the picture, others are compared with."""
    try:
        painted = cpu.run(feeds, limit_s=_PATIENCE_S)
    except Exception as error:
        raise StyleError(f"{path}: fails on a test picture ({first_line(error)})") from error
    if painted.shape != feeds["frame"].shape:
        raise StyleError(f"{path}: turns {feeds['frame'].shape} into {painted.shape}; expected the same size")
    return painted
