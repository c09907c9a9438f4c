"""The page as a folder, what is fetched for it, and its server."""

import hashlib
import http.client
import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import onnx
import pytest

from fastnst.cli import main
from fastnst.errors import DownloadError, OutputError, SettingError, StyleError
from fastnst.inference import effects
from fastnst.inference.effects import STROKE_SIDE
from fastnst.inference.pipeline import DETAIL_FROM, DETAIL_SIDE
from fastnst.io.noise import MAX_LEVELS, TILE, UNITS, noise_tile
from fastnst.io.styles import bundled_page
from fastnst.web import site
from fastnst.web.server import FILES, VERSION, RuntimeFile, runtime_folder, serving
from fastnst.web.site import write_site


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site") / "page"
    write_site(folder, ["starry-live"], None)
    return folder


def test_a_site_has_the_page_the_styles_and_their_thumbnails(page: Path) -> None:
    said = json.loads((page / "styles.json").read_text())
    (network,) = said["networks"]
    assert (said["first"], network["strength"]) == ("starry-live", False)
    assert [style["title"] for style in network["styles"]] == ["Starry live"]
    for name in (network["file"], network["styles"][0]["thumbnail"], said["samples"][0]["file"], "index.html", "sw.js"):
        assert (page / name).stat().st_size > 500, name
    assert (page / "noise.bin").read_bytes() == noise_tile().tobytes()
    layout = {entry.key: entry.value for entry in onnx.load(page / network["file"]).metadata_props}["layout"]
    assert layout == "web"


def test_every_file_that_the_page_loads_is_there_in_the_version_that_is_fetched(page: Path) -> None:
    kept = (bundled_page() / "sw.js").read_text()
    for path in bundled_page().glob("*.js"):
        assert path.name == "sw.js" or f'"{path.name}"' in kept, f"sw.js does not keep {path.name}"
        assert (page / path.name).read_bytes() == path.read_bytes()
    assert f'RUNTIME = "./{site.RUNTIME.as_posix()}/"' in (bundled_page() / "worker.js").read_text()


def test_the_page_paints_by_the_numbers_of_the_command_line() -> None:
    said = {
        "noise.js": (f"TILE = {TILE};", f"UNITS = {UNITS};"),
        "network.js": (f"MAX_NOISE = {MAX_LEVELS:g};",),
        "size.js": (f"[STROKE_SIDE, SHORTEST] = [{STROKE_SIDE}, {effects._SHORTEST}];",),
        "large.js": (f"DETAIL_FROM = {DETAIL_FROM:g};", f"DETAIL_SIDE = {DETAIL_SIDE // 2};"),
    }
    for name, numbers in said.items():
        text = (bundled_page() / name).read_text()
        assert [number for number in numbers if number not in text] == [], name


def test_a_site_is_replaced_only_when_asked(page: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="--overwrite"):
        write_site(page, ["starry-live"], None)
    (tmp_path / "thesis.txt").write_text("x")
    with pytest.raises(OutputError, match="has other files in it"):
        write_site(tmp_path, ["starry-live"], None, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_unknown_styles_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(StyleError, match="did you mean 'starry'"):
        write_site(tmp_path / "new", ["stary"], None)
    assert list(tmp_path.iterdir()) == []


def test_output_and_native_exclude_each_other(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["web", "--native", "-o", str(tmp_path / "x")])
    assert ended.value.code == 1
    assert "--native is for the page on this machine" in capsys.readouterr().err


# onnxruntime-web


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server with two files, which stand for the package's, and an empty cache."""
    folder = tmp_path / "published"
    folder.mkdir()
    (folder / "ort.mjs").write_bytes(b"export {}")
    (folder / "ort.wasm").write_bytes(b"\0asm")
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    files = {name: RuntimeFile((folder / name).stat().st_size, sums[name]) for name in sums}
    monkeypatch.setattr("fastnst.web.server.FILES", files)
    monkeypatch.setattr("fastnst.web.server.user_cache_path", lambda *_names, **_options: tmp_path / "cache")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()
    thread.join()


def fetched(address: str, told: list[str] | None = None) -> Path:
    announce = (told if told is not None else []).append
    return runtime_folder(None, announce=announce, progress=lambda _done, _total: None, address=address)


def test_the_runtime_is_fetched_once_and_checked(published: str) -> None:
    told: list[str] = []
    folder = fetched(published, told)
    assert (folder / "ort.wasm").read_bytes() == b"\0asm"
    assert len(told) == 1
    assert fetched("http://127.0.0.1:9/", told) == folder  # no server is asked
    assert len(told) == 1


def test_another_file_than_was_published_is_removed(published: str, tmp_path: Path) -> None:
    (tmp_path / "published" / "ort.wasm").write_bytes(b"evil")
    with pytest.raises(DownloadError, match="has SHA-256"):
        fetched(published)
    assert not (tmp_path / "cache" / f"onnxruntime-web-{VERSION}" / "ort.wasm").exists()


def test_without_a_network_one_line_says_both_ways(published: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastnst.io.addresses.PAUSES_S", ())
    with pytest.raises(DownloadError, match=r"npm install onnxruntime-web@.* and --runtime node_modules/") as raised:
        fetched("http://127.0.0.1:9/")
    assert "\n" not in str(raised.value)


def test_a_folder_of_another_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=f"npm install onnxruntime-web@{VERSION}"):
        runtime_folder(tmp_path, announce=print, progress=lambda _done, _total: None)
    for name in FILES:
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(SettingError, match="0 bytes, that of version"):
        runtime_folder(tmp_path, announce=print, progress=lambda _done, _total: None)


# The server


def ask(port: int, path: str, host: str = "") -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.putrequest("GET", path, skip_host=True)
    connection.putheader("Host", host or f"127.0.0.1:{port}")
    connection.endheaders()
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders()), content


@pytest.fixture(scope="module")
def served(page: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    place = tmp_path_factory.mktemp("served")
    (place / "results").mkdir()
    (place / "results" / "film.mp4").write_bytes(b"film")
    (place / "secret").write_bytes(b"secret")
    (place / "results" / "link").symlink_to(place / "secret")
    with serving({"": page, "results/": place / "results"}, 0, "abc") as port:
        yield port


def test_files_come_with_the_headers_that_threads_need(served: int) -> None:
    status, headers, content = ask(served, "/")
    assert (status, content[:15]) == (200, b"<!doctype html>")
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert ask(served, "/main.js")[1]["Content-type"] == "text/javascript"


@pytest.mark.parametrize(
    "path",
    [
        "/../secret",
        "/results/../secret?token=abc",
        "/results/%2e%2e/secret?token=abc",
        "/results/..%2fsecret?token=abc",
        "/results//etc/passwd?token=abc",
        "/results/link?token=abc",
        "/results/?token=abc",
        "/styles/",
    ],
)
def test_nothing_outside_the_folders(served: int, path: str) -> None:
    status, _, content = ask(served, path)
    assert (status, b"secret" in content) == (404, False)


def test_results_ask_for_the_token(served: int) -> None:
    assert ask(served, "/results/film.mp4?token=abc")[::2] == (200, b"film")
    assert ask(served, "/results/film.mp4")[0] == 403
    assert ask(served, "/results/film.mp4?token=abd")[0] == 403


def test_a_foreign_name_for_this_machine_is_refused(served: int) -> None:
    assert ask(served, "/", host="evil.example")[0] == 403
    assert ask(served, "/", host="localhost:1")[0] == 200


def test_a_port_that_is_taken(served: int) -> None:
    with pytest.raises(OutputError, match="choose another by --port"), serving({}, served):
        pass
