"""Styles, strength, colours and a mask as one painter: what `stylize`, `video` and `webcam` paint with.

H height, W width in pixels. Frames are uint8 (H, W, 3) RGB.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Self

from fastnst.backends.backend import ProviderChoice
from fastnst.backends.choosing import Choice
from fastnst.backends.mixing import MIX_SIGN, StyleChoice, choose_style
from fastnst.errors import SettingError
from fastnst.inference.effects import PHOTO, LookSettings
from fastnst.inference.fitting import FittingStylizer, TileChoice
from fastnst.inference.masks import Mask, read_mask
from fastnst.inference.region_maps import read_regions
from fastnst.io.blending import combine, keep_colors
from fastnst.io.images import Frame
from fastnst.io.styles import installed_styles

Paint = Callable[[Frame], Frame]


def compose(photo: Frame, paintings: Sequence[Paint], mask: Mask | None, *, preserve_color: bool) -> Frame:
    """Paint a photo.

    Args:
        photo: not changed.
        paintings: one; with a mask as many as it has weights. Those without a pixel are not called.
        mask: where each goes; None: one painting goes everywhere.
        preserve_color: only brightness is painted.

    Raises:
        InputError: the mask has another shape than the photo.
    """
    if mask is None:
        (paint,) = paintings
        painted = paint(photo)
    else:
        weights = mask.weights((photo.shape[0], photo.shape[1]))
        shown = [(paint, own) for paint, own in zip(paintings, weights, strict=True) if own.any()]
        painted = combine(photo, [(paint(photo), own) for paint, own in shown])
    return keep_colors(painted, photo) if preserve_color else painted


def read_look(style: str | None, look: LookSettings) -> tuple[list[StyleChoice], Mask | None]:
    """Find the styles that a look needs, and read its mask, whose weights are in the order of the styles.

    Raises:
        StyleError: no such style.
        InputError: the mask cannot be read, or lacks a region.
        SettingError: no style at all, a region that is none, or a mix that is none.
    """
    regions = look.regions()
    if style is None and set(regions.values()) <= {PHOTO}:
        raise SettingError("--style is missing; expected a style, or styles by --mask and --region")
    if style is None and look.mix:
        raise SettingError("--mix is given without --style; in regions name the mix with the style: red=trio@munch")
    base = [] if style is None else [choose_style(style)]
    if look.mix:
        if base[0].mix:
            raise SettingError(f"--style {style} says what to paint, and --mix {look.mix} too; give one of them")
        base = [replace(base[0], mix=look.mix)]
    found = {color: None if name == PHOTO else choose_style(name) for color, name in regions.items()}
    others = list(dict.fromkeys(choice for choice in found.values() if choice is not None))
    if look.mask is None:
        return base, None
    if not regions:
        return base, read_mask(look.mask, feather=look.feather)
    paintings = {color: None if choice is None else others.index(choice) for color, choice in found.items()}
    return [*base, *others], read_regions(look.mask, paintings, rest=bool(base), feather=look.feather)


class LookPainter:
    """Paints pictures of any size with all that `LookSettings` ask for; use it in a `with` block."""

    def __init__(
        self,
        style: str | None,
        look: LookSettings,
        *,
        provider: ProviderChoice = "auto",
        threads: int | None = None,
        tile: TileChoice = "auto",
    ) -> None:
        """Load styles and mask.

        Args:
            style: name of an installed style, or an ONNX file; None: only regions are painted.
            look: strength, colours, mask, regions.
            provider: as for a `FittingStylizer`, and so the rest.
            threads: on the CPU.
            tile: when to paint in tiles.

        Raises:
            StyleError, InputError, SettingError: as `read_look` and `FittingStylizer`, and a strength or a mix that
                one of the networks does not take.
        """
        self._look = look
        choices, self._mask = read_look(style, look)
        with ExitStack() as stack:
            load = partial(FittingStylizer, provider=provider, threads=threads, tile=tile)
            first = stack.enter_context(load(choices[0].path))
            loaded = {choices[0].path: first}
            for path in dict.fromkeys(choice.path for choice in choices[1:]):
                if path not in loaded:
                    loaded[path] = stack.enter_context(load(path, like=first.stylizer))
            self._networks = list(loaded.values())
            self._styles = [(loaded[choice.path], choice.weights) for choice in choices]
            for network, weights in self._styles:
                network.stylizer.check(weights, look.strength)
            self._stack = stack.pop_all()

    def __call__(self, photo: Frame, /) -> Frame:
        """Paint a photo.

        Raises:
            InputError: a mask of another shape, or a picture too large for the memory.
        """
        strength = self._look.strength
        paintings = [partial(network, style_weights=weights, strength=strength) for network, weights in self._styles]
        return compose(photo, paintings, self._mask, preserve_color=self._look.preserve_color)

    @property
    def style(self) -> str:
        """Names of the styles."""
        return ", ".join(f"{network.stylizer.style}{_in_words(weights)}" for network, weights in self._styles)

    @property
    def notes(self) -> list[str]:
        """What a user should know before anything is painted: of which networks nobody said how to mix the styles."""
        found = (network.stylizer for network, weights in self._styles if weights is None)
        installed = {path: name for name, path in installed_styles().items()}
        unmixed = dict.fromkeys(stylizer.path for stylizer in found if stylizer.styles > 1)
        names = [installed.get(path, str(path)) for path in unmixed]
        return [f"{name}: paints all of its styles alike; {name}{MIX_SIGN}NAME paints one of them" for name in names]

    @property
    def choice(self) -> Choice:
        """What computes; of several networks, the first one's."""
        return self._networks[0].stylizer.choice

    @property
    def in_tiles(self) -> int:
        """How often a picture was painted in tiles."""
        return sum(network.in_tiles for network in self._networks)

    @property
    def tile_provider(self) -> str:
        """What paints tiles."""
        return self._networks[0].tile_provider

    @property
    def identity(self) -> str:
        """Tells what this painter paints from what others do."""
        words = []
        for network, weights in self._styles:
            stylizer = network.stylizer
            digest = hashlib.sha256(stylizer.path.read_bytes()).hexdigest()
            words.append(f"{digest}{_in_words(weights)} on {stylizer.provider}")
        if self._look.strength != 1:
            words.append(f"strength {self._look.strength}")
        if self._look.preserve_color:
            words.append("own colours")
        if self._mask is not None:
            words.append(f"mask {self._mask.identity}")
        return ", ".join(words)

    def on_progress(self, report: Callable[[float], None] | None) -> None:
        """Have `report` called with the share that is done of a picture in tiles."""
        for network in self._networks:
            network.on_progress = report

    def close(self) -> None:
        """Give the networks' memory back; calls then fail."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _in_words(weights: Mapping[str, float] | None) -> str:
    return "" if weights is None else MIX_SIGN + ",".join(f"{name}:{weight:g}" for name, weight in weights.items())
