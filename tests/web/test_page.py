"""The page in a browser: styles, mixes, snapshots, recordings, cameras that fail, files that are dropped, phones."""

import base64
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import av
import numpy as np
import pytest
from PIL import Image

from fastnst.inference.session import StyleSession
from fastnst.inference.stylizer import Stylizer
from fastnst.io.blending import blend
from fastnst.io.styles import bundled_styles_folder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

OpenPage: TypeAlias = Callable[..., Any]

TOLERANCE = 2
"""Levels of 255 between the page and fastnst stylize."""

PHOTO_SIZE = (120, 150)


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture whose sides are no multiples of 4 or 8."""
    down, across = np.mgrid[: PHOTO_SIZE[0], : PHOTO_SIZE[1]]
    waves = [120 + 90 * np.sin(down / (9 + place)) * np.cos(across / (7 + 3 * place)) for place in range(3)]
    path = tmp_path_factory.mktemp("photo") / "waves.png"
    Image.fromarray(np.stack(waves, axis=-1).astype(np.uint8)).save(path)
    return path


def pixels(path: Path) -> np.ndarray:
    return np.array(Image.open(path).convert("RGB"))


def difference(one: np.ndarray, other: np.ndarray) -> int:
    assert one.shape == other.shape
    return int(np.abs(one.astype(int) - other).max())


def snapshot(page: Any, folder: Path, name: str) -> np.ndarray:
    with page.expect_download() as download:
        page.click("#snapshot-button")
    download.value.save_as(folder / f"{name}.png")
    return pixels(folder / f"{name}.png")


def drop(page: Any, file: Path) -> None:
    """Drop a file onto the page, as from a file manager."""
    page.evaluate(
        """([name, type, bytes]) => {
          const data = new DataTransfer();
          const content = Uint8Array.from(atob(bytes), (letter) => letter.charCodeAt(0));
          data.items.add(new File([content], name, { type }));
          const options = { dataTransfer: data, bubbles: true, cancelable: true };
          document.dispatchEvent(new DragEvent("drop", options));
        }""",
        [file.name, {".png": "image/png"}.get(file.suffix, ""), base64.b64encode(file.read_bytes()).decode()],
    )


def shows(page: Any, name: str) -> None:
    page.wait_for_function(
        "n => window.fastnst.state.source.name === n && window.fastnst.state.last && !window.fastnst.state.stale",
        arg=name,
    )


def set_slider(page: Any, name: str, value: int) -> None:
    page.eval_on_selector(
        f"#{name}", "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input')); }", value
    )


def test_a_dropped_picture_is_painted_as_by_the_command_line(
    open_page: OpenPage, photo: Path, tmp_path: Path, site: Path
) -> None:
    page = open_page()
    drop(page, photo)
    shows(page, "waves.png")
    given = pixels(photo)
    with Stylizer("starry-live", provider="cpu") as stylizer:
        painted = stylizer(given)
    assert difference(snapshot(page, tmp_path, "plain"), painted) <= TOLERANCE
    set_slider(page, "strength", 40)
    assert difference(snapshot(page, tmp_path, "weak"), blend(painted, given, 0.4)) <= TOLERANCE
    set_slider(page, "strength", 100)
    page.click("#split-button")
    halves = snapshot(page, tmp_path, "split")
    assert difference(halves[:, :70], given[:, :70]) == 0
    assert difference(halves[:, 80:], painted[:, 80:]) <= TOLERANCE
    page.click("#split-button")

    # Another network, one of its styles, then a mix of two.
    with StyleSession(bundled_styles_folder() / "gallery.onnx", provider="cpu") as gallery:
        names = gallery.style_names
        page.check("input[name=style][value='3']", force=True)  # number 0 is starry-live
        page.wait_for_function("window.fastnst.engine.opened?.contract.mixes")
        one = snapshot(page, tmp_path, "gallery")
        assert difference(one, gallery(given, style_weights={names[2]: 1})) <= TOLERANCE
        page.select_option("#mix", str(7))
        set_slider(page, "share", 30)
        mixed = snapshot(page, tmp_path, "mix")
        assert difference(mixed, gallery(given, style_weights={names[2]: 0.7, names[7]: 0.3})) <= TOLERANCE
        assert difference(one, mixed) > 20
    page.check("#keep-colors", force=True)
    kept = snapshot(page, tmp_path, "colors").astype(int)
    # The photo's colors: all three channels moved alike, where nothing is cut off.
    moved = kept - given
    inside = (kept > 0).all(-1) & (kept < 255).all(-1)
    assert np.ptp(moved[inside], axis=-1).max() <= 1


def test_the_camera_is_painted_frozen_recorded_and_taken_away(open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page("?engine=wasm&no-worker&size=160")
    page.click("#camera-button")
    page.wait_for_function("window.fastnst.state.source.live && window.fastnst.state.shown.length > 3")
    assert page.inner_text("#camera-button") == "Stop camera"
    assert "fps" in page.inner_text("#figures")

    with page.expect_download() as download:
        page.keyboard.press("r")
        page.wait_for_timeout(2500)
        page.keyboard.press("r")
    film = tmp_path / download.value.suggested_filename
    download.value.save_as(film)
    with av.open(str(film)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) >= 5
    assert frames[-1].shape == (240, 320, 3)
    assert max(difference(frame, frames[0]) for frame in frames) > 20  # it moves

    # A frame of the camera, against the command line.
    page.click("#mirror-button")
    page.keyboard.press("z")
    page.wait_for_function("!window.fastnst.state.source.live && !window.fastnst.state.stale")
    set_slider(page, "strength", 0)
    original = snapshot(page, tmp_path, "original")
    set_slider(page, "strength", 100)
    painted = snapshot(page, tmp_path, "painted")
    with Stylizer("starry-live", provider="cpu") as stylizer:
        assert difference(painted, stylizer(original)) <= TOLERANCE
    page.keyboard.press("z")
    page.wait_for_function("window.fastnst.state.source.live")

    page.evaluate("""() => {
      const [track] = window.fastnst.tracks();
      track.stop();
      track.dispatchEvent(new Event("ended"));
    }""")
    page.wait_for_selector("#notice:not([hidden])")
    assert "taken away" in page.inner_text("#notice")
    assert page.inner_text("#camera-button") == "Start camera"


def test_a_camera_that_may_not_be_used(open_page: OpenPage) -> None:
    page = open_page(camera=False)
    for name, words in (
        ("NotAllowedError", "may not be used"),
        ("NotFoundError", "No camera was found"),
        ("NotReadableError", "in use by another program"),
    ):
        page.evaluate(
            "name => { navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', name); }; }",
            name,
        )
        page.click("#camera-button")
        page.wait_for_function(
            "(words) => document.querySelector('#notice-words').textContent.includes(words)", arg=words
        )
    page.click("#notice-close")
    assert page.is_hidden("#notice")


def test_styles_that_are_dropped(
    open_page: OpenPage, photo: Path, tmp_path: Path, write_style: Callable[..., Path]
) -> None:
    page = open_page()
    drop(page, photo)
    shows(page, "waves.png")
    own = tmp_path / "mine.onnx"
    shutil.copyfile(bundled_styles_folder() / "starry-live.onnx", own)  # as fastnst train writes it, uint8
    drop(page, own)
    page.wait_for_function("window.fastnst.engine.network.key.endsWith('mine')")
    page.wait_for_function("document.querySelector('.strip label:last-child img').src.startsWith('data:')")
    with Stylizer("starry-live", provider="cpu") as stylizer:
        assert difference(snapshot(page, tmp_path, "own"), stylizer(pixels(photo))) <= TOLERANCE

    wrong = tmp_path / "wrong.onnx"
    wrong.write_bytes(b"no network at all")
    text = tmp_path / "notes.txt"
    text.write_text("x")
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(own.read_bytes()[:5000])
    for file, words in (
        (wrong, "is not an ONNX"),
        (text, "is neither a picture"),
        (cut, "is not an ONNX"),
        (write_style(), "not one of fastnst's"),
    ):
        drop(page, file)
        page.wait_for_function(
            "([name, words]) => document.querySelector('#notice-words').textContent.includes(words)"
            " && document.querySelector('#notice-words').textContent.includes(name)",
            arg=[file.name, words],
        )
        page.click("#notice-close")
    assert difference(snapshot(page, tmp_path, "after"), pixels(tmp_path / "own.png")) <= TOLERANCE


@pytest.fixture
def write_style(tmp_path: Path) -> Callable[[], Path]:
    """An ONNX network that is none of ours."""
    from onnx import parser  # noqa: PLC0415

    def write() -> Path:
        other = '<ir_version: 10, opset_import: ["": 18]> g (float[N] x) => (float[N] y) { y = Neg (x) }'
        path = tmp_path / "other.onnx"
        path.write_bytes(parser.parse_model(other).SerializeToString())
        return path

    return write


def test_webgpu_is_held_against_webassembly_and_lost(open_page: OpenPage, photo: Path, tmp_path: Path) -> None:
    # A network of one operator: in software, the shaders of a real one take half a minute to compile.
    page = open_page("?engine=webgpu&no-worker&style=negative")
    assert page.evaluate("window.fastnst.engine.opened.words") == "WebGPU", page.inner_text("#engine-words")
    drop(page, photo)
    shows(page, "waves.png")
    assert difference(snapshot(page, tmp_path, "negative"), 255 - pixels(photo)) <= 1
    # Lost, it is opened anew; lost again, WebAssembly takes over.
    page.evaluate("window.fastnst.engine.loseDevice()")
    page.wait_for_selector("#notice:not([hidden])")
    assert "started anew" in page.inner_text("#notice")
    assert page.evaluate("window.fastnst.engine.losses") == 1
    page.evaluate("window.fastnst.engine.lose('a test')")
    page.wait_for_function("window.fastnst.engine.opened?.backend === 'wasm'")
    page.wait_for_function("!window.fastnst.state.stale")


def test_a_phone(open_page: OpenPage) -> None:
    page = open_page(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True, color_scheme="dark")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    sizes = page.eval_on_selector_all(
        ".toolbar button:not([hidden]), nav button", "all => all.map(each => each.getBoundingClientRect().height)"
    )
    assert min(sizes) >= 44  # a thumb


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessibility(open_page: OpenPage, scheme: str, packages: Path) -> None:
    axe = packages / "axe-core" / "axe.min.js"
    if not axe.is_file():
        pytest.skip("no axe-core; npm install --prefix tools/page_types")
    page = open_page(color_scheme=scheme)
    page.click("#speed summary")
    page.add_script_tag(path=axe)
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []
    page.keyboard.press("h")
    assert page.is_visible("#keys")
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
    assert [one["id"] for one in found] == []


def test_the_second_visit_needs_no_network(open_page: OpenPage) -> None:
    page = open_page("?engine=wasm")
    page.wait_for_function("navigator.serviceWorker.controller")
    page.reload()
    page.wait_for_function("window.fastnst?.state.last")
    page.context.set_offline(True)
    page.reload()
    page.wait_for_function("window.fastnst?.state.last")
    assert page.evaluate("[self.crossOriginIsolated, window.fastnst.engine.opened.backend]") == [True, "wasm"]
