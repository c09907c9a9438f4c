"""Many pictures: a bad one costs only itself."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from fastnst.errors import InputError, OutputError
from fastnst.inference.batch import Outcome, reduce_picture, stylize_files
from fastnst.inference.outputs import PhotoJob, plan_outputs
from fastnst.inference.stylizer import Stylizer
from fastnst.io.images import Frame, Picture, read_picture


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


def test_folder_of_everything(photos: Path, invert: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    jobs = plan_outputs([photos], out)
    seen: list[Outcome] = []
    with Stylizer(invert, provider="cpu", threads=1) as stylizer:
        result = stylize_files(stylizer, jobs, on_done=seen.append)
    assert seen == list(result.outcomes)
    assert sorted(path.relative_to(out).as_posix() for path in result.written) == [
        "1 rgb.png", "4 deep.png", "5 cmyk.jpg", "8 moving.png", "sub/6 alpha.png", "sub/7 turned.jpg",
    ]  # fmt: skip
    assert [outcome.job.source.name for outcome in result.failed] == ["2 truncated.jpg", "3 text.jpg"]
    assert all(isinstance(outcome.error, InputError) for outcome in result.failed)
    assert [outcome.job.source.name for outcome in seen if outcome.animated] == ["8 moving.gif"]
    for outcome in result.outcomes:
        if outcome.error is None:
            photo, painted = read_picture(outcome.job.source), read_picture(outcome.job.output)
            assert painted.frame.shape == photo.frame.shape
            tolerance = 40 if painted.format == "JPEG" else 0
            assert np.abs(painted.frame.astype(int) - (255 - photo.frame)).max() <= tolerance
            if photo.alpha is not None:
                np.testing.assert_array_equal(painted.alpha, photo.alpha)
    assert sorted(path.name for path in out.rglob("*") if path.is_file()) == sorted(p.name for p in result.written)
    assert result.elapsed_s > 0


def test_what_the_network_does_not_paint_stays(tmp_path: Path) -> None:
    alpha = np.arange(1, 25, dtype=np.uint8).reshape(4, 6)
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "a"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    photo = Image.fromarray(np.dstack((noise(4, 6), alpha)))
    photo.save(tmp_path / "in.png", icc_profile=profile, exif=exif)
    assert not stylize_files(invert_frame, [PhotoJob(tmp_path / "in.png", tmp_path / "out.png")]).failed
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


def jobs_of_two(tmp_path: Path) -> list[PhotoJob]:
    for name in ("a.png", "b.png"):
        Image.fromarray(noise(4, 4)).save(tmp_path / name)
    return [PhotoJob(tmp_path / name, tmp_path / "out" / name) for name in ("a.png", "b.png")]


def test_file_that_came_in_between_is_kept(tmp_path: Path) -> None:
    jobs = jobs_of_two(tmp_path)
    jobs[0].output.parent.mkdir()
    jobs[0].output.write_bytes(b"somebody else's")
    result = stylize_files(invert_frame, jobs)
    assert [str(outcome.error) for outcome in result.failed] == [
        f"{jobs[0].output}: is there already; --overwrite replaces it"
    ]
    assert jobs[0].output.read_bytes() == b"somebody else's"
    assert result.written == [jobs[1].output]
    assert not stylize_files(invert_frame, jobs, overwrite=True).failed


def test_full_disk_gives_the_rest_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs, painted = jobs_of_two(tmp_path), []

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def paint(frame: Frame, /) -> Frame:
        painted.append(frame)
        return frame

    monkeypatch.setattr("os.fsync", full)
    result = stylize_files(paint, jobs)
    assert len(painted) == 1
    assert [type(outcome.error) for outcome in result.failed] == [OutputError]
    assert "No space left" in str(result.failed[0].error)
    assert result.not_tried == (jobs[1],)
    assert not list((tmp_path / "out").iterdir())


def test_output_folder_that_cannot_be_made(tmp_path: Path) -> None:
    jobs = jobs_of_two(tmp_path)
    (tmp_path / "out").write_text("a file")
    result = stylize_files(invert_frame, jobs)
    assert len(result.failed) == 2
    assert result.not_tried == ()
    assert all("cannot be written" in str(outcome.error) for outcome in result.failed)
