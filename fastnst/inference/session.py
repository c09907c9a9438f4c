"""The networks of a stylized picture: each open to run, checked against the contract, on the provider that suits it, in
tiles where needed; and as a layer, with a mix, and in words as jobs and files say it.

What stands here of a stopped film's look must stay as it is: earlier versions wrote it. N pictures, H height, W width,
S styles that a network can mix. Frames are uint8 (H, W, 3) RGB.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, Self, TypeAlias

import numpy as np

from fastnst.backends.choosing import Choice, NetworkFile, choose_backend, test_picture
from fastnst.backends.contract import (
    Array,
    Backend,
    Contract,
    Provider,
    ProviderChoice,
    as_batch,
    extra_feeds,
    first_line,
    from_layout,
    read_contract,
    to_layout,
)
from fastnst.backends.opening import all_finite, check_style_file, feeds_of, open_any, run_test_picture
from fastnst.backends.trial import try_network
from fastnst.errors import InputError, SettingError, StyleError
from fastnst.inference.effects import Effects, read_effects
from fastnst.inference.masks import Mask, read_mask
from fastnst.inference.paintings import NONE, Refinement
from fastnst.io.files import sha256_of
from fastnst.io.images import Frame
from fastnst.io.styles import MIX_SIGN, StyleWeights, bundled_styles_folder, even_weights, to_shares
from fastnst.machine import check_threads
from fastnst.tiling.pieces import one_piece_bytes, one_piece_excess, one_piece_limit, paint_in_pieces

if TYPE_CHECKING:
    from fastnst.tiling.tileable import TileProvider
    from fastnst.tiling.tiles import TiledStylizer

TileChoice: TypeAlias = int | Literal["auto", "off"]

# Pixels; no picture so small needs tiles, and reading a graph takes a third of a second.
_SMALL = 1_000_000
# For a picture of 67 x 65, which takes milliseconds; some seconds on a slow computer that is busy.
_PATIENCE_S = 60.0


def pixels_of(frames: Frame) -> int:
    """Pixels of a picture (H, W, 3), or of all pictures of a batch."""
    return frames.size // 3


class TilePolicy:
    """Decides for one network, and runs it in tiles."""

    def __init__(
        self, path: Path, choice: Choice, *, asked: ProviderChoice, tile: TileChoice, threads: int | None
    ) -> None:
        """Prepare: `choice` runs the file in one piece; cpu and cuda paint tiles, and where auto chose another, cpu.

        With a number for `tile`, raises StyleError for a network that knows no tiles, SettingError for a provider
        without tiles, or a tile too small.
        """
        self.pictures = 0
        """How many were stylized in tiles."""

        self.on_progress: Callable[[float], None] | None = None
        """Called with the share that is done of a picture in tiles, rising to 1."""

        self.held_pixels = 0
        """Pixels of the largest picture in one piece so far, whose memory is still held and serves the next one."""

        self._numbers: float | None = None
        self._path, self._choice, self._asked = path, choice, asked
        self._tile, self._threads = tile, threads
        self._tiler: TiledStylizer | None = None
        self._untileable = False
        if isinstance(tile, int):
            self._open()

    @property
    def provider(self) -> "TileProvider":
        """What paints tiles."""
        return "cuda" if self._choice.provider in {"cuda", "tensorrt"} else "cpu"

    def needed(self, frames: Frame) -> bool:
        """Whether these frames are painted in tiles from the start."""
        if self._tile != "auto":
            return self._tile != "off"
        return self._is_heavy(frames) and self.possible(frames) and self._one_piece_bytes(frames) > one_piece_limit()

    def check(self, frames: Frame) -> None:
        """Raise InputError where painting in one piece would take more memory than there is.

        The system would end the process, without a word.
        """
        if not self._is_heavy(frames):
            return
        height, width = frames.shape[-3:-1]
        if excess := one_piece_excess(self._one_piece_bytes(frames), max(height, width)):
            raise InputError(f"{self._path}: a picture of {width}x{height} {excess}")

    def _is_heavy(self, frames: Frame) -> bool:
        """Whether these frames take memory anew, and the machine's: of an accelerator's own, a try shows."""
        anew = pixels_of(frames) > max(self.held_pixels, _SMALL)
        return anew and self._choice.provider in {"cpu", "openvino"}

    def _one_piece_bytes(self, frames: Frame) -> int:
        if self._numbers is None:
            from fastnst.tiling.tileable import held_numbers  # noqa: PLC0415 - imports onnx

            self._numbers = held_numbers(self._path)
        return one_piece_bytes(self._numbers, pixels_of(frames), self._choice.provider, self._choice.precision)

    def possible(self, frames: Frame) -> bool:
        """Whether `auto` may fall back on tiles: not for a batch, nor where network or provider have none."""
        if self._tile != "auto" or frames.ndim != 3 or self._untileable:
            return False
        try:
            self._open()
        except (StyleError, SettingError):
            self._untileable = True
        return not self._untileable

    def run(self, frame: Frame, style_weights: StyleWeights | None, strength: float | None) -> Frame:
        """Paint one picture in tiles; arguments and errors as for a `TiledStylizer`."""
        tiler = self._open()
        painted = tiler(frame, style_weights=style_weights, strength=strength, on_progress=self.on_progress)
        self.pictures += 1
        return painted

    def close(self) -> None:
        """Give memory back."""
        self._tiler = None

    def _open(self) -> "TiledStylizer":
        from fastnst.tiling.tiles import DEFAULT_TILE, TiledStylizer  # noqa: PLC0415 - imports onnx

        if self._tiler is None:
            if self._choice.provider != self.provider and self._asked not in {"auto", "tensorrt"}:
                raise SettingError(f"--tile {self._tile}: provider {self._asked} has no tiles; cpu, cuda and auto do")
            tile = self._tile if isinstance(self._tile, int) else DEFAULT_TILE
            self._tiler = TiledStylizer(self._path, tile=tile, provider=self.provider, threads=self._threads)
        return self._tiler


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
        """Open an exported ONNX file; provider, threads and tile as for a `Stylizer`.

        `prefer` is what runs another network already: auto takes it where it runs this one too, for trying all takes
        seconds. Raises StyleError for a file that is no network of ours, SettingError for a provider asked for by name
        that cannot run here; with a number for `tile`, either where it cannot be painted in tiles.
        """
        check_threads(threads)
        self.path = path
        """The ONNX file that was asked for."""

        self._backend: Backend | None = None
        self.opened, self._backend, self.choice, contract = _load(path, provider, threads, prefer)
        # What these are: see `Stylizer`.
        self.style = contract.metadata.get("style") or path.stem
        self.metadata = MappingProxyType(contract.metadata)
        self.styles, self.style_names = contract.styles or 1, contract.style_names
        self.takes_strength = contract.strength
        self.input_noise = contract.input_noise
        """Noise that the network expects on its input, levels."""

        self._contract = contract
        if contract.size is not None:
            tile = "off"  # its own size is all the tiles there are
        self.tiles = TilePolicy(self.opened, self.choice, asked=provider, tile=tile, threads=threads)
        """When this network stylizes in tiles, and how often it did."""

    @property
    def provider(self) -> Provider:
        """What really computes."""
        return self._open().provider

    def __call__(
        self, frames: Frame, *, style_weights: StyleWeights | None = None, strength: float | None = None
    ) -> Frame:
        """Run the network on one picture or a batch, as a `Stylizer` does; `strength` is for one that takes it.

        Raises StyleError, too, where the network changes the size or computes NaN.
        """
        backend, batch = self._open(), as_batch(frames)
        if self._contract.one_at_a_time and len(batch) > 1:
            return np.stack([self(frame, style_weights=style_weights, strength=strength) for frame in batch])
        size = self._contract.size
        if size is not None and batch.shape[1:3] != size:
            paint = partial(self.__call__, style_weights=style_weights, strength=strength)
            return np.stack([paint_in_pieces(paint, frame, size) for frame in batch]).reshape(frames.shape)
        feeds = extra_feeds(self._contract, style_weights, strength)
        if self.tiles.needed(frames):
            return self._run_in_tiles(frames, style_weights, strength)
        self.tiles.check(frames)
        try:
            feeds["frame"] = to_layout(batch, self._contract)
            painted = backend.run(feeds)
        except Exception as error:  # the back-ends' errors have no common base
            if self.tiles.possible(frames):  # no memory after all, or none on the device
                return self._run_in_tiles(frames, style_weights, strength)
            height, width = batch.shape[1:3]
            raise InputError(
                f"{self.style} failed on {len(batch)} picture(s) of {width}x{height} "
                f"({first_line(error)}); if memory ran out, make them smaller"
            ) from error
        self.tiles.held_pixels = max(self.tiles.held_pixels, pixels_of(frames))
        if painted.shape != feeds["frame"].shape:
            shapes = f"{feeds['frame'].shape} into {painted.shape}"
            raise StyleError(f"{self.style}: turned {shapes}; expected the same size")
        if not all_finite(self.opened, painted, feeds):
            raise StyleError(
                f"{self.style}: gives NaN or infinity on a picture of "
                f"{batch.shape[2]}x{batch.shape[1]} on {backend.provider} in {backend.precision}; nothing is written. "
                "Its weights are damaged, or leave the range of these numbers: try --provider cpu, or another network"
            )
        return from_layout(painted, self._contract).reshape(frames.shape)

    @property
    def wrapped(self) -> str:
        """Of another project's network, what it takes and what that costs, in one line; empty for one of fastnst."""
        words, size = self.metadata.get("wrapped", ""), self._contract.size
        if not words or size is None:
            return words
        return (
            f"{words}: larger pictures are painted in pieces of {size[1]}x{size[0]}, whose colors and strokes do not "
            f"quite match; stylize --size {min(size)} paints in one piece"
        )

    def check(self, style_weights: StyleWeights | None, strength: float | None) -> None:
        """Raise SettingError for weights or a strength that this network, or a painting laid over the photo, lacks."""
        extra_feeds(self._contract, style_weights, strength)

    def close(self) -> None:
        """Give the network's memory back; calls then fail."""
        self._backend = None
        self.tiles.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run_in_tiles(self, frame: Frame, style_weights: StyleWeights | None, strength: float | None) -> Frame:
        if self.tiles.held_pixels > _SMALL:
            # After a picture so much smaller, what large ones took is given back.
            small = np.zeros((1, 16, 16, 3), np.uint8)
            self._open().run({"frame": to_layout(small, self._contract)} | extra_feeds(self._contract, None, None))
            self.tiles.held_pixels = 0
        return self.tiles.run(frame, style_weights, strength if self.takes_strength else None)

    def _open(self) -> Backend:
        if self._backend is None:
            raise StyleError(f"{self.style}: is closed; open it anew")
        return self._backend


def _load(
    path: Path, provider: ProviderChoice, threads: int | None, prefer: Provider | None
) -> tuple[Path, Backend, Choice, Contract]:
    """Open a network file, check it against the contract, and choose what runs it; gives the file that is open."""
    check_style_file(path)
    if path.parent != bundled_styles_folder():  # what comes with fastnst is known to load
        try_network(path)
    path, cpu = open_any(path, threads)
    contract = read_contract(path, cpu.inputs, cpu.outputs, cpu.metadata)

    def feed(frames: Frame) -> dict[str, Array]:
        return feeds_of(contract, frames)

    painted = run_test_picture(path, cpu, feed(test_picture()), limit_s=_PATIENCE_S)
    network = NetworkFile(path, feed, threads=threads)
    if provider == "auto" and prefer is not None:
        with suppress(SettingError):  # what runs one network may not run another
            return path, *choose_backend(network, cpu, painted, prefer), contract
    return path, *choose_backend(network, cpu, painted, provider), contract


_DIGITS = 12
"""Of a network's SHA-256 that its pictures hold."""


@dataclass(frozen=True, eq=False)
class Layer:
    """One of the paintings that make up a stylized picture."""

    session: StyleSession
    weights: dict[str, float] | None
    """How the network's styles are mixed; None: all alike, or there is but one."""

    @property
    def mix(self) -> str:
        """The mix in words, to stand after a name: @munch:2,monet:1; empty where there is none."""
        return _mix(self.weights)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the network file, in hexadecimal digits."""
        return sha256_of(self.session.path)

    def named(self, style_weights: StyleWeights | None = None) -> str:
        """The style with its mix, or the given one, and the first digits of the file's SHA-256: starry (5d0c9f2a71)."""
        mix = self.mix if style_weights is None else _mix(shares_by_name(self.session, style_weights))
        return f"{self.session.style}{mix} ({self.digest[:_DIGITS]})"


def shares_by_name(session: StyleSession, weights: StyleWeights | None) -> dict[str, float]:
    """Share of each style of a network in a picture, by its name."""
    names = session.style_names if session.styles > 1 else (session.style,)
    return dict(zip(names, to_shares(names, weights or even_weights(len(names))), strict=True))


def describe_look(style: str | None, effects: Effects, refinement: Refinement = NONE) -> str:
    """Name networks, effects and mask in words, as `StylePipeline.identity` does, without opening the networks.

    Raises StyleError, InputError, SettingError as a `StylePipeline`.
    """
    choices, mask = read_effects(style, effects)
    networks = [f"{sha256_of(choice.path)}{_mix(choice.weights)}" for choice in choices]
    faces = None if effects.faces is None else read_mask(effects.faces)
    return look_in_words(networks, effects, mask, faces, refinement)


def _mix(weights: dict[str, float] | None) -> str:
    words = (f"{name}:{weight:g}" for name, weight in (weights or {}).items())
    return "" if weights is None else MIX_SIGN + ",".join(words)


def look_in_words(
    networks: list[str], effects: Effects, mask: Mask | None, faces: Mask | None, refinement: Refinement
) -> str:
    """Networks, and all of the effects that is not as usual."""
    words = list(networks)
    if effects.strength != 1:
        words.append(f"strength {effects.strength}")
    if effects.preserve_color:
        words.append("own colors")
    if effects.stroke != 1:
        # As earlier versions wrote it into the jobs of films.
        words.append(f"stroke {'auto' if effects.stroke == 'reduce' else effects.stroke}")
    if effects.detail == "photo":
        words.append("the photo's detail")
    if effects.input_noise != "auto":
        words.append(f"input noise {effects.input_noise:g}")
    if effects.look != "plain":
        words.append(f"look {effects.look}")
    if faces is not None:
        words.append(f"faces {faces.identity}")
    if effects.brightness == "keep":
        words.append("own brightness")
    if refinement.steps:
        words.append(f"refined {refinement.steps}")
    if mask is not None:
        words.append(f"mask {mask.identity}")
    return ", ".join(words)
