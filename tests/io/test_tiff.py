"""TIFF files of more than 8 bits in every order of samples, and raw photographs, which are refused."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from fastnst.errors import InputError
from fastnst.io.images import read_frame, read_picture

RAMP = np.array([[0, 51, 102, 204, 255]] * 3)
RGB = np.stack([RAMP, RAMP[:, ::-1], np.full_like(RAMP, 153)], -1)


def write(path: Path, values: np.ndarray, **options: Any) -> Path:
    tifffile.imwrite(path, values, **options)
    return path


@pytest.mark.parametrize(
    ("dtype", "full", "options"),
    [
        (np.uint16, 65535, {}),
        (np.uint16, 65535, {"compression": "zlib", "predictor": True}),
        (np.uint16, 65535, {"byteorder": ">"}),
        (np.uint16, 65535, {"bigtiff": True}),
        (np.uint32, 2**32 - 1, {}),
        (np.float32, 1, {}),
        (np.float64, 1, {}),
        (np.float16, 1, {}),
        (np.int16, 32767, {}),
    ],
)
@pytest.mark.parametrize("zero", ["minisblack", "miniswhite"])
def test_grey(tmp_path: Path, dtype: Any, full: int, options: dict[str, Any], zero: str) -> None:
    levels = RAMP if zero == "minisblack" else 255 - RAMP
    path = write(tmp_path / "a.tif", (levels / 255 * full).round(6).astype(dtype), photometric=zero, **options)
    np.testing.assert_allclose(read_frame(path)[..., 0], RAMP, atol=1)


@pytest.mark.parametrize(("dtype", "full"), [(np.uint8, 255), (np.uint16, 65535), (np.uint32, 2**32 - 1)])
@pytest.mark.parametrize("planes", ["contig", "separate"])
def test_rgb(tmp_path: Path, dtype: Any, full: int, planes: str) -> None:
    values = (RGB / 255 * full).astype(dtype)
    values = values.transpose(2, 0, 1) if planes == "separate" else values
    path = write(tmp_path / "a.tif", values, photometric="rgb", planarconfig=planes)
    np.testing.assert_allclose(read_frame(path), RGB, atol=1)


@pytest.mark.parametrize("kind", ["unassalpha", "assocalpha"])
@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("channels", [1, 3])
def test_alpha_of_16_bits(tmp_path: Path, kind: str, planes: str, channels: int) -> None:
    colors = RGB[..., :channels] / 255
    alpha = np.full((3, 5, 1), 0.4)
    alpha[0] = 1
    stored = colors * alpha if kind == "assocalpha" else colors
    values = np.rint(np.concatenate((stored, alpha), -1) * 65535).astype(np.uint16)
    values = values.transpose(2, 0, 1) if planes == "separate" else values
    photometric = "rgb" if channels == 3 else "minisblack"
    path = write(tmp_path / "a.tif", values, photometric=photometric, planarconfig=planes, extrasamples=[kind])
    picture = read_picture(path)
    np.testing.assert_allclose(picture.frame[..., :channels], RGB[..., :channels], atol=2)
    assert picture.alpha is not None
    np.testing.assert_array_equal(picture.alpha[:, 0], [255, 102, 102])


def tiff_of_bits(path: Path, bits: int, width: int, content: bytes) -> None:
    """A grey TIFF file of one row whose samples have any number of bits."""
    tags = [(256, 3, width), (257, 3, 1), (258, 3, bits), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1)]
    tags += [(278, 3, 1), (279, 4, len(content))]
    padded = content + b"\0" * (len(content) % 2)
    fields = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    entries = struct.pack("<H", len(tags)) + fields + bytes(4)
    path.write_bytes(b"II*\0" + struct.pack("<I", 8 + len(padded)) + padded + entries)


def test_12_bits_are_full_scale_at_4095_or_refused(tmp_path: Path) -> None:
    tiff_of_bits(tmp_path / "a.tif", 12, 2, bytes([0xFF, 0xF8, 0x00]))  # 4095 and 2048
    try:
        frame = read_frame(tmp_path / "a.tif")
    except InputError as error:
        assert "save it" in str(error)
    else:
        np.testing.assert_array_equal(frame[0, :, 0], [255, 128])


def test_floats_of_three_colors_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", (RGB / 255).astype(np.float32), photometric="rgb")
    with pytest.raises(InputError, match="RGB with 3 floats of 32 bits a pixel does not say how bright its numbers"):
        read_picture(path)


def test_turned_with_profile_author_and_resolution(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    more = [(274, "H", 1, 6, True), (315, "s", 0, "Ann", True), (34675, "B", len(profile), profile, True)]
    values = (RGB * 257).astype(np.uint16).transpose(2, 0, 1)
    options = {"photometric": "rgb", "planarconfig": "separate", "resolution": (118, 118), "resolutionunit": 3}
    picture = read_picture(write(tmp_path / "a.tif", values, extratags=more, **options))
    np.testing.assert_allclose(picture.frame, np.rot90(RGB, -1), atol=1)
    assert picture.icc_profile == profile
    assert picture.exif is not None
    assert b"Ann" in picture.exif
    assert picture.dpi == pytest.approx((299.72, 299.72))


def test_several_pages_are_no_animation(tmp_path: Path) -> None:
    pages = [Image.fromarray(RGB.astype(np.uint8)) for _ in range(3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    picture = read_picture(tmp_path / "a.tif")
    assert not picture.animated
    assert picture.notes == ("holds 3 pictures; the first was stylized",)


@pytest.mark.parametrize("name", ["a.dng", "a.NEF", "a.cr2", "a.ARW", "a.tif"])
def test_raw_files_never_give_their_thumbnail(tmp_path: Path, name: str) -> None:
    thumbnail = np.zeros((8, 8, 3), np.uint8)
    path = write(tmp_path / name, thumbnail, photometric="rgb", extratags=[(50706, "B", 4, b"\1\4\0\0", True)])
    with pytest.raises(InputError, match="a camera's raw file, which is not developed here; export it as"):
        read_picture(path)


def test_claims_are_judged_before_memory_is_taken(tmp_path: Path) -> None:
    tiff_of_bits(tmp_path / "a.tif", 32, 65535, b"1234")
    content = bytearray((tmp_path / "a.tif").read_bytes())
    place = content.index(struct.pack("<HHII", 257, 3, 1, 1))
    content[place : place + 12] = struct.pack("<HHII", 257, 4, 1, 60_000)
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(InputError, match="65535x60000 is more than the 1000 megapixels"):
        read_picture(tmp_path / "a.tif")
