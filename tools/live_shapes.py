"""Time untrained networks of many shapes beside another project's network, before any of them is trained.

    python tools/live_shapes.py --peer examples_mosaic.onnx --shapes live:48:3 live:48:4 live:32:3 johnson:16:5

Kind, width, blocks. Each is exported with random weights and timed from picture to picture, as `fastnst bench` does.
"""

import argparse
import tempfile
from pathlib import Path

import onnx
import torch

from fastnst.backends.backend import Provider
from fastnst.models.checkpoint import ModelInfo, build_network
from fastnst.models.export import to_onnx
from fastnst.research.benchmark import Case, run_benchmark
from fastnst.research.networks import count_parameters


def export(shape: str, folder: Path) -> Path:
    """Write an untrained network, "kind:width:blocks", as ONNX."""
    kind, width, blocks = shape.split(":")
    spec: dict[str, int | str] = {"kind": kind, "width": int(width), "blocks": int(blocks)}
    torch.manual_seed(0)
    path = folder / f"{shape.replace(':', '-')}.onnx"
    onnx.save(to_onnx(build_network(spec), ModelInfo(style=shape, network=spec, provenance="untrained")), path)
    return path


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, required=True)
    parser.add_argument("--shapes", nargs="+", required=True)
    parser.add_argument("--size", default="640x480")
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--providers", nargs="+", default=["cpu", "openvino"])
    options = parser.parse_args()
    width, height = (int(side) for side in options.size.split("x"))
    providers: list[Provider] = options.providers
    with tempfile.TemporaryDirectory() as folder:
        paths = [export(shape, Path(folder)) for shape in options.shapes]
        parameters = {path: count_parameters(onnx.load(path)) for path in [options.peer, *paths]}
        cases = [Case(path.stem, path, (height, width), provider) for path in paths for provider in providers]
        peer = Case(options.peer.stem, options.peer, (height, width), "cpu", foreign=True)
        measured = run_benchmark([peer, *cases], runs=options.runs, threads=2).measurements
    print("| shape | parameters | runs on | ms | least | the peer's time over it |")
    print("|---|---:|---|---:|---:|---:|")
    for row in measured:
        cells = (
            row.case.name,
            f"{parameters[row.case.path]:,}",
            row.ran_on,
            f"{row.median_ms:.1f}",
            f"{row.min_ms:.1f}",
        )
        print(f"| {' | '.join(cells)} | {measured[0].median_ms / row.median_ms:.1f} |")


if __name__ == "__main__":
    main()
