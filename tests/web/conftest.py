"""A browser, the page served as `fastnst web` serves it, and a camera that plays a drawn film."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from onnx import parser

from fastnst.errors import SettingError
from fastnst.web.server import runtime_folder, serving
from fastnst.web.site import RUNTIME, write_site

CHROMIUM = Path("/usr/bin/chromium")
PACKAGES = Path(__file__).parents[2] / "tools" / "page_types" / "node_modules"
STYLES = ("starry-live", "gallery")
CAMERA_SIZE = (300, 400)

FILM = Path(__file__).parents[3] / "shared" / "video" / "cockatoo.mp4"
"""What the camera sees where it is there; else waves."""


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
    """Ten frames as Y4M, which Chromium's fake camera plays for ever."""
    path = tmp_path_factory.mktemp("camera") / "camera.y4m"
    height, width = CAMERA_SIZE
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F20:1 Ip A1:1 C420jpeg\n".encode())
        for planes in film_planes() if FILM.is_file() else wave_planes():
            file.write(b"FRAME\n" + b"".join(plane.astype(np.uint8).tobytes() for plane in planes))
    return path


def film_planes() -> Iterator[Iterable[np.ndarray]]:
    """Every third of a film's first frames, as planes of YUV 4:2:0."""
    height, width = CAMERA_SIZE
    with av.open(str(FILM)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number == 30:
                return
            if number % 3 == 0:
                yield [frame.reformat(width, height, "yuv420p").to_ndarray()]


def wave_planes() -> Iterator[Iterable[np.ndarray]]:
    """Waves that drift, likewise."""
    down, across = np.mgrid[: CAMERA_SIZE[0], : CAMERA_SIZE[1]]
    for step in range(10):
        yield [
            120 + 70 * np.sin(down / 17 + step / 2) * np.cos(across / 23),
            *(128 + 50 * np.sin((down + place * across + step) / 40)[::2, ::2] for place in (1, 2)),
        ]


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
    """A network in the layout web that makes negatives of pictures with noise; returns what styles.json says of it."""
    text = """<ir_version: 10, opset_import: ["": 18], metadata_props: [PROPERTIES]>
    negative (float[N, 3, H, W] frame) => (float[N, 3, H, W] stylized) {
        full = Constant <value = float {255}> ()
        stylized = Sub (full, frame)
    }"""
    said = '"layout": "web", "stride": "8", "input_noise": "12"'
    path.write_bytes(parser.parse_model(text.replace("PROPERTIES", said)).SerializeToString())
    style = {"name": "negative", "title": "Mosaic", "thumbnail": ""}  # as one of the gallery's is called
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


@pytest.fixture(scope="module")
def mistakes() -> list[str]:
    """What the pages' consoles say of errors."""
    return []


@pytest.fixture
def new_page(browser: Any, address: str, mistakes: list[str]) -> Iterator[Any]:
    """A page in a browser's profile of its own, closed afterwards; opened by the test."""
    context = new_context(browser)
    yield listened(context.new_page(), mistakes)
    context.close()
    assert mistakes == []


@pytest.fixture(scope="module")
def opened_page(browser: Any, address: str, mistakes: list[str]) -> Iterator[Any]:
    """One page for all tests of a module: loading onnxruntime-web takes longer than most of them."""
    playwright = pytest.importorskip("playwright.sync_api")
    context = new_context(browser, permissions=["camera"])
    page = listened(context.new_page(), mistakes)
    page.goto(f"{address}?engine=wasm&no-worker&size=320")
    try:
        page.wait_for_function("window.fastnst?.state.last", timeout=30_000)
    except playwright.TimeoutError:  # seen where two browsers start at once on two busy cores: nothing comes of it
        page.reload()
        page.wait_for_function("window.fastnst?.state.last")
    yield page
    context.close()


@pytest.fixture
def page(opened_page: Any, mistakes: list[str]) -> Iterator[Any]:
    """That page with all controls as they were at first."""
    mistakes.clear()
    opened_page.evaluate(AS_AT_FIRST)
    opened_page.wait_for_function(
        "window.fastnst.engine.network.key === 'starry-live' && !window.fastnst.state.opening"
    )
    yield opened_page
    assert mistakes == []


AS_AT_FIRST = """() => {
  document.querySelector("#notice").hidden = true;
  const usual = { strength: 100, stroke: 0, share: 50, mix: -1, size: 320 };
  for (const [name, value] of Object.entries(usual)) {
    document.querySelector(`#${name}`).value = value;
    document.querySelector(`#${name}`).dispatchEvent(new Event("input"));
  }
  document.querySelector("#input-noise").dataset.network = "";  // each network's own
  for (const button of document.querySelectorAll("button[aria-pressed=true]")) button.click();
  if (document.querySelector("#keep-colors").checked) document.querySelector("#keep-colors").click();
  const first = document.querySelector("input[name=style]");
  first.checked = true;
  first.dispatchEvent(new Event("change"));
}"""


def new_context(browser: Any, **options: Any) -> Any:
    """A profile; whatever takes two minutes fails."""
    context = browser.new_context(accept_downloads=True, **options)
    context.set_default_timeout(120_000)
    return context


def listened(page: Any, mistakes: list[str]) -> Any:
    """A page whose errors are noted."""
    page.on("pageerror", lambda error: mistakes.append(str(error)))
    return page
