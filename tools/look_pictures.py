"""Draw the pictures of docs/look.md: python tools/look_pictures.py

Rows of the project's sample picture as `fastnst stylize` gives it with different options, each 320 pixels wide.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from fastnst import Effects, Stylizer, read_frame
from fastnst.io.images import Frame, resize_long_side

REPOSITORY = Path(__file__).resolve().parents[1]
PICTURES = REPOSITORY / "docs" / "pictures"
WIDTH = 320


def main() -> None:
    """Write strength.jpg, colors.jpg, mix.jpg and mask.jpg."""
    photo = resize_long_side(read_frame(REPOSITORY / "data" / "content" / "harbour.jpg"), 640)
    mask = draw_mask(photo.shape[1], photo.shape[0])
    path = PICTURES / "mask.png"
    Image.fromarray(mask).save(path)
    try:
        row("strength", [photo, *(stylize(photo, Effects(strength=strength)) for strength in (0.3, 0.6, 1.0))])
        row("colors", [photo, stylize(photo), stylize(photo, Effects(preserve_color=True))])
        row("mix", [stylize(photo, Effects(mix=mix), "gallery") for mix in ("the_kiss_klimt:1", MIX, "olive_trees:1")])
        row("mask", [np.stack([mask] * 3, 2), stylize(photo, Effects(mask=path, feather=8))])
    finally:
        path.unlink()


MIX = "the_kiss_klimt:1,olive_trees:2"


def stylize(photo: Frame, effects: Effects | None = None, style: str = "starry") -> Frame:
    """The photo, uint8 (H, W, 3) RGB, with a style and effects."""
    with Stylizer(style, effects or Effects(), provider="cpu") as stylizer:
        return stylizer(photo)


def draw_mask(width: int, height: int) -> Frame:
    """White above a slanted line, black below: uint8 (H, W)."""
    mask = Image.new("L", (width, height))
    ImageDraw.Draw(mask).polygon([(0, 0), (width, 0), (width, height * 0.35), (0, height * 0.6)], fill=255)
    return np.asarray(mask)


def row(name: str, frames: list[Frame]) -> None:
    """Write frames side by side."""
    joined = np.concatenate([resize_long_side(frame, WIDTH) for frame in frames], axis=1)
    Image.fromarray(joined).save(PICTURES / f"{name}.jpg", quality=88)


if __name__ == "__main__":
    main()
