"""What a user can choose about how paintings are laid over the photo, and the styles and the mask that it takes."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from fastnst.backends.contract import MAX_STRENGTH
from fastnst.errors import SettingError
from fastnst.inference.looks import LOOKS, LookName
from fastnst.inference.masks import Mask, read_mask, read_regions
from fastnst.io.noise import MAX_LEVELS
from fastnst.io.styles import StyleChoice, choose_style, read_mix

PHOTO = "photo"
"""In place of a style: leave the photo as it is."""


STROKE_SIDE = 1024
"""Long side, pixels, that a picture with automatic strokes is painted at, at most: chosen by blind judges over 512."""

_SHORTEST = 256
"""Short side, pixels, that such a picture is not painted below, where it has as many: panoramas."""

_FINEST, _LARGEST = 0.25, 64.0


@dataclass(frozen=True, kw_only=True)
class Effects:
    """How paintings are laid over the photo.

    Examples:
        >>> Effects(strength=0.6, preserve_color=True).strength
        0.6
    """

    strength: float = 1.0
    """Strength of the style: 0 leaves the photo, 1 is the full style; up to 1.5 where the network has such an input."""

    mix: str = ""
    """STYLE:WEIGHT,..., how a network that knows several styles mixes them, such as munch:2,monet:1; by default all
    alike. Weights are divided by their sum."""

    stroke: float | Literal["auto"] = "auto"
    """Size of the strokes: 2 makes them twice as large, by painting at half the size and adding what changed to the
    picture, so that its detail stays; 0.5 half as large, in four times the time. auto paints what is longer than
    1024 pixels as large as a picture of 1024 pixels would be: it looks the same at any size."""

    detail: Literal["auto", "painted", "photo"] = "auto"
    """What is finer than large strokes: painted, by stylizing the result once more at the picture's own size, up to
    4096 pixels; or the photo's, which is quicker. auto: painted in pictures, the photo's in films and from cameras."""

    input_noise: float | Literal["auto"] = "auto"
    """Smooth noise on what a network gets, levels of 255, from which flat parts of a photo become strokes instead of a
    regular pattern: more gives more, 0 none. Pictures are stylized (auto) with what it was trained with."""

    look: LookName = "plain"
    """A look by name. subtle: finer strokes and more of the photo; bold: larger strokes; portrait: faces, which YuNet
    finds (fetched once, 230 kB), get finer strokes and more of the photo. --stroke and --strength are multiplied."""

    faces: Path | None = None
    """Picture that says where a portrait has its faces, white on black, instead of looking for them."""

    brightness: Literal["style", "keep"] = "style"
    """keep gives every part of the picture the photo's brightness, under the strokes of the style."""

    preserve_color: bool = False
    """Keep the photo's colors: only brightness is stylized."""

    mask: Path | None = None
    """Picture that says where to stylize: white is stylized, black leaves the photo, gray is between. With --region, a
    map whose colors stand for regions."""

    region: tuple[str, ...] = ()
    """COLOR=STYLE, repeatable: what the mask has in this color gets a style of its own, or stays as it is with
    COLOR=photo. The rest gets --style, or stays where there is none. Colors as red or '#ff0000'."""

    feather: float = 0.0
    """Softness of the mask's borders, pixels of the stylized picture."""

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= MAX_STRENGTH:
            raise SettingError(f"--strength is {self.strength:g}; expected 0 to 1, or to {MAX_STRENGTH:g}")
        if self.stroke != "auto" and not _FINEST <= self.stroke <= _LARGEST:
            raise SettingError(f"--stroke is {self.stroke:g}; expected auto, or {_FINEST:g} to {_LARGEST:g}")
        if self.input_noise != "auto" and not 0 <= self.input_noise <= MAX_LEVELS:
            raise SettingError(f"--input-noise is {self.input_noise:g}; expected auto, or 0 to {MAX_LEVELS:g} levels")
        if not 0 <= self.feather <= 1000:
            raise SettingError(f"--feather is {self.feather:g}; expected 0 to 1000 pixels")
        if self.mix:
            read_mix(self.mix)
        if self.region and self.mask is None:
            raise SettingError("--region is given without --mask, the picture that has its color")
        if self.faces is not None and self.look != "portrait":
            raise SettingError("--faces is given without --look portrait, which is for faces")
        if self.feather and self.mask is None:
            raise SettingError("--feather is given without --mask, whose borders it softens")

    def stroke_for(self, size: tuple[int, int]) -> float:
        """How many times larger than in a picture painted as it is strokes are in one of `size` = (height, width)."""
        stroke = _automatic_stroke(size) if self.stroke == "auto" else self.stroke
        return stroke * LOOKS[self.look].stroke

    def of_film(self) -> "Effects":
        """These effects for the frames of a film or a camera, where time and flicker count."""
        return replace(self, detail="photo") if self.detail == "auto" else self

    def regions(self) -> dict[str, str]:
        """Styles by colour, in the order given. Raises SettingError for what is not COLOR=STYLE."""
        found: dict[str, str] = {}
        for text in self.region:
            color, equals, style = (part.strip() for part in text.partition("="))
            if not (color and equals and style):
                raise SettingError(f"--region {text}: expected COLOR=STYLE, such as red=starry or '#00ff00=photo'")
            if color in found:
                raise SettingError(f"--region {text}: {color} is given twice")
            found[color] = style
        return found


def _automatic_stroke(size: tuple[int, int]) -> float:
    return max(1.0, min(max(size) / STROKE_SIDE, min(size) / _SHORTEST))


PLAIN = Effects()
"""The full style everywhere."""


def read_effects(style: str | None, effects: Effects) -> tuple[list[StyleChoice], Mask | None]:
    """Find the styles that effects need, and read their mask, whose weights are in the order of the styles.

    Raises:
        StyleError: no such style.
        InputError: the mask cannot be read, or lacks a region.
        SettingError: no style at all, a region that is none, or a mix that is none.
    """
    regions = effects.regions()
    if style is None and set(regions.values()) <= {PHOTO}:
        raise SettingError("--style is missing; expected a style, or styles by --mask and --region")
    if style is None and effects.mix:
        raise SettingError("--mix is given without --style; in regions name the mix with the style: red=trio@munch")
    base = [] if style is None else [choose_style(style)]
    if effects.mix:
        if base[0].mix:
            raise SettingError(f"--style {style} names a style, and --mix {effects.mix} too; give one of them")
        base = [replace(base[0], mix=effects.mix)]
    found = {color: None if name == PHOTO else choose_style(name) for color, name in regions.items()}
    others = list(dict.fromkeys(choice for choice in found.values() if choice is not None))
    if effects.mask is None:
        return base, None
    if not regions:
        return base, read_mask(effects.mask, feather=effects.feather)
    paintings = {color: None if choice is None else others.index(choice) for color, choice in found.items()}
    return [*base, *others], read_regions(effects.mask, paintings, rest=bool(base), feather=effects.feather)
