"""The page in a browser: styles, mixes, snapshots, recordings, cameras that fail, files that are dropped, phones."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper, parser
from PIL import Image

from fastnst.inference.effects import Effects
from fastnst.inference.pipeline import StylePipeline
from fastnst.inference.session import StyleSession
from fastnst.inference.stylizer import Stylizer
from fastnst.io.blending import blend, keep_colors
from fastnst.io.noise import with_noise
from fastnst.io.styles import bundled_page, bundled_styles_folder
from fastnst.web.native import NativeOptions, named_styles, serving_native
from fastnst.web.server import serving
from fastnst.web.site import RUNTIME

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

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


def with_metadata(model: ModelProto, **said: str) -> bytes:
    """A network file that says this, too, of itself."""
    changed = ModelProto.FromString(model.SerializeToString())
    before = {entry.key: entry.value for entry in model.metadata_props}
    helper.set_model_props(changed, {**before, **said})
    return changed.SerializeToString()


def shows(page: Any, name: str) -> None:
    page.wait_for_function(
        "n => window.fastnst.state.source.name === n && window.fastnst.state.last && !window.fastnst.state.stale",
        arg=name,
    )


def set_slider(page: Any, name: str, value: float) -> None:
    page.eval_on_selector(
        f"#{name}", "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input')); }", value
    )


def choose(page: Any, number: int, network: str) -> None:
    page.check(f"input[name=style][value='{number}']", force=True)
    page.wait_for_function("n => window.fastnst.engine.network.key === n && !window.fastnst.state.opening", arg=network)


def notice(page: Any, *words: str) -> None:
    """Wait for an error that says all of this, and close it."""
    page.wait_for_function(
        "words => words.every(each => document.querySelector('#notice-words').textContent.includes(each))"
        " && !document.querySelector('#notice').hidden",
        arg=list(words),
    )
    page.click("#notice-close")
    assert page.is_hidden("#notice")


def test_a_dropped_picture_is_painted_as_by_the_command_line(page: Any, photo: Path, tmp_path: Path) -> None:
    drop(page, photo)
    shows(page, "waves.png")
    given = pixels(photo)
    with Stylizer("starry-live", Effects(stroke="reduce"), provider="cpu") as stylizer:
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
    page.check("#keep-colors", force=True)
    kept = snapshot(page, tmp_path, "colors").astype(int)
    # The photo's colors: all three channels moved alike, where nothing is cut off.
    moved = kept - given
    inside = (kept > 0).all(-1) & (kept < 255).all(-1)
    assert np.ptp(moved[inside], axis=-1).max() <= 1


def test_a_large_picture_is_painted_as_by_the_command_line(page: Any, tmp_path: Path) -> None:
    down, across = np.mgrid[:420, :1600]  # painted at 269 x 1024, then the detail at its own size
    waves = [120 + 70 * np.sin(down / (19 + place)) * np.cos(across / (23 + 3 * place)) for place in range(3)]
    given = np.stack(waves, axis=-1).astype(np.uint8)
    given[::7, ::5] = 0  # detail of the photo that a smaller one does not have
    Image.fromarray(given).save(tmp_path / "large.png")
    drop(page, tmp_path / "large.png")
    shows(page, "large.png")
    page.check("#keep-colors", force=True)
    with StylePipeline("starry-live", Effects(preserve_color=True, stroke="reduce"), provider="cpu") as pipeline:
        expected = pipeline(given)
    assert difference(snapshot(page, tmp_path, "kept"), expected) <= TOLERANCE


def test_noise_as_the_command_line_has_it(page: Any, tmp_path: Path) -> None:
    given = np.random.default_rng(0).integers(0, 256, (70, 530, 3), dtype=np.uint8)  # more than one tile
    Image.fromarray(given).save(tmp_path / "large.png")
    choose(page, page.locator("#styles input").count() - 1, "negative")
    assert page.inner_text("#input-noise-value") == "12 levels"  # the network's own
    drop(page, tmp_path / "large.png")
    shows(page, "large.png")
    assert difference(snapshot(page, tmp_path, "own"), 255 - with_noise(given, 12)) == 0
    set_slider(page, "input-noise", 7.5)
    page.check("#keep-colors", force=True)
    kept = keep_colors(255 - with_noise(given, 7.5), given)
    assert difference(snapshot(page, tmp_path, "more"), kept) == 0
    choose(page, 0, "starry-live")
    assert page.inner_text("#input-noise-value") == "12 levels"


def test_a_network_of_several_styles_and_a_mix_of_two(page: Any, photo: Path, tmp_path: Path) -> None:
    drop(page, photo)
    choose(page, 3, "gallery")  # number 0 is starry-live
    shows(page, "waves.png")
    with StyleSession(bundled_styles_folder() / "gallery.onnx", provider="cpu") as gallery:
        names, given = gallery.style_names, with_noise(pixels(photo), gallery.input_noise)
        one = snapshot(page, tmp_path, "gallery")
        assert difference(one, gallery(given, style_weights={names[2]: 1})) <= TOLERANCE
        page.select_option("#mix", str(7))
        set_slider(page, "share", 30)
        mixed = snapshot(page, tmp_path, "mix")
        assert difference(mixed, gallery(given, style_weights={names[2]: 0.7, names[7]: 0.3})) <= TOLERANCE
        assert difference(one, mixed) > 20


def test_styles_by_key_and_by_screen_reader(page: Any) -> None:
    cards = page.locator("#styles label")
    titles = [card.inner_text() for card in cards.all()]
    last = len(titles) - 1
    assert len(set(titles)) == len(titles) > 15
    assert titles[:3] + titles[6:7] + titles[-1:] == [
        "Starry live",
        "The Starry Night",
        "The Great Wave",
        "The Kiss",
        "Mosaic, Negative",
    ]
    for title in titles:
        assert page.get_by_role("radio", name=title, exact=True).count() == 1
    for key, place in (("n", 1), ("n", 2), ("p", 1), ("p", 0), ("p", last), ("n", 0)):
        page.keyboard.press(key)
        page.wait_for_function(
            "place => !window.fastnst.state.opening && document.querySelectorAll('#styles input')[place].checked",
            arg=place,
        )
    # What is chosen is in view, also at the end of the list.
    page.keyboard.press("p")
    assert cards.nth(last).evaluate(
        """card => {
          const [own, list] = [card.getBoundingClientRect(), card.parentElement.getBoundingClientRect()];
          return own.top >= list.top - 1 && own.bottom <= list.bottom + 1;
        }"""
    )


def test_the_camera_is_painted_frozen_recorded_and_taken_away(page: Any, tmp_path: Path) -> None:
    page.click("#camera-button")
    page.wait_for_function("window.fastnst.state.source.live && window.fastnst.state.shown.length > 1")
    assert page.inner_text("#camera-button") == "Stop camera"
    assert "fps" in page.inner_text("#figures")
    # What moves is shown not much larger than it is painted; a film of it has the camera's size.
    assert page.evaluate("[canvas.width, canvas.height]") == [320, 240]

    with page.expect_download() as download:
        page.keyboard.press("r")
        begun = page.evaluate("window.fastnst.state.painted")
        page.wait_for_function("begun => window.fastnst.state.painted > begun + 12", arg=begun)
        page.keyboard.press("r")
    film = tmp_path / download.value.suggested_filename
    download.value.save_as(film)
    with av.open(str(film)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) >= 5
    assert {frame.shape for frame in frames} == {(300, 400, 3)}
    assert max(difference(frame, frames[0]) for frame in frames) > 20  # it moves

    # A frame of the camera, against the command line.
    page.click("#mirror-button")
    page.keyboard.press("z")
    page.wait_for_function("!window.fastnst.state.source.live && !window.fastnst.state.stale")
    set_slider(page, "strength", 0)
    original = snapshot(page, tmp_path, "original")
    set_slider(page, "strength", 100)
    painted = snapshot(page, tmp_path, "painted")
    with Stylizer("starry-live", Effects(stroke="reduce"), provider="cpu") as stylizer:
        assert difference(painted, stylizer(original)) <= TOLERANCE
    page.keyboard.press("z")
    page.wait_for_function("window.fastnst.state.source.live")

    page.evaluate("""() => {
      const [track] = window.fastnst.tracks();
      track.stop();
      track.dispatchEvent(new Event("ended"));
    }""")
    notice(page, "taken away")
    assert page.inner_text("#camera-button") == "Start camera"


def test_a_camera_that_may_not_be_used(page: Any) -> None:
    page.context.clear_permissions()
    page.click("#camera-button")
    notice(page, "may not be used")
    for name, words in (("NotFoundError", "No camera was found"), ("NotReadableError", "in use by another program")):
        page.evaluate(
            """name => {
              const devices = navigator.mediaDevices;
              devices.getUserMedia = async () => {
                delete devices.getUserMedia;
                throw new DOMException("", name);
              };
            }""",
            name,
        )
        page.click("#camera-button")
        notice(page, words)
    page.context.grant_permissions(["camera"])


def test_styles_that_are_dropped(page: Any, photo: Path, tmp_path: Path) -> None:
    drop(page, photo)
    shows(page, "waves.png")
    own = tmp_path / "mine.onnx"
    model = onnx.load(bundled_styles_folder() / "starry-live.onnx")  # as fastnst train writes it, uint8
    own.write_bytes(with_metadata(model, input_noise="12"))
    drop(page, own)
    page.wait_for_function("window.fastnst.engine.network.key.endsWith('mine') && !window.fastnst.state.opening")
    page.wait_for_function("document.querySelector('.strip label:last-child img').src.startsWith('data:')")
    with Stylizer(own, Effects(stroke="reduce"), provider="cpu") as stylizer:
        assert difference(snapshot(page, tmp_path, "own"), stylizer(pixels(photo))) <= TOLERANCE

    loud = tmp_path / "loud.onnx"
    loud.write_bytes(with_metadata(model, input_noise="loud"))
    wrong, text, cut = tmp_path / "wrong.onnx", tmp_path / "notes.txt", tmp_path / "cut.onnx"
    wrong.write_bytes(b"no network at all")
    text.write_text("x")
    cut.write_bytes(own.read_bytes()[:5000])
    other = tmp_path / "other.onnx"
    model = '<ir_version: 10, opset_import: ["": 18]> g (float[N] x) => (float[N] y) { y = Neg (x) }'
    other.write_bytes(parser.parse_model(model).SerializeToString())
    for file, words in (
        (loud, "has the input_noise loud"),
        (wrong, "is not an ONNX"),
        (text, "is neither a picture"),
        (cut, "is not an ONNX"),
        (other, "not one of fastnst's"),
    ):
        drop(page, file)
        notice(page, words, file.name)
    assert difference(snapshot(page, tmp_path, "after"), pixels(tmp_path / "own.png")) <= TOLERANCE
    page.evaluate("""() => {
      window.fastnst.state.choices.pop();
      document.querySelector(".strip label:last-child").remove();
    }""")


def test_the_worker_is_made_anew_before_safari_ends_the_page(page: Any, photo: Path, tmp_path: Path) -> None:
    drop(page, photo)
    shows(page, "waves.png")
    before = snapshot(page, tmp_path, "before")
    page.evaluate("Object.assign(window.fastnst, { old: window.fastnst.engine.worker })")
    page.evaluate("Object.assign(window.fastnst.engine, { runs: 0, runsLeft: 2 })")
    for _ in range(3):
        after = snapshot(page, tmp_path, "after")
    assert page.evaluate("window.fastnst.old !== window.fastnst.engine.worker")
    assert page.evaluate("window.fastnst.engine.losses") == 0
    assert page.is_hidden("#notice")
    assert difference(before, after) == 0
    page.evaluate("window.fastnst.engine.runsLeft = Infinity")


def test_webgpu_is_held_against_webassembly_and_lost(new_page: Any, address: str, photo: Path, tmp_path: Path) -> None:
    # A network of one operator: in software, the shaders of a real one take half a minute to compile.
    page = new_page
    page.goto(f"{address}?engine=webgpu&no-worker&style=negative")
    page.wait_for_function("window.fastnst?.state.last")
    assert page.evaluate("window.fastnst.engine.opened.words") == "WebGPU", page.inner_text("#engine-words")
    drop(page, photo)
    shows(page, "waves.png")
    assert difference(snapshot(page, tmp_path, "negative"), 255 - with_noise(pixels(photo), 12)) <= 1
    set_slider(page, "input-noise", 0)
    page.check("#keep-colors", force=True)
    kept = keep_colors(255 - pixels(photo), pixels(photo))
    assert difference(snapshot(page, tmp_path, "kept"), kept) <= 1
    # Lost, it is opened anew; lost again, WebAssembly takes over.
    page.evaluate("window.fastnst.engine.loseDevice()")
    notice(page, "started anew")
    assert page.evaluate("window.fastnst.engine.losses") == 1
    page.evaluate("window.fastnst.engine.lose('a test')")
    page.wait_for_function("window.fastnst.engine.opened?.backend === 'wasm'")
    page.wait_for_function("!window.fastnst.state.stale")


def test_a_gpu_that_paints_otherwise_is_left_alone(new_page: Any, address: str) -> None:
    """Its planes are let come out too dark, as by a fault of a driver."""
    darker = (bundled_page() / "gpu.js").read_text().replace("255 * sum", "250 * sum")
    assert "250 * sum" in darker
    new_page.route("**/gpu.js", lambda route: route.fulfill(body=darker, content_type="text/javascript"))
    new_page.goto(f"{address}?engine=webgpu&no-worker&style=negative")
    new_page.wait_for_function("window.fastnst?.state.last")
    assert new_page.evaluate("window.fastnst.engine.opened.backend") == "wasm"
    assert "WebGPU paints differently here, by 5 levels" in new_page.text_content("#engine-words")


TOKEN = "a-token"


@pytest.fixture
def native_page(new_page: Any, site: Path, runtime: Path, tmp_path: Path) -> Iterator[Any]:
    """The page as `fastnst web --native` opens it."""
    results = tmp_path / "results"
    options = NativeOptions(results, "cpu", 1, named_styles(["starry-live", "gallery"]))
    folders = {"": site, f"{RUNTIME.as_posix()}/": runtime, "results/": results}
    with serving(folders, 0, TOKEN) as port, serving_native(f"http://127.0.0.1:{port}/", options, TOKEN) as socket:
        new_page.goto(f"http://127.0.0.1:{port}/?no-worker#native={socket}&token={TOKEN}")
        new_page.wait_for_function("window.fastnst?.state.last")
        yield new_page


def test_the_workshop(native_page: Any, photo: Path, tmp_path: Path, address: str) -> None:
    assert native_page.evaluate("window.fastnst.engine.opened.words") == "this machine (cpu)"
    native_page.click("#workshop summary")
    with native_page.expect_file_chooser() as chooser:
        native_page.click("text=Choose a picture…")
    chooser.value.set_files(photo)
    with native_page.expect_download() as download:
        native_page.click(".jobs a")
    download.value.save_as(tmp_path / "from_page.png")
    with Stylizer("starry-live", Effects(stroke="reduce"), provider="cpu") as stylizer:
        assert difference(pixels(tmp_path / "from_page.png"), stylizer(pixels(photo))) <= 1
    # A style that was learnt is there to be chosen, with its picture, and paints.
    native_page.evaluate("window.workshop.hear({ job: '1', done: '9 steps', style: 'starry' })")
    native_page.wait_for_function(
        "window.fastnst.engine.network.key === 'starry'"
        " && document.querySelector('.strip label:last-child img').src.startsWith('data:')"
    )
    assert native_page.inner_text(".strip label:last-child") == "Starry"
    # A page of another origin that knows the token gets nothing.
    socket = native_page.evaluate("window.workshop.address")
    native_page.goto(f"{address}icon.svg")
    refused = """address => new Promise(done => {
      const socket = new WebSocket(address);
      socket.onopen = () => done(false);
      socket.onerror = () => done(true);
    })"""
    assert native_page.evaluate(refused, socket)


PHONE = {"width": 360, "height": 740}
DESK = {"width": 1280, "height": 720}


def test_a_phone(page: Any) -> None:
    page.set_viewport_size(PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    sizes = page.eval_on_selector_all(
        ".toolbar button:not([hidden]), nav button", "all => all.map(each => each.getBoundingClientRect().height)"
    )
    assert min(sizes) >= 44  # a thumb
    page.set_viewport_size(DESK)


@pytest.mark.parametrize(("scheme", "size"), [("light", DESK), ("dark", PHONE)])
def test_accessibility(page: Any, scheme: str, size: dict[str, int], packages: Path, photo: Path) -> None:
    axe = packages / "axe-core" / "axe.min.js"
    if not axe.is_file():
        pytest.skip("no axe-core; npm install --prefix tools/page_types")
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # no colors halfway between two
    page.set_viewport_size(size)
    page.add_script_tag(path=axe)
    page.evaluate("document.querySelector('#speed').open = true")
    assert_accessible(page)
    drop(page, photo)  # a picture of one's own, in a style that mixes
    choose(page, 2, "gallery")
    shows(page, "waves.png")
    page.click("#split-button")
    assert_accessible(page)
    drop_text(page)
    page.wait_for_selector("#notice:not([hidden])")
    assert_accessible(page)
    page.click("#notice-close")
    page.keyboard.press("h")
    assert page.is_visible("#keys")
    assert_accessible(page)
    page.keyboard.press("Escape")
    page.set_viewport_size(DESK)


def drop_text(page: Any) -> None:
    page.evaluate("""() => {
      const data = new DataTransfer();
      data.items.add(new File(["x"], "notes.txt", { type: "text/plain" }));
      document.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
    }""")


def assert_accessible(page: Any) -> None:
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []


def test_the_second_visit_needs_no_network(new_page: Any, address: str) -> None:
    page = new_page
    page.goto(f"{address}?engine=wasm")
    page.wait_for_function("window.fastnst?.state.last")
    page.context.set_offline(True)
    page.reload()
    page.wait_for_function("window.fastnst?.state.last")
    assert page.evaluate("[self.crossOriginIsolated, window.fastnst.engine.opened.backend]") == [True, "wasm"]
