"""PNG files: the color that means "transparent" at every depth, and colors coded by number (cICP)."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from fastnst.errors import InputError
from fastnst.io.images import read_frame, read_picture
from fastnst.io.pixels import nits_to_pq


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def write_png(path: Path, rows: list[bytes], width: int, depth: int, color_type: int, *more: bytes) -> Path:
    header = struct.pack(">IIBBBBB", width, len(rows), depth, color_type, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = (chunk(b"IHDR", header), *more, chunk(b"IDAT", pixels), chunk(b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


@pytest.mark.parametrize(
    ("depth", "width", "row", "key", "alpha"),
    [
        (1, 2, b"\x40", 1, [255, 0]),
        (2, 4, b"\x1b", 2, [255, 255, 0, 255]),
        (4, 2, b"\x0f", 15, [255, 0]),
        (8, 2, b"\x05\x06", 6, [255, 0]),
        (16, 2, b"\x01\x02\x01\x03", 0x103, [255, 0]),  # alike in the upper 8 bits
    ],
)
def test_transparent_grey(tmp_path: Path, depth: int, width: int, row: bytes, key: int, alpha: list[int]) -> None:
    path = write_png(tmp_path / "a.png", [row], width, depth, 0, chunk(b"tRNS", struct.pack(">H", key)))
    picture = read_picture(path)
    assert picture.alpha is not None
    np.testing.assert_array_equal(picture.alpha, [alpha])


def test_transparent_rgb_of_16_bits(tmp_path: Path) -> None:
    row = struct.pack(">9H", 1000, 2000, 3000, 1000, 2000, 3001, 40000, 50000, 60000)
    path = write_png(tmp_path / "a.png", [row], 3, 16, 2, chunk(b"tRNS", struct.pack(">3H", 1000, 2000, 3000)))
    picture = read_picture(path)
    assert picture.alpha is not None
    np.testing.assert_array_equal(picture.alpha, [[0, 255, 255]])
    np.testing.assert_array_equal(picture.frame[0, 2], [156, 195, 234])


def pq_row(nits: list[float]) -> bytes:
    return np.repeat(np.rint(nits_to_pq(np.array(nits)) * 65535), 3).astype(">u2").tobytes()


def test_pq_is_brought_to_the_range_of_a_screen(tmp_path: Path) -> None:
    # Dark tones keep their light: 20.3 nits are a tenth of white, sRGB 89. 1,000 nits and more are white.
    cicp = chunk(b"cICP", bytes([9, 16, 0, 1]))
    path = write_png(tmp_path / "a.png", [pq_row([0, 20.3, 1000, 10000])], 4, 16, 2, cicp)
    picture = read_picture(path)
    np.testing.assert_allclose(picture.frame[0, :, 1], [0, 89, 255, 255], atol=1)
    assert picture.notes == ("HDR (PQ): its colors were brought to an ordinary screen's",)
    assert picture.icc_profile is None


def test_display_p3_by_number(tmp_path: Path) -> None:
    # sRGB red in Display P3 is (234, 51, 35); grey is grey.
    cicp = chunk(b"cICP", bytes([12, 13, 0, 1]))
    path = write_png(tmp_path / "a.png", [bytes([234, 51, 35, 128, 128, 128])], 2, 8, 2, cicp)
    picture = read_picture(path)
    np.testing.assert_allclose(picture.frame[0], [[255, 0, 0], [128, 128, 128]], atol=3)
    assert picture.notes


def test_srgb_by_number_is_nothing_new(tmp_path: Path) -> None:
    path = write_png(tmp_path / "a.png", [bytes([1, 2, 3])], 1, 8, 2, chunk(b"cICP", bytes([1, 13, 0, 1])))
    assert read_picture(path).notes == ()
    np.testing.assert_array_equal(read_picture(path).frame, [[[1, 2, 3]]])


def test_colors_that_are_not_known_are_refused(tmp_path: Path) -> None:
    path = write_png(tmp_path / "a.png", [bytes([1, 2, 3])], 1, 8, 2, chunk(b"cICP", bytes([10, 8, 0, 1])))
    with pytest.raises(InputError, match="primaries 10, transfer function 8"):
        read_picture(path)


def test_pq_with_alpha_keeps_it(tmp_path: Path) -> None:
    row = np.array([20000, 20000, 20000, 32896], ">u2").tobytes()
    path = write_png(tmp_path / "a.png", [row], 1, 16, 6, chunk(b"cICP", bytes([9, 18, 0, 1])))
    picture = read_picture(path)
    assert picture.alpha is not None
    assert picture.alpha.tolist() == [[128]]
    assert picture.notes[0].startswith("HDR (HLG)")


def test_a_short_file_that_claims_a_tall_picture(tmp_path: Path) -> None:
    path = write_png(tmp_path / "a.png", [b"\0"], 1, 8, 0)
    content = path.read_bytes()
    header = struct.pack(">IIBBBBB", 1, 999_999_999, 8, 0, 0, 0, 0)
    path.write_bytes(content[:8] + chunk(b"IHDR", header) + content[33:])
    with pytest.raises(InputError, match="cannot hold the 1x999999999 pixels it claims"):
        read_picture(path)


def test_the_flattest_picture_is_no_lie(tmp_path: Path) -> None:
    Image.new("1", (8000, 8000)).save(tmp_path / "a.png", compress_level=9)
    assert read_picture(tmp_path / "a.png").frame.shape == (8000, 8000, 3)


@pytest.mark.parametrize("kind", [b"iCCP", b"eXIf", b"zTXt"])
def test_damaged_additions_are_left_out_and_said(tmp_path: Path, kind: bytes) -> None:
    addition = bytearray(chunk(kind, b"name\0\0" + zlib.compress(b"content")))
    addition[-1] ^= 1
    row = struct.pack(">6H", 1000, 2000, 3000, 1000, 2000, 3001)
    key = chunk(b"tRNS", struct.pack(">3H", 1000, 2000, 3000))
    picture = read_picture(write_png(tmp_path / "a.png", [row], 2, 16, 2, bytes(addition), key))
    assert picture.alpha is not None
    assert picture.alpha.tolist() == [[0, 255]]
    assert picture.frame[0, 1].tolist() == [3, 7, 11]
    assert picture.notes == (f"what it says beside its pixels is damaged or too long, and left out ({kind.decode()})",)


def test_long_texts_do_not_keep_a_picture_from_being_read(tmp_path: Path) -> None:
    text = chunk(b"zTXt", b"workflow\0\0" + zlib.compress(b"x" * 2_000_000))
    picture = read_picture(write_png(tmp_path / "a.png", [bytes([1, 2, 3])], 1, 8, 2, text))
    assert picture.frame.tolist() == [[[1, 2, 3]]]
    assert len(picture.notes) == 1


def test_damaged_pixels_are_still_refused(tmp_path: Path) -> None:
    text = chunk(b"tEXt", b"a\0b")
    path = write_png(tmp_path / "a.png", [bytes(range(90))] * 9, 30, 8, 2, text)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match="damaged or cut short"):
        read_picture(path)


def test_variants_that_are_not_read_are_named(tmp_path: Path) -> None:
    path = write_png(tmp_path / "a.png", [bytes(4)], 1, 8, 6)
    content = path.read_bytes()
    # Their pixels are deflated without zlib's head.
    path.write_bytes((content[:8] + chunk(b"CgBI", bytes(4)) + content[8:]).replace(b"\x78\x9c", b"\xff\xff"))
    with pytest.raises(InputError, match="iPhone app"):
        read_picture(path)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg")
    deep = bytearray((tmp_path / "a.jpg").read_bytes())
    deep[deep.index(b"\xff\xc0") + 4] = 12
    (tmp_path / "a.jpg").write_bytes(deep)
    with pytest.raises(InputError, match="JPEG of 12 bits a color"):
        read_picture(tmp_path / "a.jpg")


# TIFF files of more than 8 bits in every order of samples, and raw photographs, which are refused.

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
