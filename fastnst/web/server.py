"""The page on this machine: onnxruntime-web, which computes in it, and files under 127.0.0.1, with the headers that
threads in WebAssembly need.

Files of onnxruntime-web are fetched once, checked by their sums, kept in the cache. None is kept in the repository:
they have 58 MB. One visitor loads one of the three builds.
"""

import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from filelock import FileLock
from platformdirs import user_cache_path

from fastnst.errors import DownloadError, OutputError, SettingError
from fastnst.io.addresses import Announce, check_sha256, fetch

VERSION = "1.30.0"
"""Of onnxruntime-web; 1.30 is the first whose WebGPU knows casts of uint8 (microsoft/onnxruntime#29839)."""

ADDRESS = f"https://cdn.jsdelivr.net/npm/onnxruntime-web@{VERSION}/dist/"
"""Where the package's files can be fetched one by one, as they were published."""


@dataclass(frozen=True)
class RuntimeFile:
    """One file of the package's folder dist/."""

    size: int
    """Bytes."""

    sha256: str


FILES = {
    # WebAssembly alone.
    "ort.wasm.min.mjs": RuntimeFile(50_126, "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b"),
    "ort-wasm-simd-threaded.mjs": RuntimeFile(
        24_381, "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b"
    ),
    "ort-wasm-simd-threaded.wasm": RuntimeFile(
        14_239_897, "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2"
    ),
    # With WebGPU, for browsers in which WebAssembly can wait for promises.
    "ort.jspi.min.mjs": RuntimeFile(66_511, "bc57179d923fda2d88d4a395359c8df44399dde087bf9ff44fc0e40ab398e4d9"),
    "ort-wasm-simd-threaded.jspi.mjs": RuntimeFile(
        50_918, "270e2c6da9f297239d301d329782b6446641cb1e16a77967690adcfca35f3268"
    ),
    "ort-wasm-simd-threaded.jspi.wasm": RuntimeFile(
        16_758_545, "a54c76f86b0f0d9572380cf1c6292a7b3903716ffcbcd6b0e5c7050bf430eb93"
    ),
    # With WebGPU, for the others.
    "ort.webgpu.min.mjs": RuntimeFile(66_349, "3dffff71811bc13a3a3d9591c57ca5ee5735b8f5f3eaf789510b02bb040ae3a0"),
    "ort-wasm-simd-threaded.asyncify.mjs": RuntimeFile(
        53_057, "3d1c85995364bb643302fc6fd877a0c3ba5ae72401815e0f24828a53d9191e28"
    ),
    "ort-wasm-simd-threaded.asyncify.wasm": RuntimeFile(
        26_781_914, "39f9f0894d478800487ed9f7dbe92618498db320cf55c8e3d89adff8dce658da"
    ),
}
"""What the page loads, by name."""

ShowBytes = Callable[[int, int], None]
"""Called with the bytes done and the bytes in all."""


def runtime_folder(given: Path | None, *, announce: Announce, progress: ShowBytes, address: str = ADDRESS) -> Path:
    """Return a folder with the files of FILES: one that the user names, or the cache, where they are fetched to.

    Raises:
        SettingError: the folder lacks a file, or has another version's.
        DownloadError: a file could not be fetched; says how to do without.
    """
    if given is not None:
        return _checked(given)
    folder = user_cache_path("fastnst", appauthor=False) / f"onnxruntime-web-{VERSION}"
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            _fetch_missing(folder, address, announce, progress)
    return folder


def _checked(folder: Path) -> Path:
    """The package's folder or its dist/; sizes tell versions apart."""
    folder = folder / "dist" if (folder / "dist").is_dir() else folder
    for name, file in FILES.items():
        path = folder / name
        if not path.is_file():
            raise SettingError(
                f"--runtime {folder}: has no {name}; expected the folder dist of npm's package onnxruntime-web "
                f"{VERSION} (npm install onnxruntime-web@{VERSION})"
            )
        if path.stat().st_size != file.size:
            found = f"{path.stat().st_size:,} bytes"
            raise SettingError(f"--runtime {folder}: {name} has {found}, that of version {VERSION} has {file.size:,}")
    return folder


def _fetch_missing(folder: Path, address: str, announce: Announce, progress: ShowBytes) -> None:
    missing = [name for name in FILES if not (folder / name).is_file()]
    total, done = sum(FILES[name].size for name in missing), 0
    announce(f"onnxruntime-web {VERSION} is fetched once: {total / 1e6:.0f} MB from {address} to {folder}")
    for name in missing:
        _fetch_one(folder / name, address + name, announce, partial(_show_sum, progress, done, total))
        done += FILES[name].size


def _show_sum(progress: ShowBytes, before: int, total: int, now: int, _of_one: int) -> None:
    progress(before + now, total)


def _fetch_one(target: Path, url: str, announce: Announce, progress: ShowBytes) -> None:
    unchecked = target.with_name(f"{target.name}.unchecked")
    try:
        fetch(url, unchecked, announce=announce, progress=progress, check_room=lambda *_: None)
        check_sha256(unchecked, FILES[target.name].sha256, url)
    except (DownloadError, OSError) as error:
        raise DownloadError(
            f"onnxruntime-web could not be fetched ({error}); where only npm's packages can be had, "
            f"npm install onnxruntime-web@{VERSION} and --runtime node_modules/onnxruntime-web"
        ) from error
    unchecked.replace(target)


def copy_runtime(source: Path, target: Path) -> None:
    """Copy the files of FILES into a folder, which is made."""
    target.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copyfile(source / name, target / name)


HOST = "127.0.0.1"
"""Other machines do not reach it."""

ISOLATION = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
}
"""The first two make a page cross-origin isolated: only then may WebAssembly have threads."""


class PageHandler(SimpleHTTPRequestHandler):
    """Hands out the files of folders, and nothing outside them."""

    extensions_map = {  # noqa: RUF012 - SimpleHTTPRequestHandler's own
        **SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript",
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
        ".onnx": "application/octet-stream",
        ".webmanifest": "application/manifest+json",
        ".jpg": "image/jpeg",
        ".svg": "image/svg+xml",
    }

    def __init__(self, *args: Any, folders: Mapping[str, Path], token: str, **options: Any) -> None:
        """Take folders by the beginning of the address, "" for the page; `results/` asks for the token."""
        self.folders, self.token = folders, token
        super().__init__(*args, **options)

    def translate_path(self, path: str) -> str:
        """The file for an address; one outside its folder is no file at all."""
        address = urlsplit(path).path.lstrip("/")
        start = max((name for name in self.folders if address.startswith(name)), key=len)
        self.directory = str(self.folders[start])
        found = Path(super().translate_path(address[len(start) :]))
        root = self.folders[start].resolve()
        return str(found) if found.resolve().is_relative_to(root) else str(root / "none")

    def send_head(self) -> Any:
        """Send what comes before a file."""
        parts = urlsplit(self.path)
        if self.headers.get("Host", "").split(":")[0] not in {HOST, "localhost"}:
            # Another name for this machine: a foreign page that had its own name point here.
            self.send_error(403, "this page is for this machine only")
            return None
        if parts.path.startswith("/results/") and parse_qs(parts.query).get("token") != [self.token]:
            self.send_error(403, "the address lacks its token")
            return None
        return super().send_head()

    def list_directory(self, _path: Any) -> None:
        """Folders are not listed."""
        self.send_error(404)

    def end_headers(self) -> None:
        """Add the headers of every answer."""
        for name, value in ISOLATION.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *_args: Any) -> None:
        """Say nothing of each file."""


@contextmanager
def serving(
    folders: Mapping[str, Path], port: int, token: str = "", handler: type[PageHandler] = PageHandler
) -> Iterator[int]:
    """Serve folders, by the beginning of the address ("" is the page), while the block runs; gives the port.

    Port 0 takes a free one; addresses below results/ must have the token. Raises OutputError where the port is taken.
    """
    try:
        server = ThreadingHTTPServer((HOST, port), partial(handler, folders=folders, token=token))
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(
            f"port {port} cannot be used ({reason}); choose another by --port; 0 is a free one"
        ) from error
    thread = threading.Thread(target=server.serve_forever, name="page", daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
