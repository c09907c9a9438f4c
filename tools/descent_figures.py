"""What the pictures of `fastnst research bench-optimize` are worth, beside those of the first contender.

    python tools/descent_figures.py BENCH --photos PHOTOS --styles STYLES --contenders fastnst "fastnst compact" \
        --loss-weights VGG19_CAFFE.safetensors

BENCH is the folder of a finished benchmark, PHOTOS and STYLES those of its pictures. The painting is measured at the
long side that it was optimized for, the picture's own. Total is content + 5 style. Ratios are to the first contender's
picture of the same pair; the last rows are means of the ratios, and the worst pair's.
"""

import argparse
import json
from pathlib import Path
from statistics import fmean

from fastnst.io.images import read_frame, resize_frame, resize_long_side
from fastnst.losses.settings import LossSettings
from fastnst.metrics.perceptual import PerceptualDistances, PerceptualMetrics, load_perceptual_metrics

STYLE_WEIGHT = 5.0


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


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench", type=Path)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--styles", type=Path, required=True)
    parser.add_argument("--contenders", nargs="+", required=True)
    parser.add_argument("--loss-weights", type=Path, help="VGG-19's weights instead of a download")
    options = parser.parse_args()
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
        print(f"| mean | {name} | | | | | {_words([fmean(column) for column in columns])} |")
        print(f"| worst | {name} | | | | | {_words([max(column) for column in columns])} |")


def _words(ratios: list[float]) -> str:
    return ", ".join(f"{ratio:.2f}" for ratio in ratios)


if __name__ == "__main__":
    main()
