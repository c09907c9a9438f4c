"""Many pictures: where each result goes, what is refused before any work; a bad one costs only itself."""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from fastnst.batch.jobs import BatchPlan, refuse_existing, result_of
from fastnst.batch.run import Attempt, BatchRun, BatchTally, Task
from fastnst.errors import InputError, OutputError
from fastnst.inference.batch import plan_pictures, reduce_picture, stylize_file
from fastnst.inference.stylizer import Stylizer
from fastnst.io.images import Frame, Picture, read_picture


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("a.jpg", "b.GIF", "trip/a.png", "trip/noname"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "photos"


def named(photos: Sequence[str | Path], output: Path) -> list[tuple[Path, Path]]:
    """Photos and what is written of them."""
    plan = plan_pictures(photos, output)
    return [(Path(job.source), Path(result_of(plan.output, job))) for job in plan.jobs]


def test_where_one_photo_goes(tree: Path, tmp_path: Path) -> None:
    (found,) = named([tree / "a.jpg"], tmp_path / "new" / "out.png")
    assert found == (tree / "a.jpg", tmp_path / "new" / "out.png")
    ((_, output),) = named([tree / "a.jpg"], tmp_path / "new")
    assert output == tmp_path / "new" / "a.jpg"
    (tmp_path / "folder.v2.png").mkdir()
    ((_, output),) = named([tree / "a.jpg"], tmp_path / "folder.v2.png")
    assert output == tmp_path / "folder.v2.png" / "a.jpg"
    ((_, output),) = named([f"{tree}/*.jpg"], tmp_path / "out.png")
    assert output == tmp_path / "out.png"


def test_folder_is_mirrored_and_what_is_not_written_becomes_png(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.v2"
    found = named([tree, tree / "trip" / "noname"], out)
    expected = ["a.jpg", "b.png", "trip/a.png", "noname.png"]
    assert [output for _, output in found] == [out / name for name in expected]


def test_unknown_suffix_a_file_in_place_of_the_folder_and_no_photo(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"suffix '\.gif'; expected one of"):
        plan_pictures([tree / "a.jpg"], tmp_path / "out.gif")
    (tmp_path / "out").touch()
    with pytest.raises(OutputError, match="is a file; expected a folder"):
        plan_pictures([tree], tmp_path / "out")
    with pytest.raises(OutputError, match="no photos"):
        plan_pictures([], tmp_path)


def test_two_photos_for_one_output(tree: Path, tmp_path: Path) -> None:
    (tree / "b.png").touch()
    (tmp_path / "a.png").touch()
    with pytest.raises(OutputError, match=r"b\.png: both .*b\.GIF and .*b\.png would be written there"):
        plan_pictures([tree], tmp_path / "out")
    with pytest.raises(OutputError, match="both"):
        plan_pictures(
            [tree / "trip" / "a.png", tmp_path / "a.png"],
            tmp_path / "out",
        )


def test_outputs_that_are_refused(tree: Path, tmp_path: Path) -> None:
    for given, output in (([tree / "a.jpg"], tree / "a.jpg"), ([tree], tree), ([tree / "a.jpg"], tree)):
        with pytest.raises(OutputError, match="is one of the photos"):
            plan_pictures(given, output)
    for given in ([tree], [tree / "a.jpg", tree / "b.GIF"], [tree / "trip"]):
        with pytest.raises(OutputError, match=r"one file, but . picture.*name a folder"):
            plan_pictures(given, tmp_path / "out.png")
    (tmp_path / "out.png").touch()
    with pytest.raises(OutputError, match=r"out\.png: already exists; --overwrite"):
        refuse_existing(plan_pictures([tree / "a.jpg"], tmp_path / "out.png"))


@pytest.mark.skipif(os.name == "nt", reason="needs a right on Windows")
def test_nor_through_a_link(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tree)
    with pytest.raises(OutputError, match="is one of the photos"):
        plan_pictures([tree], tmp_path / "link")


@pytest.mark.skipif(os.name == "nt", reason="needs a right on Windows")
def test_nor_the_output_of_another_photo(tree: Path, tmp_path: Path) -> None:
    # trip/a.png would be written over photos/a.png, which is to be painted too, under the name of a link to it.
    (tree / "a.png").touch()
    (tmp_path / "link.png").symlink_to(tree / "a.png")
    with pytest.raises(OutputError, match="is one of the photos"):
        plan_pictures([tree / "trip" / "a.png", tmp_path / "link.png"], tree)


def test_results_inside_the_photos_folder_are_not_painted_again(tree: Path) -> None:
    out = tree / "painted"
    out.mkdir()
    (out / "a.jpg").touch()
    assert [photo for photo, _ in named([tree], out)] == [tree / "a.jpg", tree / "b.GIF", tree / "trip" / "a.png"]


def invert_frame(frame: Frame, /) -> Frame:
    return 255 - frame


def noise(height: int, width: int) -> Frame:
    return np.random.default_rng(height * width).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """What a folder holds in life: good pictures of odd kinds and files that are none."""
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    Image.fromarray(noise(20, 30)).save(folder / "1 rgb.png")
    Image.fromarray(noise(20, 30)).save(folder / "2 truncated.jpg")
    whole = (folder / "2 truncated.jpg").read_bytes()
    (folder / "2 truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "3 text.jpg").write_text("no picture")
    Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30) * 100).save(folder / "4 deep.png")
    Image.fromarray(noise(20, 30)).convert("CMYK").save(folder / "5 cmyk.jpg")
    Image.fromarray(np.dstack((noise(20, 30), noise(20, 30)[..., 0]))).save(folder / "sub" / "6 alpha.png")
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(noise(20, 30)).save(folder / "sub" / "7 turned.jpg", exif=exif)
    Image.new("RGB", (30, 20), "red").save(
        folder / "8 moving.gif", save_all=True, append_images=[Image.new("RGB", (30, 20))]
    )
    return folder


def stylize_all(
    stylize: Callable[[Frame], Frame], plan: BatchPlan, seen: list[Attempt] | None = None, *, overwrite: bool = False
) -> BatchTally:
    def work(tasks: Iterator[Task]) -> Iterator[Attempt]:
        return (Attempt(task, partial(stylize_file, stylize, task)) for task in tasks)

    with BatchRun(plan._replace(alone=overwrite), {}, work, overwrite=overwrite) as batch:
        for attempt in batch:
            with attempt:
                attempt.notes = attempt.do()
            if seen is not None:
                seen.append(attempt)
    return batch.tally


def test_folder_of_everything(photos: Path, invert: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    seen: list[Attempt] = []
    with Stylizer(invert, provider="cpu", threads=1) as stylizer:
        tally = stylize_all(stylizer, plan_pictures([photos], out), seen)
    written = ["1 rgb.png", "4 deep.png", "5 cmyk.jpg", "8 moving.png", "sub/6 alpha.png", "sub/7 turned.jpg"]
    made = (path.relative_to(out).as_posix() for path in out.rglob("*.*") if path.suffix in {".png", ".jpg"})
    assert sorted(made) == written
    assert tally.done == len(written)
    assert [Path(each.task.job.source).name for each in tally.failures] == ["2 truncated.jpg", "3 text.jpg"]
    assert all(isinstance(each.outcome.error, InputError) for each in tally.failures)
    noted = [each.task.job.name for each in seen if any("animated" in note for note in each.notes)]
    assert noted == ["8 moving.png"]
    for each in seen:
        if each.outcome.error is None:
            photo, painted = read_picture(each.task.job.source), read_picture(each.task.output)
            assert each.outcome.size == Path(each.task.output).stat().st_size
            assert painted.frame.shape == photo.frame.shape
            tolerance = 40 if painted.format == "JPEG" else 0
            assert np.abs(painted.frame.astype(int) - (255 - photo.frame)).max() <= tolerance
            if photo.alpha is not None:
                np.testing.assert_array_equal(painted.alpha, photo.alpha)
    assert tally.elapsed_s > 0


def test_what_the_network_does_not_paint_stays(tmp_path: Path) -> None:
    alpha = np.arange(1, 25, dtype=np.uint8).reshape(4, 6)
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "a"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    photo = Image.fromarray(np.dstack((noise(4, 6), alpha)))
    photo.save(tmp_path / "in.png", icc_profile=profile, exif=exif)
    assert not stylize_all(invert_frame, plan_pictures([tmp_path / "in.png"], tmp_path / "out.png")).failed
    photo, painted = (read_picture(tmp_path / name) for name in ("in.png", "out.png"))
    np.testing.assert_array_equal(painted.frame, 255 - photo.frame)
    np.testing.assert_array_equal(painted.alpha, alpha)
    assert (painted.icc_profile, painted.exif) == (photo.icc_profile, photo.exif)
    assert photo.icc_profile == profile


@pytest.mark.parametrize(("size", "expected"), [(None, (40, 60)), (30, (20, 30)), (60, (40, 60)), (500, (40, 60))])
def test_size_only_reduces(size: int | None, expected: tuple[int, int]) -> None:
    reduced = reduce_picture(Picture(frame=noise(40, 60), alpha=np.zeros((40, 60), np.uint8)), size)
    assert reduced.frame.shape == (*expected, 3)
    assert reduced.alpha is not None
    assert reduced.alpha.shape == expected


def plan_of_two(tmp_path: Path) -> BatchPlan:
    for name in ("a.png", "b.png"):
        Image.fromarray(noise(4, 4)).save(tmp_path / name)
    return plan_pictures([tmp_path / "a.png", tmp_path / "b.png"], tmp_path / "out")


def test_file_that_came_in_between_is_kept(tmp_path: Path) -> None:
    plan, first = plan_of_two(tmp_path), tmp_path / "out" / "a.png"
    first.parent.mkdir()
    first.write_bytes(b"somebody else's")
    tally = stylize_all(invert_frame, plan)
    assert [str(each.outcome.error) for each in tally.failures] == [f"{first}: already exists; --overwrite replaces it"]
    assert first.read_bytes() == b"somebody else's"
    assert tally.done == 1
    assert not stylize_all(invert_frame, plan, overwrite=True).failed


def test_output_folder_that_cannot_be_made(tmp_path: Path) -> None:
    plan = plan_of_two(tmp_path)
    (tmp_path / "out").write_text("a file")
    tally = stylize_all(invert_frame, plan, overwrite=True)
    assert tally.failed == 2
    assert tally.not_tried == 0
