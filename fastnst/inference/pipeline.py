"""From a photo to the stylized photo: the one pipeline behind pictures, films, cameras and the public `Stylizer`.

    with StylePipeline("starry", Effects(strength=0.8)) as pipeline:
        stylized = pipeline(photo)

It owns the networks, the choice of the provider and its reuse, tiles, mix, strength, mask, colors, the size to paint
at, and what holds a film steady from frame to frame.

H height, W width in pixels; sizes are (height, width). Frames are uint8 (H, W, 3) RGB.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np

from fastnst.backends.backend import ProviderChoice
from fastnst.backends.choosing import Choice
from fastnst.backends.mixing import MIX_SIGN, StyleWeights
from fastnst.inference.effects import PLAIN, Effects, read_effects
from fastnst.inference.masks import Mask
from fastnst.inference.session import StyleSession, TileChoice
from fastnst.inference.steadying import Past, Steadier
from fastnst.io.blending import blend, combine, keep_colors
from fastnst.io.images import Frame
from fastnst.io.opencv import resample
from fastnst.io.styles import installed_styles


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


class StylePipeline:
    """Stylizes pictures of any size; use it in a `with` block."""

    def __init__(
        self,
        style: str | None,
        effects: Effects = PLAIN,
        *,
        provider: ProviderChoice = "auto",
        threads: int | None = None,
        tile: TileChoice = "auto",
        open_session: Callable[..., StyleSession] = StyleSession,
    ) -> None:
        """Open the networks and read the mask.

        Args:
            style: name of an installed style, or an ONNX file, also with a mix: trio@munch; None: regions alone.
            effects: strength, mix, colors, mask, regions.
            provider: what computes; auto takes the fastest that really runs here.
            threads: on the CPU; None: one for each physical core that may be used.
            tile: when to paint in tiles, see `TilePolicy`.
            open_session: opens a network file, with the options of a `StyleSession`.

        Raises:
            StyleError: no such style, a file that is no network of ours, or one that knows no tiles.
            InputError: the mask cannot be read, or lacks a region.
            SettingError: no style at all; a provider that cannot run here; a strength or a mix that a network does not
                take.
        """
        self.on = partial(StylePipeline, style, effects, threads=threads, tile=tile, open_session=open_session)
        """The same pipeline on another provider: `pipeline.on(provider="cpu")`."""

        self.asked = provider
        """The provider that was asked for."""

        self._effects = effects
        self._open = partial(open_session, threads=threads, tile=tile)
        self._steadier: Steadier | None = None
        self._layers: list[Layer] = []
        choices, self._mask = read_effects(style, effects)
        try:
            for choice in choices:
                self._layers.append(Layer(self._session_of(choice.path), choice.weights))
            for layer in self._layers:
                layer.session.check(layer.weights, effects.strength)
        except BaseException:
            self.close()
            raise

    def __call__(
        self,
        photo: Frame,
        /,
        *,
        size: tuple[int, int] | None = None,
        style_weights: StyleWeights | None = None,
        strength: float | None = None,
        preserve_color: bool | None = None,
    ) -> Frame:
        """Stylize a photo.

        Args:
            photo: not changed. Without mask, colors and steadying also a batch, (N, H, W, 3).
            size: at which the networks paint. Photo and painting meet at the photo's own size, so that what is the
                photo's stays sharp; None: the same.
            style_weights: for the first network instead of its mix.
            strength: instead of that of the effects; networks without such an input give at most 1.
            preserve_color: instead of that of the effects.

        Returns:
            A frame of the photo's size.

        Raises:
            InputError: another type or shape, a mask of another shape, or a photo too large for the memory.
            SettingError: weights or a strength that a network does not take.
        """
        strength = self._effects.strength if strength is None else strength
        own_size = (photo.shape[0], photo.shape[1])
        given = photo if size is None else resample(photo, size)
        paintings = []
        for layer, place in self._shown(own_size):
            session, chosen = layer.session, style_weights if layer is self._layers[0] else None
            painted = session(
                given,
                style_weights=layer.weights if chosen is None else chosen,
                strength=strength if session.takes_strength else None,
            )
            painted = painted if size is None else resample(painted, own_size)
            paintings.append((painted if session.takes_strength else blend(painted, photo, min(strength, 1.0)), place))
        stylized = combine(photo, paintings) if self._mask is not None else paintings[0][0]
        if self._effects.preserve_color if preserve_color is None else preserve_color:
            stylized = keep_colors(stylized, photo)
        return stylized if self._steadier is None else self._steadier(photo, stylized)

    def switch(self, path: Path) -> None:
        """Stylize with another network in place of the first one from now on, all of its styles alike.

        It runs where the one before did, if it can: trying all providers again takes seconds.

        Raises:
            StyleError, SettingError: it cannot be opened; the one before stays.
        """
        before, session = self.session, self._session_of(path)
        self._layers[0] = Layer(session, None)
        if all(layer.session is not before for layer in self._layers):
            before.close()
        if self._steadier is not None:
            self._steadier.past = None

    def steady(self, hold: float, past: Past | None = None) -> None:
        """From now on, hold each frame to the one before.

        Args:
            hold: share of the frame before in what only moves or stands still, 0 (each frame for itself) to 0.95.
            past: the frame before the next one; None: there is none.

        Raises:
            SettingError: another share.
        """
        self._steadier = Steadier(hold, past) if hold else None

    @property
    def past(self) -> Past | None:
        """The last frame, on which the next one depends; None where frames are not held."""
        return None if self._steadier is None else self._steadier.past

    @property
    def session(self) -> StyleSession:
        """The network; of several, that of the style, or where regions alone have one, the first of theirs."""
        return self._layers[0].session

    @property
    def weights(self) -> dict[str, float] | None:
        """How that network's styles are mixed; None: all alike, or there is but one."""
        return self._layers[0].weights

    @property
    def blends(self) -> bool:
        """Photo and painting are put together by a mask or by their colors: only one picture at a time."""
        return self._mask is not None or self._effects.preserve_color

    @property
    def style(self) -> str:
        """Names of the styles."""
        return ", ".join(f"{layer.session.style}{layer.mix}" for layer in self._layers)

    @property
    def notes(self) -> list[str]:
        """What a user should know beforehand: of which networks nobody said how to mix the styles."""
        installed = {path: name for name, path in installed_styles().items()}
        alike = [layer.session.path for layer in self._layers if layer.weights is None and layer.session.styles > 1]
        names = [installed.get(path, str(path)) for path in dict.fromkeys(alike)]
        return [
            f"{name}: stylizes all of its styles alike; {name}{MIX_SIGN}NAME stylizes one of them" for name in names
        ]

    @property
    def choice(self) -> Choice:
        """What computes; of several networks, the first one's."""
        return self.session.choice

    @property
    def in_tiles(self) -> int:
        """How often a picture was painted in tiles."""
        return sum(session.tiles.pictures for session in self._sessions())

    @property
    def identity(self) -> dict[str, str]:
        """Names what stylized levels depend on: networks, effects and mask; what computes, and in which precision.

        Kept in the job of a stopped film, also by earlier versions: what stands here must stay as it is.
        """
        on = [layer.session.choice.provider for layer in self._layers]
        networks = [
            f"{_sha256(layer.session.path)}{layer.mix}" + (f" on {provider}" if provider != on[0] else "")
            for layer, provider in zip(self._layers, on, strict=True)
        ]
        look = _words(networks, self._effects, self._mask)
        return {"look": look, "provider": self.choice.provider, "precision": self.choice.precision}

    def on_progress(self, report: Callable[[float], None] | None) -> None:
        """Have `report` called with the share that is done of a picture in tiles."""
        for session in self._sessions():
            session.tiles.on_progress = report

    def close(self) -> None:
        """Give the networks' memory back; calls then fail."""
        for session in self._sessions():
            session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _shown(self, size: tuple[int, int]) -> Iterator[tuple[Layer, Frame]]:
        """Paintings with a pixel in a picture of this size, each with its weights in the mask: (H, W), or none."""
        if self._mask is None:
            yield self._layers[0], np.empty(0, np.uint8)
            return
        for layer, place in zip(self._layers, self._mask.weights(size), strict=True):
            if place.any():
                yield layer, place

    def _sessions(self) -> list[StyleSession]:
        """The open networks, each once."""
        return list({id(layer.session): layer.session for layer in self._layers}.values())

    def _session_of(self, path: Path) -> StyleSession:
        """Open a network where the first one runs, if it can; or give it where it is open."""
        for session in self._sessions():
            if session.path == path:
                return session
        return self._open(path, provider=self.asked, prefer=self.choice.provider if self._layers else None)


def describe_look(style: str | None, effects: Effects) -> str:
    """Name networks, effects and mask in words, as `StylePipeline.identity` does, without opening the networks.

    Raises StyleError, InputError, SettingError as a `StylePipeline`.
    """
    choices, mask = read_effects(style, effects)
    networks = [f"{_sha256(choice.path)}{_mix(choice.weights)}" for choice in choices]
    return _words(networks, effects, mask)


def _mix(weights: dict[str, float] | None) -> str:
    words = (f"{name}:{weight:g}" for name, weight in (weights or {}).items())
    return "" if weights is None else MIX_SIGN + ",".join(words)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _words(networks: list[str], effects: Effects, mask: Mask | None) -> str:
    words = list(networks)
    if effects.strength != 1:
        words.append(f"strength {effects.strength}")
    if effects.preserve_color:
        words.append("own colors")
    if mask is not None:
        words.append(f"mask {mask.identity}")
    return ", ".join(words)
