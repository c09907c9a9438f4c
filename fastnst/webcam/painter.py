"""The thread that paints the newest picture, with the style and the look that are chosen at that moment.

Frames are uint8 (H, W, 3) RGB; sizes are (height, width).
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from fastnst.backends.feeds import MAX_STRENGTH
from fastnst.backends.mixing import StyleChoice, StyleWeights, even_weights, to_shares
from fastnst.errors import FastNSTError
from fastnst.inference.masks import Mask
from fastnst.inference.painter import compose
from fastnst.io.blending import blend
from fastnst.io.images import Frame
from fastnst.webcam.capture import Shot
from fastnst.webcam.look import Look, mix_weights, resize, split_view
from fastnst.webcam.size import SizeKeeper
from fastnst.webcam.slot import Newest

# How often a thread that waits for pictures looks whether it should end.
_WAIT_S = 0.2
_JOIN_S = 5.0


class Network(Protocol):
    """What paints: a Stylizer."""

    @property
    def style_names(self) -> tuple[str, ...]:
        """Names of the styles that it can mix, or the name of its only one."""
        ...

    @property
    def takes_strength(self) -> bool:
        """It paints more or less strongly by itself."""
        ...

    def __call__(
        self, frames: Frame, *, style_weights: StyleWeights | None = None, strength: float | None = None
    ) -> Frame:
        """Paint a frame."""
        ...

    def check(self, style_weights: StyleWeights | None, strength: float | None) -> None:
        """Raise SettingError for weights or a strength that it does not take."""
        ...

    def close(self) -> None:
        """Free it."""
        ...


@dataclass(frozen=True)
class Painted:
    """A picture ready to be shown."""

    shot: Shot
    picture: Frame
    """As large as the camera's."""

    size: tuple[int, int]
    """At which the network painted."""

    look: Look
    style: str
    """Name of the style that painted it."""

    mixed: tuple[tuple[str, float], ...] = ()
    """Styles that its network can mix, each with its share; none where it knows one style."""

    most: float = 1.0
    """The largest strength that its network takes."""


class Painter:
    """Paints in a thread of its own; `painted` holds its latest picture."""

    def __init__(
        self,
        styles: Mapping[str, Path],
        load: Callable[[Path], Network],
        shots: Newest[Shot],
        keeper: SizeKeeper,
        *,
        look: Look,
        mask: Mask | None = None,
        regional: Sequence[StyleChoice] = (),
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Prepare.

        Args:
            styles: network files by name.
            load: makes a network of a file. Raises StyleError.
            shots: where pictures come from.
            keeper: chooses the size to paint at.
            look: what to paint like at first.
            mask: where the chosen style goes, and after it each of `regional`; None: everywhere.
            regional: styles of regions of the mask.
            clock: seconds.
        """
        self._paths, self._load, self._shots = list(styles.values()), load, shots
        self._names = list(styles)
        self._keeper, self._clock = keeper, clock
        self.painted: Newest[Painted] = Newest()
        self.look = look
        """What to paint like; set by the caller at any time."""

        self.note = ""
        """What the viewer should know: a style that is being loaded, or cannot be."""

        self._mask, self._regional = mask, list(regional)
        self._loaded: dict[Path, Network] = {}
        self._network: Network | None = None
        self._style, self._tried = "", -1
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="painter", daemon=True)

    def start(self) -> None:
        """Load the chosen style and those of regions, and begin.

        Raises:
            StyleError: one of them cannot be loaded.
            SettingError: a strength or a mix that one of them does not take.
        """
        self._switch(self.look.style)
        assert self._network is not None
        self._network.check(self.look.shares, self.look.strength)
        for choice in self._regional:
            if choice.path not in self._loaded:
                self._loaded[choice.path] = self._load(choice.path)
            self._loaded[choice.path].check(choice.weights, self.look.strength)
        self._thread.start()

    def stop(self) -> None:
        """End the thread after the picture at hand, and free the network."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_JOIN_S)
        if not self._thread.is_alive():
            for network in (*filter(None, [self._network]), *self._loaded.values()):
                network.close()
            self._network = None
            self._loaded.clear()

    def _work(self) -> None:
        error: BaseException | None = None
        try:
            while not (self._stop.is_set() or self._shots.ended):
                shot = self._shots.take(_WAIT_S)
                if shot is not None:
                    self._paint(shot)
        except BaseException as caught:
            error = caught
        finally:
            self.painted.close(error)

    def _paint(self, shot: Shot) -> None:
        look = self.look
        if look.style != self._tried:
            self._try_switch(look.style)
        started = self._clock()
        self._keeper.fit((shot.frame.shape[0], shot.frame.shape[1]))
        size = self._keeper.size
        network = self._network
        assert network is not None
        picture = self._apply(network, look, shot.frame, size)
        self._keeper.note((self._clock() - started) * 1000, self._clock())
        mixed = tuple(zip(network.style_names, _weights(network, look) or (), strict=False))
        self.painted.put(Painted(shot, picture, size, look, self._style, mixed, _most(network)))

    def _apply(self, network: Network, look: Look, photo: Frame, size: tuple[int, int]) -> Frame:
        # Photo and painting meet at the camera's size: what is the photo's stays sharp where the network paints small.
        paintings = [partial(_paint_at, size, network, _weights(network, look), look.strength)]
        for choice in self._regional:
            paintings.append(partial(_paint_at, size, self._loaded[choice.path], choice.weights, look.strength))
        painted = compose(photo, paintings, self._mask, preserve_color=look.keep_colors)
        return split_view(painted, photo) if look.split else painted

    def _try_switch(self, style: int) -> None:
        """Load another style; if that fails, say so and go on with the one there is."""
        self.note = f"loading {self._names[style]}"
        try:
            self._switch(style)
        except FastNSTError as error:
            self.note = str(error)
        else:
            self.note = ""

    def _switch(self, style: int) -> None:
        self._tried = style
        network = self._load(self._paths[style])
        if self._network is not None:
            self._network.close()
        self._network, self._style = network, self._names[style]
        self._keeper.restart()


def _paint_at(
    size: tuple[int, int], network: Network, weights: StyleWeights | None, strength: float, photo: Frame
) -> Frame:
    """Paint a photo at another size."""
    own = strength if network.takes_strength else None
    small = network(resize(photo, size), style_weights=weights, strength=own)
    painted = resize(small, (photo.shape[0], photo.shape[1]))
    return painted if network.takes_strength else blend(painted, photo, min(strength, _most(network)))


def _weights(network: Network, look: Look) -> tuple[float, ...] | None:
    """Shares of the network's styles that a look asks for; None where it knows but one."""
    names = network.style_names
    if len(names) < 2:
        return None
    if look.mix is not None:
        return mix_weights(look.mix, len(names))
    return even_weights(len(names)) if look.shares is None else to_shares(names, look.shares)


def _most(network: Network) -> float:
    return MAX_STRENGTH if network.takes_strength else 1.0
