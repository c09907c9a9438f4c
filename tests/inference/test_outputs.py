"""Where each result goes, and what is refused before any work."""

import os
from pathlib import Path

import pytest

from fastnst.errors import OutputError
from fastnst.inference.outputs import plan_outputs


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("a.jpg", "b.GIF", "trip/a.png", "trip/noname"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "photos"


def test_one_photo_to_one_file(photos: Path, tmp_path: Path) -> None:
    (job,) = plan_outputs([photos / "a.jpg"], tmp_path / "new" / "out.png")
    assert (job.source, job.output) == (photos / "a.jpg", tmp_path / "new" / "out.png")


def test_one_photo_to_a_folder(photos: Path, tmp_path: Path) -> None:
    (job,) = plan_outputs([photos / "a.jpg"], tmp_path / "new")
    assert job.output == tmp_path / "new" / "a.jpg"
    (tmp_path / "folder.v2.png").mkdir()
    (job,) = plan_outputs([photos / "a.jpg"], tmp_path / "folder.v2.png")
    assert job.output == tmp_path / "folder.v2.png" / "a.jpg"


def test_folder_is_mirrored_and_what_is_not_written_becomes_png(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.v2"
    jobs = plan_outputs([photos, photos / "trip" / "noname"], out)
    assert [job.output for job in jobs] == [out / "a.jpg", out / "b.png", out / "trip" / "a.png", out / "noname.png"]


def test_one_file_for_many_is_refused(photos: Path, tmp_path: Path) -> None:
    for given in ([photos], [photos / "a.jpg", photos / "b.GIF"], [photos / "trip"]):
        with pytest.raises(OutputError, match=r"one file, but . picture.*name a folder"):
            plan_outputs(given, tmp_path / "out.png")


def test_pattern_that_means_one_photo_goes_to_one_file(photos: Path, tmp_path: Path) -> None:
    (job,) = plan_outputs([f"{photos}/*.jpg"], tmp_path / "out.png")
    assert job.output == tmp_path / "out.png"


def test_unknown_suffix_and_a_file_in_place_of_the_folder(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"suffix '\.gif'; expected one of"):
        plan_outputs([photos / "a.jpg"], tmp_path / "out.gif")
    (tmp_path / "out").touch()
    with pytest.raises(OutputError, match="is a file; expected a folder"):
        plan_outputs([photos], tmp_path / "out")


def test_two_photos_for_one_output(photos: Path, tmp_path: Path) -> None:
    (photos / "b.png").touch()
    (tmp_path / "a.png").touch()
    with pytest.raises(OutputError, match=r"b\.png: both .*b\.GIF and .*b\.png would be written there"):
        plan_outputs([photos], tmp_path / "out")
    with pytest.raises(OutputError, match="both"):
        plan_outputs(
            [photos / "trip" / "a.png", tmp_path / "a.png"],
            tmp_path / "out",
        )


def test_existing_outputs_are_kept_without_overwrite(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.jpg").touch()
    with pytest.raises(OutputError, match=r"a\.jpg: is there already; --overwrite"):
        plan_outputs([photos], out)
    (out / "b.png").touch()
    with pytest.raises(OutputError, match=r"2 files are there already, .*a\.jpg first"):
        plan_outputs([photos], out)
    assert len(plan_outputs([photos], out, overwrite=True)) == 3


def test_a_photo_is_never_its_own_output(photos: Path) -> None:
    for given, output in (([photos / "a.jpg"], photos / "a.jpg"), ([photos], photos), ([photos / "a.jpg"], photos)):
        with pytest.raises(OutputError, match="is one of the photos"):
            plan_outputs(given, output, overwrite=True)


@pytest.mark.skipif(os.name == "nt", reason="needs a right on Windows")
def test_nor_through_a_link(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(photos)
    with pytest.raises(OutputError, match="is one of the photos"):
        plan_outputs([photos], tmp_path / "link", overwrite=True)


@pytest.mark.skipif(os.name == "nt", reason="needs a right on Windows")
def test_nor_the_output_of_another_photo(photos: Path, tmp_path: Path) -> None:
    # trip/a.png would be written over photos/a.png, which is to be painted too, under the name of a link to it.
    (photos / "a.png").touch()
    (tmp_path / "link.png").symlink_to(photos / "a.png")
    with pytest.raises(OutputError, match="is one of the photos"):
        plan_outputs([photos / "trip" / "a.png", tmp_path / "link.png"], photos, overwrite=True)


def test_results_inside_the_photos_folder_are_not_painted_again(photos: Path) -> None:
    out = photos / "painted"
    out.mkdir()
    (out / "a.jpg").touch()
    jobs = plan_outputs([photos], out, overwrite=True)
    assert [job.source.name for job in jobs] == ["a.jpg", "b.GIF", "a.png"]
    assert jobs[0].source == photos / "a.jpg"


def test_nothing_given(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no photos"):
        plan_outputs([], tmp_path)
