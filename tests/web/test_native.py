"""This machine's runtime for the page: frames, films and what is refused."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest

from fastnst.inference.effects import Effects
from fastnst.inference.stylizer import Stylizer
from fastnst.io.noise import with_noise
from fastnst.web.native import NativeOptions, named_styles, serving_native
from fastnst.web.work import Work, do

sync = pytest.importorskip("websockets.sync.client", reason="pip install websockets")
websockets = pytest.importorskip("websockets.exceptions")

PAGE = "http://127.0.0.1:8090"
TOKEN = "a-token"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("native") / "results"


@pytest.fixture(scope="module")
def port(results: Path) -> Iterator[int]:
    options = NativeOptions(results, "cpu", 1, named_styles(["starry-live", "gallery"]))
    with serving_native(f"{PAGE}/", options, TOKEN) as opened:
        yield opened


def connect(port: int, token: str = TOKEN, origin: str | None = PAGE) -> Any:
    return sync.connect(f"ws://127.0.0.1:{port}/?token={token}", origin=origin, max_size=None, compression=None)


def ask(connection: Any, what: dict[str, Any], content: bytes | None = None) -> Any:
    line = json.dumps(what)
    connection.send(line if content is None else line.encode() + b"\n" + content)
    answer = connection.recv(timeout=60)
    return json.loads(answer) if isinstance(answer, str) else answer


@pytest.mark.parametrize(
    ("token", "origin"),
    [
        (TOKEN, "http://evil.example"),
        (TOKEN, "http://127.0.0.1:8091"),
        (TOKEN, "https://127.0.0.1:8090"),
        (TOKEN, "null"),
        (TOKEN, None),
        ("guessed", PAGE),
        ("", PAGE),
    ],
)
def test_pages_from_elsewhere_and_without_the_token_are_refused(port: int, token: str, origin: str | None) -> None:
    with pytest.raises(websockets.InvalidStatus, match="HTTP 403"):
        connect(port, token, origin)


def test_frames_are_painted_as_by_the_command_line(port: int) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    with connect(port) as connection:
        opened = ask(connection, {"do": "open", "network": "starry-live"})
        assert (opened["words"], opened["contract"]["strength"]) == ("this machine (cpu)", False)
        size = {"width": 90, "height": 70}
        painted = ask(connection, {"do": "paint", **size, "weights": None, "strength": 1}, frame.tobytes())
        with Stylizer("starry-live", Effects(input_noise=0), provider="cpu") as stylizer:
            np.testing.assert_array_equal(np.frombuffer(painted, np.uint8).reshape(frame.shape), stylizer(frame))
            noisy = ask(connection, {"do": "paint", **size, "strength": 1, "inputNoise": 12}, frame.tobytes())
            expected = stylizer(with_noise(frame, 12))
            np.testing.assert_array_equal(np.frombuffer(noisy, np.uint8).reshape(frame.shape), expected)
        loud = ask(connection, {"do": "paint", **size, "inputNoise": 65}, frame.tobytes())
        assert loud == {"error": "input noise of 65 levels; expected 0 to 64"}
        wrong = ask(connection, {"do": "paint", "width": 9, "height": 9, "weights": None, "strength": 1}, b"abc")
        assert wrong == {"error": "3 bytes for a frame of 9 x 9"}
        assert "unknown" in ask(connection, {"do": "open", "network": "../../etc/passwd"})


def test_a_network_that_is_sent_is_checked(port: int) -> None:
    with connect(port) as connection:
        assert "not a readable ONNX" in ask(connection, {"do": "open", "network": "own"}, b"nothing")["error"]


@pytest.mark.parametrize("message", ["{", "[]", '{"do": 3}', '{"do": "format"}', '{"do": "part", "upload": "x"}'])
def test_messages_that_are_none_of_the_pages(port: int, message: str) -> None:
    with connect(port) as connection:
        connection.send(message)
        assert "error" in json.loads(connection.recv(timeout=60))
        assert "upload" in ask(connection, {"do": "upload", "name": "x", "size": 1})  # it goes on


def test_more_than_was_announced_is_refused(port: int) -> None:
    with connect(port) as connection:
        upload = ask(connection, {"do": "upload", "name": "a.png", "size": 3})["upload"]
        assert ask(connection, {"do": "part", "upload": upload}, b"ab") == {"have": 2}
        assert ask(connection, {"do": "part", "upload": upload}, b"cd") == {"error": "4 bytes of a file of 3"}
        started = ask(connection, {"do": "start", "kind": "picture", "upload": upload, "style": "starry-live"})
        assert started == {"error": "the file has not come whole"}


def write_film(path: Path) -> None:
    """Six frames of 64 x 48 and a tone."""
    with av.open(str(path), "w") as container:
        video, audio = container.add_stream("libx264", 12), container.add_stream("aac", 48000)
        assert isinstance(video, av.VideoStream)
        assert isinstance(audio, av.AudioStream)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for step in range(6):
            picture = np.full((48, 64, 3), 40 * step, np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        tone = np.sin(np.arange(24000, dtype=np.float32) / 20)[None]
        for place in range(0, 23552, 1024):
            sound = av.AudioFrame.from_ndarray(tone[:, place : place + 1024], format="fltp", layout="mono")
            sound.sample_rate, sound.pts = 48000, place
            container.mux(audio.encode(sound))
        container.mux(video.encode())
        container.mux(audio.encode())


@pytest.mark.slow
def test_a_film_with_its_sound(port: int, results: Path, tmp_path: Path) -> None:
    write_film(tmp_path / "film.mp4")
    content = (tmp_path / "film.mp4").read_bytes()
    with connect(port) as connection:
        upload = ask(connection, {"do": "upload", "name": "film.mp4", "size": len(content)})["upload"]
        assert ask(connection, {"do": "part", "upload": upload}, content) == {"have": len(content)}
        hostile = {"name": "../../../film.mp4", "style": "starry-live"}
        started = ask(connection, {"do": "start", "kind": "film", "upload": upload, **hostile})
        assert started["words"] == "starting"
        told = started
        ends = time.monotonic() + 120
        while "done" not in told and time.monotonic() < ends:
            told = json.loads(connection.recv(timeout=120))
            assert "error" not in told
    assert told["result"] == f"/results/film.mp4?token={TOKEN}"
    with av.open(str(results / "film.mp4")) as film:
        assert [stream.type for stream in film.streams] == ["video", "audio"]
        assert sum(1 for _ in film.decode(video=0)) == 6


def test_styles_qualities_and_kinds_that_are_none(port: int, tmp_path: Path) -> None:
    with connect(port) as connection:
        upload = ask(connection, {"do": "upload", "name": "a.png", "size": 1})["upload"]
        ask(connection, {"do": "part", "upload": upload}, b"x")
        request = {"do": "start", "kind": "picture", "upload": upload, "style": str(tmp_path / "evil.onnx")}
        assert ask(connection, request)["error"].startswith("no style")
    with connect(port) as connection:
        upload = ask(connection, {"do": "upload", "name": "a.png", "size": 1})["upload"]
        ask(connection, {"do": "part", "upload": upload}, b"x")
        request = {"do": "start", "kind": "picture", "upload": upload, "style": "starry-live", "quality": "perfect"}
        assert ask(connection, request) == {"error": "quality 'perfect'; expected one of draft, good, best"}
        assert "expected one of film, picture, train" in ask(connection, {**request, "kind": "shell"})["error"]


def test_a_training_of_a_minute_starts_from_a_live_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []

    def train(settings: Any, folder: Path, **options: Any) -> Any:
        given.extend([settings, folder, options["content"]])
        return SimpleNamespace(files=None)

    monkeypatch.setattr("fastnst.training.train.train", train)
    told: list[Any] = []
    work = Work("train", tmp_path / "wave.jpg", tmp_path / "results" / "wave.onnx", seconds=60, content=tmp_path)
    do(work, told.append)
    settings, folder, content = given
    assert told == [{"error": "nothing came of the training"}]
    assert (settings.network, settings.budget_s, settings.name) == ("live", 60, "wave")
    assert settings.init_model.is_file()
    assert (folder, content) == (tmp_path / "results" / "wave", tmp_path)
