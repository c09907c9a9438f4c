"""From a photo to the stylized photo: the one pipeline behind pictures, films, cameras and the public `Stylizer`.

    with StylePipeline("starry", Effects(strength=0.8)) as pipeline:
        stylized = pipeline(photo)

It owns the networks, the choice of the provider and its reuse, tiles, mix, strength, mask, colors, the size to paint
at, and what holds a film steady from frame to frame.

H height, W width in pixels; sizes are (height, width). Frames are uint8 (H, W, 3) RGB.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np

from fastnst.backends.choosing import Choice
from fastnst.backends.contract import MAX_STRENGTH, ProviderChoice
from fastnst.inference.effects import FACE, LOOKS, PLAIN, Effects, Look, face_weights, find_faces, read_effects
from fastnst.inference.masks import read_mask
from fastnst.inference.paintings import NONE, Refine, Refinement
from fastnst.inference.session import Layer, StyleSession, TileChoice, look_in_words, shares_by_name
from fastnst.inference.steadying import Past, Steadier
from fastnst.io.blending import add_change, blend, combine, keep_brightness, keep_colors, resample
from fastnst.io.images import Frame, fit_long_side
from fastnst.io.noise import with_noise
from fastnst.io.styles import MIX_SIGN, StyleWeights, installed_styles

DETAIL_FROM = 1.5
"""Where a picture is so many times as long as what was painted, its detail is painted too."""

DETAIL_SIDE = 4096
"""Long side, pixels, at which that is painted, at most."""


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
        refine: Refinement = NONE,
        open_session: Callable[..., StyleSession] = StyleSession,
    ) -> None:
        """Open the networks and read the mask.

        A style is the name of an installed one, or an ONNX file, also with a mix: trio@munch; None: regions alone.
        Threads on the CPU: None is one for each physical core that may be used. `refine` goes on with what the networks
        painted, at the size that they painted at; `open_session` opens a network file, with the options of a
        `StyleSession`.

        Raises StyleError for no such style, a file that is no network of ours, or one that knows no tiles; InputError
        for a mask that cannot be read or lacks a region; SettingError for no style at all, a provider that cannot run
        here, or a strength or a mix that a network does not take.
        """
        self.on = partial(
            StylePipeline, style, effects, threads=threads, tile=tile, refine=refine, open_session=open_session
        )
        """The same pipeline on another provider: `pipeline.on(provider="cpu")`."""

        self.asked = provider
        """The provider that was asked for."""

        self._effects, self._refinement = effects.of_own_size() if refine.steps else effects, refine
        self._refine: Refine | None = None
        self._open = partial(open_session, threads=threads, tile=tile)
        self._steadier: Steadier | None = None
        self._layers: list[Layer] = []
        choices, self._mask = read_effects(style, effects)
        self._faces = None if effects.faces is None else read_mask(effects.faces)
        try:
            for choice in choices:
                self._layers.append(Layer(self._session_of(choice.path), choice.weights))
            for layer in self._layers:
                layer.session.check(layer.weights, effects.strength)
            self._refine = refine.open()
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
        """Stylize a photo, which stays unchanged, to a frame of its size; without steadying also a batch, (N, H, W, 3).

        The networks paint at `size` at most; None: as large as the stroke says. Photo and painting meet at the photo's
        own size, so that its detail stays. `style_weights` are for the first network instead of its mix; strength and
        preserve_color instead of those of the effects; networks without such an input give a strength of at most 1.

        Raises InputError for another type or shape, a mask of another shape, or a photo too large for the memory;
        SettingError for weights or a strength that a network does not take.
        """
        each = partial(self, size=size, style_weights=style_weights, strength=strength, preserve_color=preserve_color)
        if photo.ndim == 4 and (self._blends or self.painted_size(photo.shape[1:3], size) != photo.shape[1:3]):
            return np.stack([each(frame) for frame in photo])
        effects = self._effects
        strength = effects.strength if strength is None else strength
        stylized, side = photo, self._detail_side(photo, size)
        for look, faces in self._passes(photo):
            given = photo if photo.ndim == 4 else resample(photo, self.painted_size(photo.shape[:2], size, look.stroke))
            paintings = []
            for layer, place in self._shown((photo.shape[0], photo.shape[1])):
                weights: StyleWeights | None = layer.weights
                if style_weights is not None and layer is self._layers[0]:
                    weights = style_weights
                share = strength * look.strength
                noisy, own = self._prepared(layer.session, given, share)
                painted = layer.session(noisy, style_weights=weights, strength=own)
                laid = self._lay_over(
                    photo, given, painted, side=side, session=layer.session, weights=weights, strength=share
                )
                paintings.append((laid, place))
            whole = combine(photo, paintings) if self._mask is not None else paintings[0][0]
            stylized = whole if faces is None else combine(stylized, [(whole, faces)])
        if effects.preserve_color if preserve_color is None else preserve_color:
            stylized = keep_colors(stylized, photo)
        if effects.brightness == "keep":
            stylized = keep_brightness(stylized, photo)
        return stylized if self._steadier is None else self._steadier(photo, stylized)

    def _lay_over(
        self,
        photo: Frame,
        given: Frame,
        painted: Frame,
        *,
        side: int,
        session: StyleSession,
        weights: StyleWeights | None,
        strength: float,
    ) -> Frame:
        """Refine what a network painted of `given`, add what changed to the photo, and blend it with that."""
        if self._refine is not None:
            own = min(strength, MAX_STRENGTH) if session.takes_strength else 1.0
            painted = self._refine(given, painted, session.path, shares_by_name(session, weights), own)
        laid = painted if given is photo else add_change(photo, given, painted)
        if side >= DETAIL_FROM * max(given.shape[-3:-1]):
            laid = self._with_painted_detail(
                photo, laid, given, side, session=session, weights=weights, strength=strength
            )
        return laid if session.takes_strength else blend(laid, photo, min(strength, 1.0))

    def _prepared(self, session: StyleSession, given: Frame, strength: float) -> tuple[Frame, float | None]:
        """What a network gets: the picture with noise on it, and the strength where it takes one."""
        own = min(strength, MAX_STRENGTH) if session.takes_strength else None
        noise = session.input_noise if self._effects.input_noise == "auto" else self._effects.input_noise
        return with_noise(given, noise * (1.0 if own is None else min(own, 1.0))), own

    def _detail_side(self, photo: Frame, most: tuple[int, int] | None) -> int:
        """Long side at which detail is painted at most, 0 where the photo's is left."""
        sides = (DETAIL_SIDE, max(photo.shape[-3:-1]), *([] if most is None else [max(most)]))
        return 0 if self._effects.detail == "photo" else min(sides)

    def _with_painted_detail(
        self,
        photo: Frame,
        laid: Frame,
        given: Frame,
        side: int,
        *,
        session: StyleSession,
        weights: StyleWeights | None,
        strength: float,
    ) -> Frame:
        """Paint once more, `side` pixels long, over what was painted at the size of `given` and laid over the photo.

        Only what is finer than the first strokes is taken from that: colors and masses, down to twice the pixels of
        `given`, stay. Of a larger photo its own finest detail comes on top; what was laid over it the first time was
        enlarged twice as much, and would show its squares.
        """
        size = fit_long_side((laid.shape[0], laid.shape[1]), side)
        coarse = fit_long_side(size, max(1, max(given.shape[:2]) // 2))
        before = resample(laid, size)
        noisy, own = self._prepared(session, before, strength)
        again = session(noisy, style_weights=weights, strength=own)
        painted = add_change(again, resample(again, coarse), resample(before, coarse))
        return painted if before is laid else add_change(photo, resample(photo, size), painted)

    def _passes(self, photo: Frame) -> Iterator[tuple[Look, Frame | None]]:
        """What is painted one over the other, with weights (H, W): the whole photo, and a portrait's faces anew."""
        effects, size = self._effects, (photo.shape[0], photo.shape[1])
        yield Look(strength=LOOKS[effects.look].strength), None
        if self._faces is not None:
            yield FACE, self._faces.weights(size)[0]
        elif effects.look == "portrait" and (faces := find_faces(photo)):
            yield FACE, face_weights(size, faces)

    def switch(self, path: Path) -> None:
        """Stylize with another network in place of the first one from now on, all of its styles alike.

        It runs where the one before did, if it can: trying all providers again takes seconds.

        Raises StyleError, SettingError: it cannot be opened; the one before stays.
        """
        before, session = self.session, self._session_of(path)
        self._layers[0] = Layer(session, None)
        if all(layer.session is not before for layer in self._layers):
            before.close()
        if self._steadier is not None:
            self._steadier.past = None

    def steady(self, hold: float, past: Past | None = None) -> None:
        """From now on, hold each frame to the one before, or `past`, as a `Steadier` does; 0: each for itself."""
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
    def style(self) -> str:
        """Names of the styles."""
        return ", ".join(f"{layer.session.style}{layer.mix}" for layer in self._layers)

    @property
    def notes(self) -> list[str]:
        """What a user should know beforehand: of mixes that nobody chose, and of other projects' networks."""
        installed = {path: name for name, path in installed_styles().items()}
        alike = [layer.session.path for layer in self._layers if layer.weights is None and layer.session.styles > 1]
        names = [installed.get(path, str(path)) for path in dict.fromkeys(alike)]
        notes = [
            f"{name}: stylizes all of its styles alike; {name}{MIX_SIGN}NAME stylizes one of them" for name in names
        ]
        others = {session.style: session.wrapped for session in self._sessions() if session.wrapped}
        return notes + [f"{name}: {words}" for name, words in others.items()]

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
            f"{layer.digest}{layer.mix}" + (f" on {provider}" if provider != on[0] else "")
            for layer, provider in zip(self._layers, on, strict=True)
        ]
        look = look_in_words(networks, self._effects, self._mask, self._faces, self._refinement)
        return {"look": look, "provider": self.choice.provider, "precision": self.choice.precision}

    def painted_size(
        self, own: tuple[int, ...], most: tuple[int, int] | None = None, factor: float = 1.0
    ) -> tuple[int, int]:
        """Say at which size the networks paint a picture of size `own`, not larger than `most`."""
        height, width = own
        stroke = self._effects.stroke_for((height, width), factor)
        size = (height, width) if stroke == 1 else fit_long_side((height, width), max(1, round(max(own) / stroke)))
        return size if most is None or most[0] * most[1] >= size[0] * size[1] else most

    def describe(
        self,
        own: tuple[int, int],
        /,
        *,
        size: tuple[int, int] | None = None,
        style_weights: StyleWeights | None = None,
        strength: float | None = None,
        preserve_color: bool | None = None,
    ) -> str:
        """Say in one line how a call with the same arguments stylizes a photo of size `own`: networks and options.

        A network is named by its style and the first digits of its file's SHA-256, as sha256sum prints it:
        starry (5d0c9f2a71be), stroke 3.1, stylized at 512x341, strength 0.7
        """
        height, width = self.painted_size(own, size)
        stroke = f"stroke {self._effects.stroke_for(own):.3g}, stylized at {width}x{height}"
        effects = replace(
            self._effects,
            stroke=1,  # said already
            strength=self._effects.strength if strength is None else strength,
            preserve_color=self._effects.preserve_color if preserve_color is None else preserve_color,
        )
        first, *others = self._layers
        networks = [first.named(style_weights), *(layer.named() for layer in others)]
        return look_in_words([*networks, stroke], effects, self._mask, self._faces, self._refinement)

    def on_progress(self, report: Callable[[float], None] | None) -> None:
        """Have `report` called with the share that is done of a picture in tiles, or that is refined."""
        for session in self._sessions():
            session.tiles.on_progress = report
        if self._refine is not None:
            self._refine.on_progress = report

    def close(self) -> None:
        """Give the networks' memory back; calls then fail."""
        for session in self._sessions():
            session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _blends(self) -> bool:
        """One picture at a time: photo and painting are put together by mask, colors or light, or it is refined."""
        effects = self._effects
        laid = self._mask is not None or effects.preserve_color or effects.brightness == "keep"
        laid = laid or effects.look == "portrait"
        return laid or self._refine is not None

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
