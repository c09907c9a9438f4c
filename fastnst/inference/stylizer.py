"""The Python face of the pipeline: `Stylizer("starry")(frame)`.

N pictures, H height, W width, S styles that a network can mix. Frames are uint8 (H, W, 3) RGB.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Self

from fastnst.backends.choosing import Choice
from fastnst.backends.contract import Provider, ProviderChoice, as_batch
from fastnst.inference.effects import PLAIN, Effects
from fastnst.inference.paintings import FIT_S, Refinement, with_networks
from fastnst.inference.pipeline import StylePipeline
from fastnst.inference.session import TileChoice
from fastnst.io.images import Frame
from fastnst.io.styles import StyleWeights


class Stylizer:
    """A trained style, loaded and warmed up.

        >>> import numpy as np
        >>> photo = np.zeros((64, 96, 3), np.uint8)
        >>> with Stylizer("starry-live", provider="cpu") as stylizer:
        ...     stylizer(photo).shape
        (64, 96, 3)
        >>> with Stylizer("gallery@the_kiss_klimt", Effects(strength=0.5, preserve_color=True)) as stylizer:
        ...     stylizer(photo).shape
        (64, 96, 3)

    Calls from several threads at once are safe.
    """

    def __init__(
        self,
        style: str | Path,
        effects: Effects = PLAIN,
        *,
        provider: ProviderChoice = "auto",
        threads: int | None = None,
        tile: TileChoice = "auto",
        fit: float = FIT_S,
        refine: int | Refinement = 0,
    ) -> None:
        """Load a style.

        Args:
            style: name of an installed style, path of an ONNX file or of a painting; trio@munch is one style of a
                network of several.
            effects: strength, mix, the photo's colors, mask and regions, as the commands take them.
            provider: what computes; auto takes the fastest that really runs here, see `choice`.
            threads: threads on the CPU; None: one for each physical core that may be used.
            tile: auto takes tiles for pictures that might need more than 4 GB, or more than there is, in one piece;
                off never does; a number always does, with tiles of at most so many pixels a side.
            fit: seconds to fit a network to a painting, at most, the first time; see `network_of`.
            refine: steps of the exact method after the network; with the painting of the style, where that is not
                known, as Refinement(12, Path("painting.jpg")).

        Raises:
            StyleError: no such style, or a file that is no network of ours.
            InputError: a mask or a painting that cannot be read.
            MissingPackageError: a new painting, and the extra `train` is missing.
            SettingError: a provider asked for by name that cannot run here; effects that the network does not take.
        """
        found, effects = with_networks(str(style), effects, fit)
        refinement = Refinement(refine) if isinstance(refine, int) else refine
        self._pipeline = StylePipeline(found, effects, provider=provider, threads=threads, tile=tile, refine=refinement)
        self._session = self._pipeline.session

    @property
    def style(self) -> str:
        """Name of the style: what the file says, else the file's name."""
        return self._session.style

    @property
    def path(self) -> Path:
        """The ONNX file."""
        return self._session.path

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the file says of itself: style, network, provenance, licence, weights_sha256, layout, fastnst_format."""
        return self._session.metadata

    @property
    def provider(self) -> Provider:
        """What really computes."""
        return self._session.provider

    @property
    def choice(self) -> Choice:
        """What really computes, in which precision, and why; `str(choice)` says it in words."""
        return self._session.choice

    @property
    def skipped(self) -> Mapping[str, str]:
        """Other providers that `auto` tried and did not take, each with the reason."""
        return MappingProxyType(dict(self.choice.skipped))

    @property
    def styles(self) -> int:
        """S, the number of styles that the network can mix; 1 for most."""
        return self._session.styles

    @property
    def style_names(self) -> tuple[str, ...]:
        """Names of these styles, in the order of their weights."""
        return self._session.style_names

    @property
    def takes_strength(self) -> bool:
        """The network itself paints more or less strongly; of others, the painting is laid over the photo."""
        return self._session.takes_strength

    @property
    def in_tiles(self) -> int:
        """How many pictures were painted in tiles."""
        return self._pipeline.in_tiles

    def __call__(
        self, frames: Frame, *, style_weights: StyleWeights | None = None, strength: float | None = None
    ) -> Frame:
        """Stylize one picture or a batch.

        Args:
            frames: uint8 (H, W, 3) or (N, H, W, 3) RGB; not changed.
            style_weights: for a network that mixes several styles, the share of each in their order, or by name, as
                {"munch": 2, "hokusai": 1}; divided by their sum. None: the mix of the effects, or all alike.
            strength: 0 leaves the photo, 1 is the full style; up to 1.5 where the network has this input. None: that
                of the effects, which is 1 if nobody says otherwise.

        Returns:
            uint8 of the same shape.

        Raises:
            InputError: another type or shape, or a picture too large for the memory.
            SettingError: weights or a strength that the network does not take.
        """
        as_batch(frames)
        self.check(style_weights, strength)
        return self._pipeline(frames, style_weights=style_weights, strength=strength)

    def check(self, style_weights: StyleWeights | None, strength: float | None) -> None:
        """Raise SettingError for weights or a strength that this network does not take."""
        self._session.check(style_weights, strength)

    def stream(
        self,
        frames: Iterable[Frame],
        *,
        style_weights: StyleWeights | None = None,
        strength: float | None = None,
    ) -> Iterator[Frame]:
        """Stylize one picture after the other, each when it is asked for.

            for painted in stylizer.stream(frames): ...

        Args:
            frames: any number of uint8 (H, W, 3) RGB, of any sizes; taken one at a time.
            style_weights: as for one picture.
            strength: as for one picture.

        Yields:
            uint8 of the same shapes, in the same order; raises as for one picture, when it is reached.
        """
        for frame in frames:
            yield self(frame, style_weights=style_weights, strength=strength)

    def close(self) -> None:
        """Give the network's memory back; calls then fail."""
        self._pipeline.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
