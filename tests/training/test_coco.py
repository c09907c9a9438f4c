"""COCO is fetched whole or not at all: a server of our own drops connections, ignores ranges, lies and refuses."""

import errno
import hashlib
import io
import os
import shutil
import socket
import subprocess
import sys
import threading
import zipfile
from collections import namedtuple
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
from filelock import FileLock
from rich.console import Console

from fastnst import cli
from fastnst.cli.console import content_folder
from fastnst.errors import DownloadError, SettingError
from fastnst.io import addresses
from fastnst.training import photographs
from fastnst.training.photographs import ARCHIVES, Archive, coco_folder, default_root

NAMES = ["000000000139.jpg", "000000000285.jpg", "000000000632.jpg"]
CONTENT = {name: bytes([i]) * 5000 for i, name in enumerate(NAMES)}


def tiny_zip(extra: dict[str, bytes] | None = None) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.mkdir("val2017")
        for name, content in {f"val2017/{name}": content for name, content in CONTENT.items()}.items():
            archive.writestr(name, content)
        for name, content in (extra or {}).items():
            archive.writestr(name, content)
    return packed.getvalue()


def archive_of(server: Any) -> Archive:
    url = f"http://127.0.0.1:{server.server_port}/zips/val2017.zip"
    return Archive(url, len(server.content), hashlib.sha256(server.content).hexdigest(), len(NAMES))


@pytest.fixture
def server(server: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(addresses, "PAUSES_S", (0.0, 0.0))
    monkeypatch.setattr(addresses, "CHUNK_BYTES", 1000)
    server.content = tiny_zip()
    return server


class Log:
    """What the user is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.progress: list[tuple[int, int]] = []

    def fetch(self, root: Path, archive: Archive) -> Path:
        return coco_folder(
            "val2017",
            root,
            announce=self.lines.append,
            progress=lambda done, total: self.progress.append((done, total)),
            archives={"val2017": archive},
        )


@pytest.fixture
def log() -> Log:
    return Log()


def assert_complete(folder: Path) -> None:
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == CONTENT
    left = {path.name for path in folder.parent.iterdir()} - {".val2017.lock"}  # Windows removes it, POSIX does not
    assert left == {"val2017"}


# The normal way


def test_it_says_what_is_downloaded_then_unpacks_it(server: Any, tmp_path: Path, log: Log) -> None:
    archive = Archive(archive_of(server).url, 815_585_330, archive_of(server).sha256, 5000)
    folder = log.fetch(tmp_path / "data" / "coco", archive)
    assert folder == tmp_path / "data" / "coco" / "val2017"
    assert_complete(folder)
    assert archive.url in log.lines[0]
    assert "5,000 photographs" in log.lines[0]
    assert "0.82 GB" in log.lines[0]
    assert str(folder) in log.lines[0]
    size = len(server.content)
    assert (1000, size) in log.progress
    assert (size, size) in log.progress
    assert log.progress[-1] == (15000, 15000)  # unpacked


def test_an_empty_folder_is_not_taken_for_the_pictures(server: Any, tmp_path: Path, log: Log) -> None:
    (tmp_path / "val2017").mkdir()
    assert_complete(log.fetch(tmp_path, archive_of(server)))


def test_an_archive_put_there_by_hand_is_used(tmp_path: Path, log: Log) -> None:
    content = tiny_zip()
    (tmp_path / "val2017.zip").write_bytes(content)
    archive = Archive("http://127.0.0.1:9/nobody", len(content), hashlib.sha256(content).hexdigest(), 3)
    assert_complete(log.fetch(tmp_path, archive))


def test_splits_are_cocos_over_https_and_held_to_a_sha256_sum(tmp_path: Path) -> None:
    assert sorted(ARCHIVES) == ["train2017", "val2017"]
    for split, archive in ARCHIVES.items():
        assert archive.url.startswith("https://")
        assert archive.url.endswith(f"/{split}.zip")
        assert len(bytes.fromhex(archive.sha256)) == 32
    with pytest.raises(SettingError, match="did you mean 'val2017'"):
        coco_folder("val2016", tmp_path, announce=print, progress=lambda done, total: None)


def test_the_default_place_is_data_coco_where_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert default_root().parts[-2:] != ("data", "coco")
    (tmp_path / "data" / "coco").mkdir(parents=True)
    assert default_root() == Path("data", "coco")


# Connections


def test_a_dropped_connection_goes_on_where_it_stopped(server: Any, tmp_path: Path, log: Log) -> None:
    server.drops = [3000, 4000]
    assert_complete(log.fetch(tmp_path, archive_of(server)))
    assert server.asked == [None, "bytes=3000-", "bytes=7000-"]
    assert sum("interrupted" in line for line in log.lines) == 2


def test_a_download_that_gets_further_each_time_is_not_given_up(server: Any, tmp_path: Path, log: Log) -> None:
    server.drops = [1000] * 8  # more than the two pauses allowed to one that stands still
    assert_complete(log.fetch(tmp_path, archive_of(server)))


def test_a_connection_that_stays_dead_is_an_error_and_the_next_run_goes_on(
    server: Any, tmp_path: Path, log: Log
) -> None:
    server.drops = [3000, 0, 0]
    with pytest.raises(DownloadError, match=r"ended at byte 3,000 .*go on at byte 3,000") as caught:
        log.fetch(tmp_path, archive_of(server))
    assert "\n" not in str(caught.value)
    assert len(server.asked) == 3
    assert not (tmp_path / "val2017").exists()
    again = Log()
    assert_complete(again.fetch(tmp_path, archive_of(server)))
    assert server.asked[3:] == ["bytes=3000-"]
    assert "are there" in again.lines[0]


def test_a_server_without_ranges_starts_again(server: Any, tmp_path: Path, log: Log) -> None:
    server.ranges = False
    server.drops = [3000]
    assert_complete(log.fetch(tmp_path, archive_of(server)))
    assert server.asked == [None, "bytes=3000-"]


def test_a_server_without_ranges_that_always_drops_is_given_up(server: Any, tmp_path: Path, log: Log) -> None:
    server.ranges = False
    server.drops = [3000, 2000] * 25
    with pytest.raises(DownloadError, match="go on"):
        log.fetch(tmp_path, archive_of(server))
    assert len(server.asked) < 6


def test_a_whole_part_file_is_only_moved(server: Any, tmp_path: Path, log: Log) -> None:
    (tmp_path / "val2017.zip.part").write_bytes(server.content)
    assert_complete(log.fetch(tmp_path, archive_of(server)))
    assert server.asked == [f"bytes={len(server.content)}-"]


def test_a_part_file_longer_than_the_archive_is_thrown_away(server: Any, tmp_path: Path, log: Log) -> None:
    (tmp_path / "val2017.zip.part").write_bytes(server.content + b"more")
    assert_complete(log.fetch(tmp_path, archive_of(server)))
    assert server.asked[1:] == [None]


@pytest.mark.parametrize(("status", "attempts"), [(404, 1), (503, 3)])
def test_a_refusal_is_final_an_overloaded_server_is_asked_again(
    server: Any, tmp_path: Path, log: Log, status: int, attempts: int
) -> None:
    server.status = status
    with pytest.raises(DownloadError, match=rf"val2017\.zip: the server answered {status}"):
        log.fetch(tmp_path, archive_of(server))
    assert len(server.asked) == attempts


def test_without_a_network_nobody_waits_long(tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, waited = [], []

    def unknown(request: object, timeout: float) -> None:
        asked.append(request)
        raise URLError(socket.gaierror(-3, "Temporary failure in name resolution"))

    monkeypatch.setattr(addresses, "PAUSES_S", (1.0, 2.0, 4.0))
    monkeypatch.setattr(addresses, "urlopen", unknown)
    monkeypatch.setattr(addresses.time, "sleep", waited.append)
    with pytest.raises(DownloadError, match=r"name resolution; run the command again$"):
        log.fetch(tmp_path, ARCHIVES["val2017"])
    assert (len(asked), waited) == (2, [1.0])
    (tmp_path / "val2017.zip.part").write_bytes(b"some")  # it did work before: the network may come back
    with pytest.raises(DownloadError, match=r"name resolution; run the command again to go on at byte 4$"):
        log.fetch(tmp_path, ARCHIVES["val2017"])
    assert waited == [1.0, 1.0, 2.0, 4.0]


def test_training_names_the_way_without_coco_first(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(photographs.ARCHIVES, "val2017", archive_of(server))  # type: ignore[arg-type]
    monkeypatch.setattr(photographs, "default_root", lambda: tmp_path)
    server.status = 404
    words = (
        r"^--content DIR takes a folder of your own photographs, 200 or more; COCO's val2017 could not be fetched: http"
    )
    with pytest.raises(DownloadError, match=words):
        content_folder("val2017", Console(quiet=True))


# Damage


def test_a_wrong_checksum_removes_the_file(server: Any, tmp_path: Path, log: Log) -> None:
    wrong = Archive(archive_of(server).url, len(server.content), "0" * 32, 3)
    with pytest.raises(DownloadError, match=f"expected {'0' * 32}; removed"):
        log.fetch(tmp_path, wrong)
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == []


def test_a_file_that_is_no_archive_is_an_error(server: Any, tmp_path: Path, log: Log) -> None:
    server.content = b"a page of a hotel's network"
    with pytest.raises(DownloadError, match=r"val2017\.zip: no archive of pictures"):
        log.fetch(tmp_path, archive_of(server))
    assert not (tmp_path / "val2017").exists() and not (tmp_path / "val2017.zip").exists()


def test_only_pictures_are_unpacked_and_none_outside(server: Any, tmp_path: Path, log: Log) -> None:
    root = tmp_path / "a" / "b"
    names = ["../../evil.jpg", "..\\..\\sly.jpg", "/rooted.jpg", "C:drive.jpg", "run.sh", "val2017/.hidden.jpg"]
    server.content = tiny_zip(dict.fromkeys(names, b"x"))
    log.fetch(root, archive_of(server))
    unpacked = {path.name for path in (root / "val2017").iterdir()}
    assert unpacked == {*NAMES, "evil.jpg", "sly.jpg", "rooted.jpg", "drive.jpg"}
    files = [path for path in tmp_path.rglob("*.jpg") if path.is_file()]
    assert {path.parent for path in files} == {root / "val2017"}


KILLED = """
import os, shutil, sys
from pathlib import Path
from fastnst.training.photographs import Archive, coco_folder
copy, copied = shutil.copyfileobj, []
def killed(source, to):
    if copied:
        os._exit(9)
    copied.append(copy(source, to))
shutil.copyfileobj = killed
archive = Archive(sys.argv[2], 1, sys.argv[3], 3)
coco_folder("val2017", Path(sys.argv[1]), announce=print, progress=print, archives={"val2017": archive})
"""


def test_a_killed_unpacking_is_not_taken_for_complete(server: Any, tmp_path: Path, log: Log) -> None:
    archive = archive_of(server)
    command = [sys.executable, "-c", KILLED, tmp_path, archive.url, archive.sha256]
    assert subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode == 9
    assert not (tmp_path / "val2017").exists()
    assert len(list((tmp_path / ".val2017.unpacking").iterdir())) == 2
    assert_complete(log.fetch(tmp_path, archive))
    assert len(server.asked) == 1  # by the killed one; the archive was whole


# Disks

Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize(("free", "enough"), [(2.1, True), (1.9, False)])
def test_archive_and_pictures_must_find_room(
    server: Any, tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch, free: float, enough: bool
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, int(free * len(server.content))))
    if enough:
        assert_complete(log.fetch(tmp_path, archive_of(server)))
    else:
        with pytest.raises(DownloadError, match=r"free, .*needed.*--content"):
            log.fetch(tmp_path, archive_of(server))
        assert not (tmp_path / "val2017.zip.part").exists()


def test_what_is_downloaded_already_needs_no_more_room(
    server: Any, tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "val2017.zip.part").write_bytes(server.content[:10_000])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, 2 * len(server.content) - 10_000))
    assert_complete(log.fetch(tmp_path, archive_of(server)))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_disk_full_while_downloading_is_an_error_at_once(server: Any, tmp_path: Path, log: Log) -> None:
    (tmp_path / "val2017.zip.part").symlink_to("/dev/full")
    with pytest.raises(DownloadError, match=r"val2017\.zip\.part: cannot be written \(No space left"):
        log.fetch(tmp_path, archive_of(server))
    assert len(server.asked) == 1


def test_a_disk_full_while_unpacking_keeps_the_archive(
    server: Any, tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: object, to: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(photographs.shutil, "copyfileobj", full)
        with pytest.raises(DownloadError, match=r"cannot be written \(No space left.*run the command again") as caught:
            log.fetch(tmp_path, archive_of(server))
    assert "\n" not in str(caught.value)
    assert {path.name for path in tmp_path.iterdir()} - {".val2017.lock"} == {"val2017.zip"}
    assert_complete(log.fetch(tmp_path, archive_of(server)))
    assert len(server.asked) == 1


def test_a_place_that_cannot_be_written_is_an_error(server: Any, tmp_path: Path, log: Log) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DownloadError, match=r"file.*cannot be written"):
        log.fetch(tmp_path / "file" / "coco", archive_of(server))


def test_a_second_process_waits_and_uses_the_first_ones(tmp_path: Path, log: Log) -> None:
    archive = Archive("http://127.0.0.1:9/nobody", 1, "", 3)
    with FileLock(tmp_path / ".val2017.lock"):
        waiting = threading.Event()
        results: list[Path] = []
        log.lines = Waiting(waiting)
        thread = threading.Thread(target=lambda: results.append(log.fetch(tmp_path, archive)))
        thread.start()
        assert waiting.wait(30)
        (tmp_path / "val2017").mkdir()
        (tmp_path / "val2017" / "photo.jpg").touch()
    thread.join(30)
    assert results == [tmp_path / "val2017"]
    assert "Another process" in log.lines[0]


class Waiting(list[str]):
    """Lines that set an event when one comes."""

    def __init__(self, event: threading.Event) -> None:
        super().__init__()
        self.event = event

    def append(self, line: str) -> None:
        super().append(line)
        self.event.set()


# The command


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        cli.main(["coco", *arguments])
    told = capsys.readouterr()
    return int(ended.value.code or 0), told.out.strip(), told.err


@pytest.fixture
def served(server: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setitem(photographs.ARCHIVES, "val2017", archive_of(server))  # type: ignore[arg-type]
    return server


def test_the_command_fetches_and_prints_the_folder(
    served: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    served.drops = [3000]
    status, out, said = command(capsys, "--split", "val2017", "--folder", str(tmp_path / "here"))
    assert (status, out) == (0, str(tmp_path / "here" / "val2017"))
    assert "interrupted" in said
    assert_complete(tmp_path / "here" / "val2017")
    assert command(capsys, "--folder", str(tmp_path / "here"))[:2] == (0, out)
    assert len(served.asked) == 2  # the second call found all there


def test_the_command_puts_it_where_training_looks(
    served: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data" / "coco").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert command(capsys)[:2] == (0, str(Path("data", "coco", "val2017")))
    assert content_folder("val2017", Console(quiet=True)) == Path("data", "coco", "val2017")
