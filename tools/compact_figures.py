"""What the compact loss network is worth beside VGG-19: what it costs, and the pictures that are optimized through it.

    python tools/compact_figures.py cost --loss-weights VGG19_CAFFE.safetensors
    python tools/compact_figures.py pictures BENCH --photos PHOTOS --styles STYLES \
        --contenders fastnst "fastnst compact" --loss-weights VGG19_CAFFE.safetensors

`cost`: multiply-adds, parameters, and seconds of one evaluation with its gradient, which is what both methods do in
every step: features of an image, Gram matrices and losses at the default layers, and the gradient of the total at the
pixels. The networks take turns; medians are printed.

`pictures`: BENCH is the folder of a finished `fastnst research bench-optimize`, PHOTOS and STYLES those of its
pictures. The painting is measured at the long side that it was optimized for, the picture's own. Total is content + 5
style. Ratios are to the first contender's picture of the same pair; the last rows are means of the ratios, and the
worst pair's.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from fastnst.io.images import read_frame, resize_frame, resize_long_side
from fastnst.losses.perceptual import PerceptualLoss
from fastnst.losses.settings import LossNetworkName, LossSettings
from fastnst.losses.weights import autocast, hardware, load_loss_network, resolve_precision
from fastnst.metrics.perceptual import PerceptualDistances, PerceptualMetrics, load_perceptual_metrics

STYLE_WEIGHT = 5.0
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


def show_cost(options: argparse.Namespace) -> None:
    """Print what each network costs."""
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


def measure(metrics: PerceptualMetrics, picture: Path, photo: Path, style: Path) -> PerceptualDistances:
    """Content, style and centred of one picture that was optimized from a photo and a painting."""
    painted, painting = read_frame(picture), read_frame(style)
    content = metrics.measure(resize_frame(read_frame(photo), (painted.shape[0], painted.shape[1])))
    aim = metrics.measure(resize_long_side(painting, max(painted.shape)))
    return metrics.compare(metrics.measure(painted), content, aim)


def with_total(figures: PerceptualDistances) -> list[float]:
    """Content, style, centred, and content + 5 style."""
    return [figures.content, figures.style, figures.centred, figures.content + STYLE_WEIGHT * figures.style]


def pairs_of(bench: Path, contender: str) -> dict[str, tuple[str, str]]:
    """File names of photo and style of each pair that a contender was run on."""
    asked = {
        path.name.removesuffix(f"-{contender}.json"): json.loads(path.read_text())["asked"]
        for path in sorted(bench.glob(f"*-{contender}.json"))
    }
    return {pair: (each["photo"], each["style"]) for pair, each in asked.items()}


def show_pictures(options: argparse.Namespace) -> None:
    """Print what the pictures are worth."""
    metrics, weights = load_perceptual_metrics(
        LossSettings(loss_network="vgg19-caffe", loss_weights=options.loss_weights)
    )
    print(f"Judged by {weights}.\n")
    print("| pair | | content | style | centred | total | ratios |")
    print("|---|---|---|---|---|---|---|")
    ratios: dict[str, list[list[float]]] = {name: [] for name in options.contenders}
    for pair, (photo, style) in pairs_of(options.bench, options.contenders[0]).items():
        first: list[float] = []
        for name in options.contenders:
            picture = options.bench / f"{pair}-{name}.png"
            values = with_total(measure(metrics, picture, options.photos / photo, options.styles / style))
            first = first or values
            ratios[name].append([value / other for value, other in zip(values, first, strict=True)])
            cells = " | ".join(f"{value:.3f}" for value in values)
            print(f"| {pair} | {name} | {cells} | {_words(ratios[name][-1])} |", flush=True)
    for name, rows in ratios.items():
        columns = list(zip(*rows, strict=True))
        print(f"| mean | {name} | | | | | {_words([statistics.fmean(column) for column in columns])} |")
        print(f"| worst | {name} | | | | | {_words([max(column) for column in columns])} |")


def _words(ratios: list[float]) -> str:
    return ", ".join(f"{ratio:.2f}" for ratio in ratios)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    cost = commands.add_parser("cost")
    cost.add_argument("--repeats", type=int, default=9)
    cost.set_defaults(show=show_cost)
    pictures = commands.add_parser("pictures")
    pictures.add_argument("bench", type=Path)
    pictures.add_argument("--photos", type=Path, required=True)
    pictures.add_argument("--styles", type=Path, required=True)
    pictures.add_argument("--contenders", nargs="+", required=True)
    pictures.set_defaults(show=show_pictures)
    for command in (cost, pictures):
        command.add_argument("--loss-weights", type=Path, help="VGG-19's weights instead of a download")
    options = parser.parse_args()
    options.show(options)


if __name__ == "__main__":
    main()
