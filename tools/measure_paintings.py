"""Measure paintings for `models/paintings.safetensors`, by which what networks paint is refined (losses/perceptual.py).

    python tools/measure_paintings.py PAINTING... -o models/paintings.safetensors

Each is called by the name of its file.
"""

import argparse
from pathlib import Path

import torch

from fastnst.io.images import read_frame
from fastnst.losses.perceptual import SETTINGS, measure_painting, save_references
from fastnst.losses.weights import load_loss_network


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paintings", nargs="+", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args()
    network, _ = load_loss_network(SETTINGS, torch.device("cpu"))
    save_references(given.output, {path.stem: measure_painting(network, read_frame(path)) for path in given.paintings})


if __name__ == "__main__":
    main()
