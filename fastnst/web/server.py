"""The page on this machine: files of a site under 127.0.0.1, with the headers that threads in WebAssembly need."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from fastnst.errors import OutputError

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
    """Serve folders while the block runs; gives the port.

    Args:
        folders: by the beginning of the address; "" is the page.
        port: 0 takes a free one.
        token: that addresses below results/ must have.
        handler: what answers.

    Raises OutputError where the port is taken.
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
