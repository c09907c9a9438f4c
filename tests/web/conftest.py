"""A browser, the page served as `fastnst web` serves it, and a camera that plays a drawn film."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from onnx import parser

from fastnst.errors import SettingError
from fastnst.web.runtime import runtime_folder
from fastnst.web.server import serving
from fastnst.web.site import RUNTIME, write_site

CHROMIUM = Path("/usr/bin/chromium")
PACKAGES = Path(__file__).parents[2] / "tools" / "page_types" / "node_modules"
STYLES = ("starry-live", "gallery")
CAMERA_SIZE = (240, 320)

OpenPage: TypeAlias = Callable[..., Any]


@pytest.fixture(scope="session")
def packages() -> Path:
    """Where npm installs what checks and tests the page."""
    return PACKAGES


@pytest.fixture(scope="session")
def runtime() -> Path:
    """onnxruntime-web, as npm installs it beside what checks the page's types."""
    try:
        return runtime_folder(PACKAGES / "onnxruntime-web", announce=print, progress=lambda _done, _total: None)
    except SettingError:
        pytest.skip("no onnxruntime-web; npm install --prefix tools/page_types")


@pytest.fixture(scope="session")
def camera_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten frames of drifting waves as Y4M, which Chromium's fake camera plays for ever."""
    path = tmp_path_factory.mktemp("camera") / "camera.y4m"
    height, width = CAMERA_SIZE
    down, across = np.mgrid[:height, :width]
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F20:1 Ip A1:1 C420jpeg\n".encode())
        for step in range(10):
            luma = 120 + 70 * np.sin(down / 17 + step / 2) * np.cos(across / 23)
            blue, red = (128 + 50 * np.sin((down + place * across + step) / 40)[::2, ::2] for place in (1, 2))
            file.write(b"FRAME\n" + b"".join(plane.astype(np.uint8).tobytes() for plane in (luma, blue, red)))
    return path


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page with two networks: one for live pictures, one that mixes styles."""
    folder = tmp_path_factory.mktemp("site") / "page"
    write_site(folder, STYLES, None)
    described = json.loads((folder / "styles.json").read_text())
    described["networks"].append(write_negative(folder / "styles" / "negative.onnx"))
    (folder / "styles.json").write_text(json.dumps(described))
    return folder


def write_negative(path: Path) -> dict[str, Any]:
    """A network in the layout web that turns pictures into negatives; returns what styles.json says of it."""
    text = """<ir_version: 10, opset_import: ["": 18], metadata_props: ["layout": "web", "stride": "8"]>
    negative (float[N, 3, H, W] frame) => (float[N, 3, H, W] stylized) {
        full = Constant <value = float {255}> ()
        stylized = Sub (full, frame)
    }"""
    path.write_bytes(parser.parse_model(text).SerializeToString())
    style = {"name": "negative", "title": "Negative", "thumbnail": ""}
    return {
        "name": "negative",
        "title": "Negative",
        "file": "styles/negative.onnx",
        "styles": [style],
        "strength": False,
    }


@pytest.fixture(scope="session")
def address(site: Path, runtime: Path) -> Iterator[str]:
    """The page's address."""
    with serving({"": site, f"{RUNTIME.as_posix()}/": runtime}, 0) as port:
        yield f"http://127.0.0.1:{port}/"


@pytest.fixture(scope="module")
def browser(camera_film: Path, runtime: Path) -> Iterator[Any]:
    """Debian's Chromium with a camera that plays the film, and WebGPU in software."""
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    if not CHROMIUM.is_file():
        pytest.skip(f"no {CHROMIUM}; apt-get install chromium")
    options = [
        "--no-sandbox",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={camera_film}",
        "--enable-unsafe-webgpu",
        "--use-webgpu-adapter=swiftshader",
        "--enable-features=Vulkan",
        # Without a GPU, a worker's WebGPU canvas is blank unless all of the browser is drawn by the same.
        "--use-angle=vulkan",
        "--use-vulkan=swiftshader",
        "--ignore-gpu-blocklist",
        "--enable-unsafe-swiftshader",
    ]
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=str(CHROMIUM), args=options)
        yield opened
        opened.close()


@pytest.fixture
def open_page(browser: Any, address: str) -> Iterator[OpenPage]:
    """Opens the page and waits for the first picture; whatever the page's console says of errors fails the test."""
    wrong: list[str] = []
    with ExitStack() as stack:

        def open_it(query: str = "?engine=wasm&no-worker", *, camera: bool = True, **options: Any) -> Any:
            permissions = ["camera"] if camera else []
            context = browser.new_context(permissions=permissions, accept_downloads=True, **options)
            context.set_default_timeout(120_000)
            stack.callback(context.close)
            page = context.new_page()
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.goto(address + query)
            page.wait_for_function("window.fastnst?.state.last")
            return page

        yield open_it
    assert wrong == []
