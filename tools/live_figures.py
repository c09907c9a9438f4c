"""What networks of one painting cost and how well they paint, in one table.

    python tools/live_figures.py --painting mosaic.jpg --photos PHOTOS --networks mosaic.onnx mosaic-live.onnx \
        --int8 mosaic-live-int8.onnx --peers mobilenetv2_mosaic.onnx --against examples_mosaic.onnx \
        --loss-weights VGG19_CAFFE.safetensors

Milliseconds from picture to picture, each case in a process of its own, all in turns, two threads; the ratio is the
time of the network of --against in ONNX Runtime on the CPU over the network's, of the same run. Content, style and
centred (docs/research/metrics.md) are means over the photos at a long side of 512 px, in float32, or in int8 for those
of --int8.
"""

import argparse
from dataclasses import astuple
from pathlib import Path
from statistics import fmean

from fastnst.backends.backend import Provider
from fastnst.io.folders import find_pictures
from fastnst.io.images import Frame, read_frame, resize_long_side
from fastnst.losses.settings import LossSettings
from fastnst.metrics.perceptual import STYLE_SIZE, PerceptualDistances, PerceptualMetrics, load_perceptual_metrics
from fastnst.research.benchmarks.benchmark import Benchmark, Case, run_benchmark
from fastnst.research.evaluation.evaluate import choose_evenly
from fastnst.research.evaluation.networks import EvaluatedNetwork, open_network

SIZES = ((480, 640), (720, 1280))
COLUMNS: tuple[Provider, ...] = ("cpu", "openvino")


def measure(
    network: EvaluatedNetwork, photos: list[Frame], painting: Frame, metrics: PerceptualMetrics
) -> PerceptualDistances:
    """Content, style and centred, means over the photos."""
    style = metrics.measure_style(painting)
    rows = []
    for photo in photos:
        stylized = metrics.measure(network.paint(photo))
        rows.append(astuple(metrics.compare(stylized, metrics.measure(photo), style)))
    return PerceptualDistances(*(fmean(values) for values in zip(*rows, strict=True)))


def time_all(networks: list[Path], int8: list[Path], peers: list[Path], runs: int) -> Benchmark:
    """Time every network at both sizes; those in float32 in ONNX Runtime and OpenVINO."""
    cases = [
        Case(path.stem, path, size, provider, foreign=path in peers)
        for size in SIZES
        for path in [*peers, *networks, *int8]
        for provider in (COLUMNS[:1] if path in int8 else COLUMNS)
    ]
    return run_benchmark(cases, runs=runs, threads=2)


def rows(benchmark: Benchmark, path: Path, base: Path) -> list[str]:
    """Milliseconds and ratios of one network: both sizes, both providers."""
    times = {(row.case.path, row.case.size, row.case.provider): row for row in benchmark.measurements}
    cells = []
    for size in SIZES:
        slowest = times[base, size, "cpu"]
        for provider in COLUMNS:
            row = times.get((path, size, provider))
            if row is None or row.error is not None:
                cells.append("-" if row is None else "failed")
            else:
                cells.append(f"{row.median_ms:.1f} (1/{slowest.median_ms / row.median_ms:.1f})")
    return cells


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--painting", type=Path, required=True)
    parser.add_argument("--photos", nargs="+", required=True, help="files, folders, patterns; ten of them are taken")
    parser.add_argument("--networks", type=Path, nargs="+", required=True, help="ours, float32")
    parser.add_argument("--int8", type=Path, nargs="*", default=[], help="ours, written by `fastnst quantize`")
    parser.add_argument("--peers", type=Path, nargs="*", default=[], help="of other projects, of the same painting")
    parser.add_argument("--against", type=Path, required=True, help="of another project: what ratios refer to")
    parser.add_argument("--loss-weights", type=Path, help="VGG-19's weights instead of a download")
    parser.add_argument("--runs", type=int, default=15)
    options = parser.parse_args()
    others = list(dict.fromkeys([options.against, *options.peers]))
    benchmark = time_all(options.networks, options.int8, others, options.runs)
    settings = LossSettings(loss_network="vgg19-caffe" if options.loss_weights else "vgg19")
    settings = LossSettings(loss_network=settings.loss_network, loss_weights=options.loss_weights)
    metrics, _ = load_perceptual_metrics(settings)
    painting = read_frame(options.painting)
    paths = choose_evenly([found.path for found in find_pictures(options.photos)], 10)
    photos = [resize_long_side(frame, STYLE_SIZE) for frame in map(read_frame, paths)]
    print(f"{benchmark.machine['processors']} x {benchmark.machine['processor']}, {len(photos)} photos")
    heads = [f"{provider} {size[1]}x{size[0]}, ms" for size in SIZES for provider in COLUMNS]
    print("|".join(["", "network", "parameters", "file, kB", *heads, "content", "style", "centred", ""]))
    print("|".join(["", "---", *["---:"] * (5 + len(heads)), ""]))
    for path in [*others, *options.networks, *options.int8]:
        network = open_network(path, threads=2)
        figures = ["-"] * 3
        if path != options.against or path in options.peers:
            figures = [f"{value:.3f}" for value in astuple(measure(network, photos, painting, metrics))]
        size = f"{path.stat().st_size / 1000:.0f}"
        cells = [path.stem, f"{network.parameters:,}", size, *rows(benchmark, path, options.against), *figures]
        print("|".join(["", *cells, ""]), flush=True)


if __name__ == "__main__":
    main()
