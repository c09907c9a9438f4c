"""Pictures, styles and a loss network small enough for every test: nothing is fetched, nothing is large."""

import hashlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from filelock import FileLock
from PIL import Image
from safetensors.torch import save_file

from fastnst.backends.choosing import Choice
from fastnst.backends.contract import Contract, extra_feeds
from fastnst.exact.settings import OptimizeSettings
from fastnst.io.images import Frame, read_frame
from fastnst.models import export
from fastnst.models.network import StyleNetwork
from fastnst.report.blocks import png_bytes
from fastnst.report.report import Theme

# A suite started in the background inherits an ignored Ctrl-C, and so would the programs that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Side by side (pytest -n 2) tests compute with one thread each, or they get in each other's way.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session", autouse=True)
def traced_once(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[None]:
    """Tracing a network for ONNX takes torch 5 s: processes that test side by side share what each has traced."""
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if hasattr(request.config, "workerinput") else folder
    trace_anew = export.trace

    def once(network: StyleNetwork) -> onnx.ModelProto:
        shapes = [(name, tuple(value.shape)) for name, value in network.state_dict().items()]
        structure = repr((type(network), network, network.conditions, network.kept is None, shapes))
        file = folder / f"{hashlib.sha256(structure.encode()).hexdigest()}.onnx"
        with FileLock(f"{file}.lock"):
            if not file.exists():
                onnx.save(trace_anew(network), file)
        return onnx.load(file)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "trace", once)
        yield


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_disks() -> Iterator[None]:
    """Files are not awaited on their disk, which no test can see."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture
def sketched_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plots are drawn on their axes, but their files are plain: to set the type takes most of a second."""

    from matplotlib.figure import Figure  # noqa: PLC0415 - takes a moment, and few tests draw

    def render(draw: Callable[..., None], theme: Theme, panels: int, size: tuple[float, float]) -> bytes:
        draw(list(Figure().subplots(1, panels, squeeze=False)[0]), theme)
        return png_bytes(np.zeros((round(200 * size[1]), round(200 * size[0]), 3), np.uint8))

    monkeypatch.setattr("fastnst.report.report._render", render)


def draw_picture(seed: int, size: tuple[int, int]) -> np.ndarray:
    """Waves of random colours and directions, uint8 (H, W, 3)."""
    rng = np.random.default_rng(seed)
    down, across = np.mgrid[: size[0], : size[1]]
    waves = [
        np.sin(down * rng.uniform(0.05, 0.4) + across * rng.uniform(0.05, 0.4) + rng.uniform(0, 6)) for _ in range(3)
    ]
    return (127.5 + 120 * np.stack(waves, axis=-1)).astype(np.uint8)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of eight drawn pictures of different sizes."""
    folder = tmp_path_factory.mktemp("photos")
    for seed in range(8):
        Image.fromarray(draw_picture(seed, (72 + 4 * seed, 100 - 3 * seed))).save(folder / f"photo{seed}.png")
    return folder


@pytest.fixture(scope="session")
def style_picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn style picture of 96 x 80 pixels."""
    path = tmp_path_factory.mktemp("style") / "waves.png"
    Image.fromarray(draw_picture(100, (80, 96))).save(path)
    return path


@pytest.fixture(scope="session")
def photo(photos: Path) -> Frame:
    return read_frame(photos / "photo0.png")


@pytest.fixture(scope="session")
def painting(style_picture: Path) -> Frame:
    return read_frame(style_picture)


@pytest.fixture(scope="session")
def loss_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of VGG-19 from conv1_1 to conv2_1, enough for the layers up to relu2_1."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for index, (inputs, outputs) in {0: (3, 64), 2: (64, 64), 5: (64, 128)}.items():
        scale = (2 / (9 * inputs)) ** 0.5
        state[f"features.{index}.weight"] = torch.randn(outputs, inputs, 3, 3, generator=generator) * scale
        state[f"features.{index}.bias"] = torch.zeros(outputs)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_file(state, path, metadata={"normalization": "torchvision"})
    return path


@pytest.fixture(scope="session")
def small(loss_weights: Path) -> OptimizeSettings:
    """An optimization that takes seconds: 24 pixels, two layers of the loss network."""
    return OptimizeSettings(
        size=24,
        tv_weight=0,  # at 24 pixels differences between neighbours are huge
        content_layers=("relu2_1",),
        style_layers=("relu1_1", "relu2_1"),
        loss_weights=loss_weights,
        precision="float32",
    )


class FileServer(ThreadingHTTPServer):
    """Serves `content` under any name; each of `drops` ends one answer after that many bytes."""

    content, ranges, status = b"", True, 200

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.drops: list[int] = []
        self.asked: list[str | None] = []


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, FileServer)
        asked = self.headers.get("Range")
        server.asked.append(asked)
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and server.ranges else 0
        size = len(server.content)
        if server.status != 200:
            self.send_error(server.status)
            return
        if start >= size:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{size}")
            self.end_headers()
            return
        self.send_response(206 if asked and server.ranges else 200)
        self.send_header("Content-Length", str(size - start))
        self.end_headers()
        end = start + server.drops.pop(0) if server.drops else size
        self.wfile.write(server.content[start:end])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer() as server:
        thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.01))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


_MIX = """<ir_version: 8, opset_import: ["" : 17]>
g (uint8[N, H, W, 3] frame, float[2] style_weights) => (uint8[N, H, W, 3] stylized) <float[2] levels = {40, 200}> {
    parts = Mul(style_weights, levels)
    level = ReduceSum<keepdims = 1>(parts)
    whole = Cast <to = 2> (level)
    black = Sub(frame, frame)
    stylized = Add(black, whole)
}"""


@pytest.fixture
def write_duo() -> Callable[[Path], None]:
    """Write a network of two styles: munch paints level 40, monet 200."""

    def write(path: Path) -> None:
        model = onnx.parser.parse_model(_MIX)
        onnx.helper.set_model_props(model, {"fastnst_format": "2", "styles": "munch,monet"})
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(model, path)

    return write


INVERT = """
g (uint8[N, H, W, 3] frame) => (uint8[N, H, W, 3] stylized) <uint8 white = {255}> {
    stylized = Sub(white, frame)
}"""
"""255 minus the frame."""

WriteNetwork = Callable[..., Path]


@pytest.fixture
def write_network(tmp_path: Path) -> WriteNetwork:
    """Write a graph in ONNX's text form, and metadata, as an ONNX file."""

    def write(graph: str = INVERT, name: str = "invert.onnx", **metadata: str) -> Path:
        model = onnx.parser.parse_model('<ir_version: 8, opset_import: ["" : 17]>' + graph)
        onnx.helper.set_model_props(model, metadata)
        onnx.save(model, tmp_path / name)
        return tmp_path / name

    return write


@pytest.fixture
def invert(write_network: WriteNetwork) -> Path:
    return write_network(fastnst_format="1", style="inverted", network="invert", licence="MIT", layout="nhwc-uint8")


class FakeSession:
    """Stands in for a StyleSession: paints by a function, and notes what it was given."""

    def __init__(
        self,
        paint: Callable[[np.ndarray], np.ndarray],
        names: tuple[str, ...] = ("only",),
        *,
        strength: bool = False,
        path: Path = Path("fake.onnx"),
    ) -> None:
        self.paint, self.path, self.style = paint, path, path.stem
        self.style_names, self.styles, self.takes_strength = names, len(names), strength
        self.choice, self.provider, self.input_noise = Choice("cpu"), "cpu", 0.0
        self.tiles = SimpleNamespace(pictures=0, on_progress=None, provider="cpu")
        self.calls: list[tuple[tuple[int, ...], object, float | None]] = []
        self.closed = False

    def __call__(
        self, frames: np.ndarray, *, style_weights: object = None, strength: float | None = None
    ) -> np.ndarray:
        assert strength is None or self.takes_strength
        self.calls.append((frames.shape, style_weights, strength))
        return self.paint(frames)

    def check(self, style_weights: object, strength: float | None) -> None:
        styles = self.styles if self.styles > 1 else None
        contract = Contract("nhwc-uint8", styles, self.takes_strength, {"styles": ",".join(self.style_names)})
        extra_feeds(contract, style_weights, strength)  # type: ignore[arg-type]

    def close(self) -> None:
        self.closed = True


@pytest.fixture(scope="session")
def fake_session() -> type[FakeSession]:
    return FakeSession
