"""What a user can choose about how paintings are laid over the photo: the styles, the mask, and looks by name, with
where portraits have their faces.

H height, W width. Frames are uint8 (H, W, 3) RGB, weights uint8 (H, W), 255 for all of a face.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from platformdirs import user_cache_path

from fastnst.backends.contract import MAX_STRENGTH
from fastnst.errors import DownloadError, SettingError
from fastnst.inference.masks import Mask, read_mask, read_regions
from fastnst.io.addresses import fetch
from fastnst.io.blending import load_opencv, resample
from fastnst.io.files import sha256_of
from fastnst.io.images import Frame, fit_long_side
from fastnst.io.noise import MAX_LEVELS
from fastnst.io.styles import StyleChoice, choose_style, read_mix

LookName: TypeAlias = Literal["plain", "subtle", "bold", "portrait"]


@dataclass(frozen=True)
class Look:
    """What a look multiplies the options by."""

    stroke: float = 1.0
    strength: float = 1.0


LOOKS: dict[LookName, Look] = {
    "plain": Look(),
    "subtle": Look(0.75, 0.6),
    "bold": Look(1.5, 1.25),
    "portrait": Look(),
}
"""Chosen by looking."""

FACE = Look(0.5, 0.65)
"""What faces get in a portrait: finer strokes, and more of the photo."""

YUNET_VARIABLE = "FASTNST_YUNET"
"""Environment variable that names a file of YuNet, which finds faces."""

_NAME = "face_detection_yunet_2023mar.onnx"
_URL = f"https://github.com/opencv/opencv_zoo/raw/main/models/face_detection_yunet/{_NAME}"
_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
_SIDE, _SURE = 640, 0.7


def _silent(*_: object) -> None:
    """Take news that nobody needs of so small a file."""


def yunet(announce: Callable[[str], None] = _silent) -> Path:
    """Return the file of YuNet (Wu et al. 2023, MIT license), OpenCV's network for faces; 230 kB, fetched once.

    `announce` is called with a line before it is fetched.

    Raises:
        SettingError: it is not there and cannot be fetched.
    """
    named = os.environ.get(YUNET_VARIABLE)
    path = Path(named) if named else user_cache_path("fastnst", appauthor=False) / _NAME
    if path.is_file():
        return path
    remedy = f"--faces MASK says where faces are, {YUNET_VARIABLE} names the file if you have it"
    if named:
        raise SettingError(f"{path}: no such file; {remedy}")
    announce(f"--look portrait: fetching YuNet, which finds faces (230 kB, once). Offline: {remedy}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fetch(_URL, path, announce=_silent, progress=_silent, check_room=_silent)
    except (DownloadError, OSError) as error:
        raise SettingError(
            f"--look portrait finds faces by YuNet, which cannot be fetched ({error}); {remedy}"
        ) from error
    if sha256_of(path) != _SHA256:
        path.unlink()
        raise SettingError(f"{_URL}: is not the file that was expected; {remedy}")
    return path


@cache
def _detector(path: Path) -> Any:
    load_opencv()
    import cv2  # noqa: PLC0415 - only portraits need it

    try:
        return cv2.FaceDetectorYN.create(str(path), "", (_SIDE, _SIDE), _SURE)
    except (cv2.error, AttributeError) as error:
        raise SettingError(f"{path}: OpenCV cannot run it to find faces; --faces MASK says where they are") from error


def find_faces(photo: Frame) -> list[tuple[float, float, float, float]]:
    """Find faces: left, top, width and height of each, in pixels of the photo. Raises SettingError as `yunet`."""
    height, width = photo.shape[:2]
    scale = min(1.0, _SIDE / max(height, width))
    size = fit_long_side((height, width), round(max(height, width) * scale))
    detector = _detector(yunet())
    detector.setInputSize(size[::-1])
    _, found = detector.detect(np.ascontiguousarray(resample(photo, size)[..., ::-1]))
    across, down = width / size[1], height / size[0]
    boxes = [] if found is None else [[float(value) for value in row[:4]] for row in found]
    return [(left * across, top * down, wide * across, tall * down) for left, top, wide, tall in boxes]


def face_weights(size: tuple[int, int], faces: list[tuple[float, float, float, float]]) -> Frame:
    """Weights of faces in a picture of `size`: an ellipse about each, 1 inside the face and soft to twice its size."""
    rows, columns = (np.arange(side, dtype=np.float32) for side in size)
    weights = np.zeros(size, np.float32)
    for left, top, wide, tall in faces:
        across = (columns - (left + wide / 2)) / (wide / 2)
        down = (rows - (top + tall / 2)) / (tall / 2)
        away = np.sqrt(across[None, :] ** 2 + down[:, None] ** 2)
        soft = np.clip(2 - away, 0, 1)
        weights = np.maximum(weights, soft * soft * (3 - 2 * soft))
    return np.rint(weights * 255).astype(np.uint8)


PHOTO = "photo"
"""In place of a style: leave the photo as it is."""


STROKE_SIDE = 1024
"""Long side, pixels, that a picture with automatic strokes is painted at: chosen by blind judges over 512."""

_LEAST_AUTOMATIC = 0.5
"""Smallest automatic stroke: twice a picture's own size takes four times as long."""

_SHORTEST = 256
"""Short side, pixels, that such a picture is not painted below, where it has as many: panoramas. What is not even as
long is an icon, and is painted as it is."""

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

    stroke: float | Literal["auto", "reduce"] = "auto"
    """Size of the strokes: 2 makes them twice as large, by painting at half the size and adding what changed to the
    picture, so that its detail stays; 0.5 half as large, in four times the time. auto paints every picture as large as
    one of 1024 pixels would be, a small one at most at twice its size: it looks the same at any size. reduce leaves
    small ones as they are, which is quicker; films and cameras take that for auto, and so do refined pictures."""

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
        if not isinstance(self.stroke, str) and not _FINEST <= self.stroke <= _LARGEST:
            raise SettingError(f"--stroke is {self.stroke:g}; expected auto, reduce, or {_FINEST:g} to {_LARGEST:g}")
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

    def stroke_for(self, size: tuple[int, int], factor: float = 1.0) -> float:
        """How many times larger than in a picture painted as it is strokes are in one of `size` = (height, width).

        They are `factor` times as large as the effects say, though not smaller than automatic ones can be.
        """
        factor *= LOOKS[self.look].stroke
        if not isinstance(self.stroke, str):
            return self.stroke * factor
        long, short = max(size) / STROKE_SIDE, min(size) / _SHORTEST
        stroke = min(long, short) if min(long, short) > 1 else min(1.0, long)
        least = 1.0 if self.stroke == "reduce" or max(size) < _SHORTEST else _LEAST_AUTOMATIC
        return max(_LEAST_AUTOMATIC, max(least, stroke) * factor)

    def of_film(self) -> "Effects":
        """These effects for the frames of a film or a camera, where time and flicker count."""
        quick = replace(self, detail="photo") if self.detail == "auto" else self
        return quick.of_own_size()

    def of_own_size(self) -> "Effects":
        """These effects, with automatic strokes that no picture is enlarged for."""
        return replace(self, stroke="reduce") if self.stroke == "auto" else self

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
