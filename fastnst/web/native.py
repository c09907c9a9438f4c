"""A WebSocket through which the page uses this machine: its runtime for frames, and work of minutes with progress.

It listens on 127.0.0.1 alone, asks for a token that only the address of the page has, and refuses pages from elsewhere.
Text messages are JSON; a binary one is a line of JSON, a line end, and bytes. Files are named here, never by the page.

H height, W width. Frames are uint8 (H, W, 3) RGB.
"""

import json
import multiprocessing
import re
import secrets
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import parse_qs, quote, urlsplit

import numpy as np

from fastnst.backends.contract import Provider, ProviderChoice
from fastnst.errors import FastNSTError, InputError, MissingPackageError, SettingError, StyleError
from fastnst.inference.paintings import STEPS
from fastnst.inference.session import StyleSession
from fastnst.io.noise import MAX_LEVELS, with_noise
from fastnst.io.styles import find_network, installed_styles
from fastnst.machine import install_line
from fastnst.web.server import HOST
from fastnst.web.work import KINDS, MOST_TRAINING_S, Work, do

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    from websockets.http11 import Request, Response
    from websockets.sync.server import ServerConnection

Message: TypeAlias = dict[str, Any]
Send: TypeAlias = Callable[[Mapping[str, Any]], None]

MOST_MESSAGE = 64 << 20
"""Bytes of one message: a frame of 4096 x 4096, or a part of a file."""

MOST_UPLOAD = 16 << 30
MOST_SIDE = 8192
_SUFFIX = re.compile(r"\.[a-z0-9]{1,5}")
_FILM_SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm"})


@dataclass(frozen=True)
class NativeOptions:
    """What the command line says of work for the page."""

    folder: Path
    """Where results go."""

    provider: ProviderChoice = "auto"
    threads: int | None = None
    styles: Mapping[str, Path] = field(default_factory=dict)
    """ONNX files by the names the page has for them; beside all that are installed."""

    content: Path | None = None
    """Photographs that trainings learn from."""

    def known(self) -> dict[str, Path]:
        """All networks that the page may name; those that were trained meanwhile are among them."""
        return {**installed_styles(), **self.styles}


class Uploads:
    """Files that the page sends, in a folder that goes with the server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: dict[str, tuple[Path, int]] = {}

    def begin(self, name: str, size: int) -> str:
        """Make room for a file; returns its number. Of the name only the ending is used."""
        if not 0 < size <= MOST_UPLOAD:
            raise InputError(f"a file of {size:,} bytes; expected at most {MOST_UPLOAD:,}")
        number = secrets.token_hex(8)
        suffix = Path(name).suffix.lower()
        path = self.folder / f"{number}{suffix if _SUFFIX.fullmatch(suffix) else ''}"
        path.touch()
        self._files[number] = path, size
        return number

    def append(self, number: str, content: bytes) -> int:
        """Add to a file; returns the bytes that are there."""
        path, size = self._files.get(number) or _refuse("no such upload")
        have = path.stat().st_size + len(content)
        if have > size:
            raise InputError(f"{have:,} bytes of a file of {size:,}")
        with path.open("ab") as file:
            file.write(content)
        return have

    def whole(self, number: str) -> Path:
        """The file, once all of it has come."""
        path, size = self._files.get(number) or _refuse("no such upload")
        if path.stat().st_size != size:
            raise InputError("the file has not come whole")
        return path


def _refuse(words: str) -> Any:
    raise InputError(words)


class FramePainter:
    """Paints the frames of one connection."""

    def __init__(self, options: NativeOptions) -> None:
        self._options = options
        self._session: StyleSession | None = None
        self._prefer: Provider | None = None

    def open(self, network: str, content: bytes | None, folder: Path) -> Message:
        """Open a network by its name, or one that was sent; returns what the page should know of it."""
        styles = self._options.known()
        if content is not None:
            path = folder / f"{secrets.token_hex(8)}.onnx"
            path.write_bytes(content)
        elif network in styles:
            path = styles[network]
        else:
            return {"unknown": True}
        options = self._options
        session = StyleSession(path, provider=options.provider, threads=options.threads, prefer=self._prefer)
        self.close()
        self._session, self._prefer = session, session.choice.provider
        contract = {
            "layout": "nhwc-uint8",
            "stride": 1,
            "least": 1,
            "styles": list(session.style_names),
            "mixes": session.styles > 1,
            "strength": session.takes_strength,
            "inputNoise": session.input_noise,
            "style": session.style,
        }
        precision = session.choice.precision
        words = session.choice.provider if precision == "float32" else f"{session.choice.provider} in {precision}"
        return {"contract": contract, "words": f"this machine ({words})"}

    def paint(self, head: Message, pixels: bytes) -> bytes:
        """Paint a frame of RGB bytes."""
        if self._session is None:
            raise StyleError("no network is open")
        height, width = int(head["height"]), int(head["width"])
        if not (0 < height <= MOST_SIDE and 0 < width <= MOST_SIDE) or len(pixels) != 3 * height * width:
            raise InputError(f"{len(pixels)} bytes for a frame of {width} x {height}")
        noise = float(head.get("inputNoise") or 0)
        if not 0 <= noise <= MAX_LEVELS:
            raise SettingError(f"input noise of {noise:g} levels; expected 0 to {MAX_LEVELS:g}")
        frame = with_noise(np.frombuffer(pixels, np.uint8).reshape(height, width, 3), noise)
        weights = head.get("weights") if self._session.styles > 1 else None
        strength = float(head["strength"]) if self._session.takes_strength else None
        return self._session(frame, style_weights=weights, strength=strength).tobytes()

    def close(self) -> None:
        """Give the network's memory back."""
        if self._session is not None:
            self._session.close()


class WorkRunner:
    """The work that runs, at most one piece at a time, and what becomes of it."""

    def __init__(self, options: NativeOptions, uploads: Uploads, token: str) -> None:
        self._options, self._uploads, self._token = options, uploads, token
        self._lock = threading.Lock()
        self._process: BaseProcess | None = None
        self._job = ""

    def start(self, request: Message, send: Send) -> None:
        """Begin a piece of work; `send` is told how far it is."""
        work = self._described(request)
        with self._lock:
            if self._process is not None:
                raise InputError("something is being worked on; wait for it, or stop it")
            context = multiprocessing.get_context("spawn")
            ours, theirs = context.Pipe(duplex=False)
            self._process = context.Process(target=_in_process, args=(work, theirs), name="fastnst work")
            self._process.start()
            theirs.close()
            self._job = secrets.token_hex(4)
        watcher = threading.Thread(
            target=self._watch, args=(self._job, self._process, ours, work, send), name="work", daemon=True
        )
        send({"job": self._job, "kind": work.kind, "share": 0.0, "words": "starting"})
        watcher.start()

    def stop(self) -> None:
        """End what is worked on."""
        with self._lock:
            if self._process is not None:
                self._process.terminate()

    def _watch(self, job: str, process: "BaseProcess", pipe: Any, work: Work, send: Send) -> None:
        ended = False
        try:
            while True:
                told = pipe.recv()
                ended |= "done" in told or "error" in told
                extra = self._result(work) if "done" in told else {}
                if ended:
                    self._finish(process)
                with suppress(Exception):  # the page is closed: the work goes on
                    send({"job": job, "kind": work.kind, **told, **extra})
        except EOFError:
            self._finish(process)
            if not ended:
                with suppress(Exception):
                    send({"job": job, "kind": work.kind, "error": "stopped"})

    def _finish(self, process: "BaseProcess") -> None:
        process.join(10)
        with self._lock:
            self._process = None

    def _result(self, work: Work) -> Message:
        if work.kind == "train":
            return {"style": work.output.stem}
        return {"file": work.output.name, "result": f"/results/{quote(work.output.name)}?token={self._token}"}

    def _described(self, request: Message) -> Work:
        """Check what the page asks for."""
        kind = request.get("kind")
        if kind not in KINDS:
            raise SettingError(f"work {kind!r}; expected one of {', '.join(KINDS)}")
        source = self._uploads.whole(str(request.get("upload")))
        quality = request.get("quality") or "draft"
        if quality not in STEPS:
            raise SettingError(f"quality {quality!r}; expected one of {', '.join(STEPS)}")
        seconds = float(request.get("seconds") or 60)
        if not 10 <= seconds <= MOST_TRAINING_S:
            raise SettingError(f"a training of {seconds:g} s; expected 10 to {MOST_TRAINING_S}")
        self._options.folder.mkdir(parents=True, exist_ok=True)
        suffix = {"train": ".onnx", "film": _film_suffix(source)}.get(kind, ".png")
        return Work(
            kind=kind,
            source=source,
            output=_free(self._options.folder, _stem(str(request.get("name") or kind)), suffix),
            style=self._style(str(request.get("style") or "")) if kind != "train" else "",
            quality=quality,
            strength=float(request.get("strength", 1.0)),
            input_noise="auto" if request.get("inputNoise") is None else float(request["inputNoise"]),
            preserve_color=bool(request.get("keepColors")),
            seconds=seconds,
            content=self._options.content,
            provider=self._options.provider,
            threads=self._options.threads,
        )

    def _style(self, named: str) -> str:
        """A style of those that the page has: no path of the page's own making."""
        network, at, mix = named.partition("@")
        styles = self._options.known()
        if network not in styles:
            raise StyleError(f"no style {network!r} on this machine; styles that were dropped paint in the page only")
        return f"{styles[network]}{at}{mix}"


def _in_process(work: Work, pipe: Any) -> None:
    do(work, pipe.send)
    pipe.close()


def _film_suffix(source: Path) -> str:
    return source.suffix if source.suffix in _FILM_SUFFIXES else ".mp4"


def _stem(name: str) -> str:
    """A file's name made of what the page calls it: letters, digits, - and _ of it alone."""
    return re.sub(r"[^\w-]+", "-", Path(name.replace("\\", "/")).stem)[:60].strip("-_") or "result"


def _free(folder: Path, stem: str, suffix: str) -> Path:
    """A name that nothing has yet."""
    names = [stem, *(f"{stem}-{number}" for number in range(2, 10_000))]
    taken = installed_styles() if suffix == ".onnx" else {}
    for name in names:
        path = folder / f"{name}{suffix}"
        if not path.exists() and not path.with_suffix("").exists() and name not in taken:
            return path
    raise InputError(f"{folder}: ten thousand results are called {stem}; remove some")


@contextmanager
def serving_native(page: str, options: NativeOptions, token: str) -> Iterator[int]:
    """Listen while the block runs, to the page at one address alone, which must have the token; gives the port.

    Raises MissingPackageError.
    """
    try:
        from websockets.sync.server import serve  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MissingPackageError(f"--native needs websockets; {install_line('web')}") from error
    port = urlsplit(page).port
    origins = [f"http://{name}:{port}" for name in (HOST, "localhost")]
    with tempfile.TemporaryDirectory(prefix="fastnst-uploads-") as folder:
        uploads = Uploads(Path(folder))
        workshop = WorkRunner(options, uploads, token)
        handler = partial(_converse, options=options, uploads=uploads, workshop=workshop)
        with serve(
            handler,
            HOST,
            0,
            origins=origins,  # type: ignore[arg-type] # its words for strings
            process_request=partial(_check_token, token=token),
            max_size=MOST_MESSAGE,
            compression=None,
        ) as server:
            thread = threading.Thread(target=server.serve_forever, name="native", daemon=True)
            thread.start()
            try:
                yield server.socket.getsockname()[1]
            finally:
                workshop.stop()
                server.shutdown()
                thread.join()


def _check_token(connection: "ServerConnection", request: "Request", *, token: str) -> "Response | None":
    given = parse_qs(urlsplit(request.path).query).get("token", [""])[0]
    if secrets.compare_digest(given.encode(), token.encode()):
        return None
    return connection.respond(HTTPStatus.FORBIDDEN, "the address lacks its token\n")


def _converse(
    connection: "ServerConnection", *, options: NativeOptions, uploads: Uploads, workshop: WorkRunner
) -> None:
    """Answer the messages of one connection."""
    painter = FramePainter(options)

    def send(told: Mapping[str, Any]) -> None:
        connection.send(json.dumps(told))

    try:
        for message in connection:
            try:
                answer = _answer(message, painter, uploads, workshop, send)
            except FastNSTError as error:
                answer = {"error": str(error)}
            except (KeyError, TypeError, ValueError, OverflowError):
                answer = {"error": "a message that is none of the page's"}
            if isinstance(answer, bytes):
                connection.send(answer)
            elif answer is not None:
                send(answer)
    finally:
        painter.close()


def _answer(
    message: str | bytes, painter: FramePainter, uploads: Uploads, workshop: WorkRunner, send: Send
) -> Message | bytes | None:
    line, _, content = (message, "", b"") if isinstance(message, str) else message.partition(b"\n")
    asked = json.loads(line)
    match asked["do"]:
        case "paint":
            return painter.paint(asked, content)
        case "open":
            return painter.open(str(asked["network"]), content or None, uploads.folder)
        case "upload":
            return {"upload": uploads.begin(str(asked["name"]), int(asked["size"]))}
        case "part":
            return {"have": uploads.append(str(asked["upload"]), content)}
        case "start":
            workshop.start(asked, send)
            return None
        case "stop":
            workshop.stop()
            return None
        case other:
            raise SettingError(f"{other!r} is nothing that can be asked for")


def named_styles(styles: Sequence[str]) -> dict[str, Path]:
    """The networks of a page that shows these styles, by its names for them."""
    return {Path(style).stem: find_network(style) for style in styles}
