"""What loss networks cost, side by side: multiply-adds, parameters, and seconds of one evaluation with its gradient.

    python tools/loss_network_figures.py --loss-weights VGG19_CAFFE.safetensors

One evaluation is what both methods do in every step: features of an image, Gram matrices and losses at the default
layers, and the gradient of the total at the pixels. The networks take turns; medians are printed.
"""

import argparse
import statistics
import time
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from fastnst.losses.perceptual import PerceptualLoss
from fastnst.losses.precision import autocast, hardware, resolve_precision
from fastnst.losses.settings import LossNetworkName, LossSettings
from fastnst.losses.weights import load_loss_network

SIZES = (256, 512)
NETWORKS: tuple[LossNetworkName, ...] = ("vgg19-caffe", "compact")


def seconds(loss: PerceptualLoss, size: int, dtype: torch.dtype | None) -> float:
    """Seconds of one loss and gradient of a square image of noise."""
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, 3, size, size, generator=generator).to(memory_format=torch.channels_last)
    with autocast(image.device, dtype):
        content, style = loss.measure_content(image.flip(3)), loss.measure_style(image.flip(2))
        pixels = image.requires_grad_()
        started = time.perf_counter()
        torch.autograd.grad(loss(pixels, content, style).total, pixels)
        return time.perf_counter() - started


def multiply_adds(loss: PerceptualLoss, size: int) -> float:
    """Multiply-adds of the network's forward pass."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        loss.network(torch.rand(1, 3, size, size))
    return counter.get_total_flops() / 2


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loss-weights", type=Path, help="VGG-19's weights instead of a download")
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    dtype = resolve_precision("auto", torch.device("cpu"))
    losses = {}
    for name in NETWORKS:
        file = None if name == "compact" else options.loss_weights
        settings = LossSettings(loss_network=name, loss_weights=file)
        losses[name] = PerceptualLoss(load_loss_network(settings)[0], settings)
    print(hardware(torch.device("cpu"), dtype))
    print("| network | size | parameters | multiply-adds | seconds | VGG-19's over it, of the same three |")
    print("|---|---|---|---|---|---|")
    for size in SIZES:
        times: dict[str, list[float]] = {name: [] for name in NETWORKS}
        for _ in range(options.repeats + 1):
            for name, loss in losses.items():
                times[name].append(seconds(loss, size, dtype))
        first: tuple[float, float, float] | None = None
        for name, loss in losses.items():
            parameters = sum(value.numel() for value in loss.network.parameters())
            row = (parameters, multiply_adds(loss, size), statistics.median(times[name][1:]))
            first = first or row
            ratios = ", ".join(f"{a / b:.1f}" for a, b in zip(first, row, strict=True))
            print(f"| {name} | {size} | {row[0]:,} | {row[1] / 1e9:.2f} G | {row[2]:.3f} | {ratios} |", flush=True)


if __name__ == "__main__":
    main()
