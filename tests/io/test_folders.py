"""Which pictures files, folders and patterns mean."""

import os
from pathlib import Path

import pytest

from fastnst.errors import InputError
from fastnst.io import folders
from fastnst.io.folders import find_pictures, name_left_out, walk
from fastnst.machine import install_line


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with pictures in two depths, and what should not be taken for one."""
    for name in ("b.jpg", "a.PNG", "trip/c.jpeg", "trip/deep/d.webp", "notes.txt", ".hidden.jpg", ".trash/e.jpg"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "photos"


def relative(found: list) -> list[str]:
    return [picture.relative.as_posix() for picture in found]


def test_folder_is_searched_to_the_bottom(photos: Path) -> None:
    found = find_pictures([photos])
    assert relative(found) == ["a.PNG", "b.jpg", "trip/c.jpeg", "trip/deep/d.webp"]
    assert [picture.path for picture in found] == [photos / picture.relative for picture in found]


def test_file_is_listed_whatever_its_name(photos: Path) -> None:
    found = find_pictures([str(photos / "notes.txt"), photos / "trip" / "c.jpeg", photos / "not-there.jpg"])
    assert relative(found) == ["notes.txt", "c.jpeg", "not-there.jpg"]


def test_pattern_keeps_the_place_below_its_plain_part(photos: Path) -> None:
    assert relative(find_pictures([f"{photos}/*.jpg"])) == ["b.jpg"]
    assert relative(find_pictures([f"{photos}/**/*.*"])) == ["a.PNG", "b.jpg", "trip/c.jpeg", "trip/deep/d.webp"]
    assert relative(find_pictures([f"{photos}/**"])) == ["a.PNG", "b.jpg", "trip/c.jpeg", "trip/deep/d.webp"]
    assert relative(find_pictures([f"{photos}/t*"])) == ["trip/c.jpeg", "trip/deep/d.webp"]


def test_relative_pattern(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos)
    assert relative(find_pictures(["*.jpg", "trip/*/*.webp"])) == ["b.jpg", "deep/d.webp"]


def test_file_with_brackets_in_its_name_is_no_pattern(tmp_path: Path) -> None:
    (tmp_path / "a[1].jpg").touch()
    assert relative(find_pictures([tmp_path / "a[1].jpg"])) == ["a[1].jpg"]


def test_nothing_is_listed_twice(photos: Path) -> None:
    found = find_pictures([photos / "b.jpg", photos, f"{photos}/../photos/*.jpg"])
    assert relative(found) == ["b.jpg", "a.PNG", "trip/c.jpeg", "trip/deep/d.webp"]


def test_earlier_results_inside_the_folder_are_skipped(photos: Path) -> None:
    assert relative(find_pictures([photos], skip=photos / "trip")) == ["a.PNG", "b.jpg"]
    assert relative(find_pictures([f"{photos}/**"], skip=photos / "trip")) == ["a.PNG", "b.jpg"]
    assert relative(find_pictures([f"{photos}/*"], skip=photos / "trip")) == ["a.PNG", "b.jpg"]
    # The searched folder itself, or one above it, is no place of results only.
    assert len(find_pictures([photos], skip=photos)) == 4
    assert len(find_pictures([f"{photos}/**"], skip=photos)) == 4
    assert len(find_pictures([photos / "trip"], skip=photos)) == 2


def test_folder_and_pattern_without_pictures(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match="no pictures in this folder"):
        find_pictures([tmp_path])
    with pytest.raises(InputError, match="no picture matches"):
        find_pictures([f"{tmp_path}/*.jpg"])


@pytest.mark.skipif(os.name == "nt", reason="needs a right on Windows")
def test_links_in_a_circle_end(photos: Path) -> None:
    (photos / "trip" / "back").symlink_to(photos)
    assert len(find_pictures([photos])) == 4
    places = [os.path.realpath(place) for place, _, _ in walk(photos)]
    assert len(places) == len(set(places))


@pytest.mark.skipif(os.name == "nt", reason="needs a right on Windows")
def test_linked_folders_are_followed(photos: Path, tmp_path: Path) -> None:
    album = tmp_path / "album"
    album.mkdir()
    (album / "linked").symlink_to(photos / "trip")
    assert relative(find_pictures([album])) == ["linked/c.jpeg", "linked/deep/d.webp"]
    assert [place.relative_to(album).as_posix() for place, _, _ in walk(album)] == [".", "linked", "linked/deep"]


def test_pictures_that_are_not_read_are_counted_and_named(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "READ_SUFFIXES", folders.READ_SUFFIXES - {".heic"})
    monkeypatch.setattr(folders, "_NOT_READ", folders._NOT_READ | {".heic"})
    for name in ("x.HEIC", "y.heic", "z.CR2"):
        (photos / name).touch()
    left_out: list[Path] = []
    assert len(find_pictures([photos], left_out=left_out)) == 4
    assert name_left_out(left_out) == [
        f"2 HEIC files are left out, {photos / 'x.HEIC'} first; {install_line('heif')} lets them be read",
        f"1 raw file is left out, {photos / 'z.CR2'}; export them as TIFF, PNG or JPEG",
    ]
    for name in ("a.PNG", "b.jpg"):
        (photos / name).unlink()
    with pytest.raises(InputError, match=r"no pictures in this folder; 2 HEIC files are left out, .*pip install"):
        find_pictures([photos / "trip" / "..", photos], skip=photos / "trip")


def test_an_empty_name_is_not_the_working_folder() -> None:
    with pytest.raises(InputError, match="one of the names is empty"):
        find_pictures(["a.png", ""])


@pytest.mark.parametrize("head", [b"\0\0\0\x18ftypisom", b"\x1a\x45\xdf\xa3", b"RIFF\0\0\0\0AVI "])
def test_a_folder_of_films_is_said(head: bytes, tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "clip").write_bytes(head + bytes(40))
    (tmp_path / "a.txt").write_text("no film")
    with pytest.raises(InputError, match=r"no pictures in this folder; .*clip is a film; fastnst video stylizes films"):
        find_pictures([tmp_path])
    (tmp_path / "below" / "clip").write_text("no film")
    with pytest.raises(InputError, match=r"no pictures in this folder$"):
        find_pictures([tmp_path])
