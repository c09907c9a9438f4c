"""Addresses in and out, by fsspec's file system in memory; objects appear whole."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fastnst.cli import main
from fastnst.errors import InputError, MissingPackageError
from fastnst.io.addresses import delivered, fetched, is_address, list_addresses, local_stamp, source_stamp
from fastnst.io.storage import open_storage

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def pot() -> Iterator[str]:
    """An address of an empty place."""
    files = fsspec.filesystem("memory")
    files.store.clear()
    files.pseudo_dirs[:] = [""]
    yield "memory://pot"
    files.store.clear()


def test_what_is_an_address() -> None:
    assert is_address("s3://pot/a.jpg")
    assert is_address("memory://pot")
    assert not any(map(is_address, ("photos/a.jpg", "C:\\photos", "a:b", "://x", "/s3://x")))


@pytest.mark.parametrize("remote", [False, True])
def test_records_lie_in_a_folder_as_at_an_address(pot: str, tmp_path: Path, remote: bool) -> None:
    storage = open_storage(pot if remote else tmp_path / "new")
    storage.check()
    assert storage.names(".fastnst") == []
    assert storage.create("c/one", b"mine")
    assert not storage.create("c/one", b"yours")
    assert storage.read("c/one") == b"mine"
    storage.append("c/log", "first\n")
    storage.append("c/log", "second\n")
    assert storage.read("c/log", 6) == b"second\n"
    assert storage.read("c/log", 13) == storage.read("c/none") == b""
    storage.append("c/log", "no end")
    assert list(storage.lines("c/log", 6)) == [b"second\n"]
    storage.write_lines("c/lines", iter([b"1\n", b"2\n"]))
    assert list(storage.lines("c/lines")) == [b"1\n", b"2\n"]
    storage.remove("c/lines")
    storage.write("c/one", b"other")
    assert storage.read("c/one") == b"other"
    assert storage.names("c") == ["log", "one"]
    stamp = storage.stamp("c/one", fresh=True)
    assert stamp is not None and stamp.size == 5
    storage.remove("c/one")
    storage.remove("c/one")
    assert storage.stamp("c/one", fresh=True) is None


def test_objects_come_and_go_whole(pot: str, tmp_path: Path) -> None:
    with delivered(f"{pot}/out/a.txt") as path:
        path.write_text("whole")
        assert list_addresses_or_none(pot) == []
    assert list_addresses(pot) == [f"{pot}/out/a.txt"]
    with fetched(f"{pot}/out/a.txt") as path:
        assert (path.name, path.read_text()) == ("a.txt", "whole")
    with pytest.raises(ZeroDivisionError), delivered(f"{pot}/out/b.txt") as path:
        path.write_text("half")
        raise ZeroDivisionError
    assert source_stamp(f"{pot}/out/b.txt") is None
    with pytest.raises(InputError, match="no such object"), fetched(f"{pot}/gone"):
        pass
    with delivered(str(tmp_path / "c.txt")) as path:
        assert path == tmp_path / "c.txt"


def list_addresses_or_none(address: str) -> list[str]:
    try:
        return list_addresses(address)
    except InputError:
        return []


def test_an_address_of_a_kind_that_is_not_installed() -> None:
    with pytest.raises((MissingPackageError, InputError), match="nonsuch://pot/a"):
        list_addresses("nonsuch://pot/a")


def test_the_stamp_of_a_folder_is_that_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"123")
    (tmp_path / "b").write_bytes(b"45")
    stamp = local_stamp(str(tmp_path))
    assert stamp is not None and stamp.size == 5
    assert local_stamp(str(tmp_path / "gone")) is None


def put_photo(address: str, level: int, tmp_path: Path) -> None:
    Image.fromarray(np.full((6, 8, 3), level, np.uint8)).save(tmp_path / "x.png")
    fsspec.filesystem("memory").pipe_file(address, (tmp_path / "x.png").read_bytes())


def test_stylize_from_an_address_to_an_address(
    pot: str, invert: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, level in (("in/a.png", 10), ("in/deep/b.png", 20)):
        put_photo(f"/pot/{name}", level, tmp_path)
    fsspec.filesystem("memory").pipe_file("/pot/in/bad.jpg", b"bad")
    command = ["stylize", f"{pot}/in", "--style", str(invert), "-o", f"{pot}/out", "--provider", "cpu"]
    for words in ("2 pictures in", "0 pictures in"):
        with pytest.raises(SystemExit) as caught:
            main(command)
        assert caught.value.code == 1
        said = capfd.readouterr().err
        assert words in said
        assert f"failed: {pot}/in/bad.jpg: is not a picture" in said
    assert "; 2 done before; 1 failed" in said
    with fetched(f"{pot}/out/deep/b.png") as path:
        assert np.asarray(Image.open(path))[0, 0].tolist() == [235] * 3
    with pytest.raises(SystemExit):
        main(["status", f"{pot}/out"])
    assert capfd.readouterr().out.startswith(f"{pot}/out: 2 of 3 done, 1 failed, 0 left\nfailed: bad.jpg: {pot}/in/bad")
