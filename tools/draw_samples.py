"""Draw the sample pictures in data/content and data/style. Run: python tools/draw_samples.py [NAME ...].

Everything is computed from formulas and fixed seeds, so the same versions of NumPy and OpenCV give the same
pictures. Takes some minutes a picture on one core; ``--scale 0.25`` draws a quick, small proof.
"""

import argparse
import importlib
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
from samples.pixels import save_jpeg

DATA = Path(__file__).resolve().parent.parent / "data"


@dataclass(frozen=True)
class Sample:
    """A picture: the folder it goes to and its size (height, width) in pixels."""

    folder: str
    size: tuple[int, int]


SAMPLES = {
    "harbour": Sample("content", (768, 1024)),
    "valley": Sample("content", (680, 1024)),
    "still_life": Sample("content", (800, 800)),
    "swirls": Sample("style", (640, 768)),
    "mosaic": Sample("style", (768, 768)),
}


def draw(name: str, out: Path, scale: float) -> Path:
    """Render one picture with samples/<name>.py and write it below ``out``."""
    sample = SAMPLES[name]
    path = out / sample.folder / f"{name}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = (round(side * scale) for side in sample.size)
    save_jpeg(importlib.import_module(f"samples.{name}").render((height, width)), path)
    return path


def main() -> int:
    """Draw the pictures named on the command line, or all of them."""
    parser = argparse.ArgumentParser(description="Draw the sample pictures in data/.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of: {', '.join(SAMPLES)} (default: all)")
    parser.add_argument("--out", type=Path, default=DATA, help="folder to write to (default: data)")
    parser.add_argument("--scale", type=float, default=1.0, help="size of the pictures, 1 = as shipped")
    options = parser.parse_args()
    unknown = set(options.names) - set(SAMPLES)
    if unknown:
        parser.error(f"no picture named {', '.join(sorted(unknown))}; there are: {', '.join(SAMPLES)}")
    cv2.setNumThreads(1)
    for name in options.names or SAMPLES:
        start = time.perf_counter()
        path = draw(name, options.out, options.scale)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB in {time.perf_counter() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
