"""Draw pictures of README.md and docs/look.md: python tools/look_pictures.py

Rows of the project's sample picture as `fastnst stylize` gives it with different options, each 320 pixels wide.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from fastnst import Effects, Stylizer, read_frame
from fastnst.io.images import Frame, resize_long_side

REPOSITORY = Path(__file__).resolve().parents[1]
PICTURES = REPOSITORY / "docs" / "pictures"
WIDTH, IN_A_ROW = 320, 4


def main() -> None:
    """Write harbour_fast.jpg, gallery.jpg, strength.jpg, colors.jpg, mix.jpg and mask.jpg."""
    photo = resize_long_side(read_frame(REPOSITORY / "data" / "content" / "harbour.jpg"), 640)
    mask = draw_mask(photo.shape[1], photo.shape[0])
    path = PICTURES / "mask.png"
    Image.fromarray(mask).save(path)
    try:
        write("harbour_fast", resize_long_side(stylize(photo), 480))
        gallery(photo)
        row("strength", [photo, *(stylize(photo, Effects(strength=strength)) for strength in (0.3, 0.6, 1.0))])
        row("colors", [photo, stylize(photo), stylize(photo, Effects(preserve_color=True))])
        mixes = ("the_kiss_klimt:1", MIX, "wheat_field_cypresses:1")
        row("mix", [stylize(photo, Effects(mix=mix), "gallery") for mix in mixes])
        row("mask", [np.stack([mask] * 3, 2), stylize(photo, Effects(mask=path, feather=8))])
    finally:
        path.unlink()


MIX = "the_kiss_klimt:1,wheat_field_cypresses:2"


def stylize(photo: Frame, effects: Effects | None = None, style: str = "starry_night") -> Frame:
    """The photo, uint8 (H, W, 3) RGB, with a style and effects."""
    with Stylizer(style, effects or Effects(), provider="cpu") as stylizer:
        return stylizer(photo)


def draw_mask(width: int, height: int) -> Frame:
    """White above a slanted line, black below: uint8 (H, W)."""
    mask = Image.new("L", (width, height))
    ImageDraw.Draw(mask).polygon([(0, 0), (width, 0), (width, height * 0.35), (0, height * 0.6)], fill=255)
    return np.asarray(mask)


def gallery(photo: Frame) -> None:
    """Write the photo in each style of the gallery, in the order of `fastnst styles`, four in a row."""
    with Stylizer("gallery", provider="cpu") as stylizer:
        frames = [photo, *(stylizer(photo, style_weights={name: 1}) for name in stylizer.style_names)]
    rows = [beside(frames[first : first + IN_A_ROW]) for first in range(0, len(frames), IN_A_ROW)]
    write("gallery", np.concatenate(rows))


def row(name: str, frames: list[Frame]) -> None:
    """Write frames side by side."""
    write(name, beside(frames))


def beside(frames: list[Frame]) -> Frame:
    """Frames side by side, reduced."""
    return np.concatenate([resize_long_side(frame, WIDTH) for frame in frames], axis=1)


def write(name: str, frame: Frame) -> None:
    """Write a picture of the documentation."""
    Image.fromarray(frame).save(PICTURES / f"{name}.jpg", quality=88)


if __name__ == "__main__":
    main()
