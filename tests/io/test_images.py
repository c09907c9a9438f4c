"""Picture files: every kind read to the right pixels, written whole or not at all."""

import errno
import io
import os
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, features

from fastnst.errors import InputError, OutputError
from fastnst.io.decoding import reason
from fastnst.io.images import (
    Picture,
    fit_long_side,
    over_white,
    read_frame,
    read_picture,
    resize_frame,
    resize_long_side,
    signed,
    write_picture,
)
from fastnst.machine import installed_version

# Two rows of three pixels, all different: a transposed, flipped or recoloured reading cannot go unseen.
PIXELS = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[10, 20, 30], [200, 150, 100], [255, 255, 255]]], np.uint8)


def icc_profile(space: bytes, kind: bytes, pcs: bytes, tags: dict[bytes, bytes]) -> bytes:
    """Put an ICC profile (version 2.4) together: header of 128 bytes, table of tags, tags."""
    offset = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += struct.pack(">4sII", name, offset + len(body), len(content))
        body += content + b"\0" * (-len(content) % 4)
    d50 = struct.pack(">iii", 63190, 65536, 54061)
    header = struct.pack(">I4sI4s4s4s12x4s", offset + len(body), b"\0" * 4, 0x02400000, kind, space, pcs, b"acsp")
    header += b"\0" * 28 + d50
    return header.ljust(128, b"\0") + table + body


def cmyk_profile() -> bytes:
    """A printer whose cyan ink is red (Lab 50, 70, 50), on white paper; with any other ink it prints black."""
    clut = bytearray(bytes((0, 128, 128)) * 16)  # two steps an ink, cyan varying slowest
    clut[0:3] = bytes((255, 128, 128))
    clut[24:27] = bytes((128, 198, 178))
    ramp = bytes(range(256))
    matrix = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    lut = b"mft1\0\0\0\0" + bytes((4, 3, 2, 0)) + matrix + ramp * 4 + bytes(clut) + ramp * 3
    return icc_profile(b"CMYK", b"prtr", b"Lab ", {b"A2B0": lut})


def grey_profile() -> bytes:
    """A display whose light grows in proportion to the level (gamma 1)."""
    white = b"XYZ \0\0\0\0" + struct.pack(">iii", 63190, 65536, 54061)
    curve = b"curv\0\0\0\0" + struct.pack(">I", 0)
    return icc_profile(b"GRAY", b"mntr", b"XYZ ", {b"wtpt": white, b"kTRC": curve})


def rgb_profile() -> bytes:
    """Only a header: fastnst carries it on without looking further."""
    return icc_profile(b"RGB ", b"mntr", b"XYZ ", {})


def png_chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png_16_bit(path: Path, values: np.ndarray, colour_type: int) -> None:
    """Write 16-bit grey (colour type 0) or RGB (2), which Pillow itself does not all write."""
    height, width = values.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)


# Reading


def test_frame_of_an_rgb_png(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    frame = read_frame(tmp_path / "a.png")
    assert frame.dtype == np.uint8
    assert frame.flags.writeable
    assert frame.flags.c_contiguous
    np.testing.assert_array_equal(frame, PIXELS)


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, PIXELS),
        (2, PIXELS[:, ::-1]),
        (3, PIXELS[::-1, ::-1]),
        (4, PIXELS[::-1]),
        (5, PIXELS.transpose(1, 0, 2)),
        (6, np.rot90(PIXELS, -1)),
        (7, PIXELS[::-1, ::-1].transpose(1, 0, 2)),
        (8, np.rot90(PIXELS)),
    ],
)
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, upright: np.ndarray) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.fromarray(PIXELS).save(tmp_path / "a.png", exif=exif)
    picture = read_picture(tmp_path / "a.png")
    np.testing.assert_array_equal(picture.frame, upright)
    write_picture(tmp_path / "b.png", picture)
    np.testing.assert_array_equal(read_frame(tmp_path / "b.png"), upright)


def test_16_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    # 257 is one level of 255; 128 is just short of half of it, 129 just above.
    values = np.array([[0, 128, 129, 257], [32768, 40000, 65406, 65535]])
    png_16_bit(tmp_path / "a.png", values, colour_type=0)
    expected = np.array([[0, 0, 1, 1], [128, 156, 254, 255]], np.uint8)
    np.testing.assert_array_equal(read_frame(tmp_path / "a.png"), np.repeat(expected[..., None], 3, axis=2))
    png_16_bit(tmp_path / "a.png", PIXELS.astype(np.uint16) * 257, colour_type=2)
    np.testing.assert_array_equal(read_frame(tmp_path / "a.png"), PIXELS)


@pytest.mark.parametrize("byte_order", ["<u2", ">u2"])
def test_16_bit_tiff(tmp_path: Path, byte_order: str) -> None:
    Image.fromarray(np.array([[0, 25700, 65535]], byte_order)).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_frame(tmp_path / "a.tif")[0, :, 1], [0, 100, 255])


@pytest.mark.parametrize(
    ("values", "levels"),
    [
        ([[0.0, 0.5, 1.0]], [0, 128, 255]),
        ([[0.0, 100.0, 255.0]], [0, 100, 255]),
        ([[0.0, 25700.0, 65535.0]], [0, 100, 255]),
        ([[0.0, 1e6, 2e6]], [0, 128, 255]),
        ([[-5.0, float("nan"), 1.0]], [0, 0, 255]),
    ],
)
def test_float_tiff_finds_its_white(tmp_path: Path, values: list[list[float]], levels: list[int]) -> None:
    Image.fromarray(np.array(values, np.float32)).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_frame(tmp_path / "a.tif")[0, :, 2], levels)


def test_alpha_stands_beside_colours_and_grey(tmp_path: Path) -> None:
    alpha = np.array([[4, 128, 255], [1, 2, 3]], np.uint8)
    Image.fromarray(np.dstack((PIXELS, alpha))).save(tmp_path / "a.png")
    picture = read_picture(tmp_path / "a.png")
    np.testing.assert_array_equal(picture.frame, PIXELS)
    np.testing.assert_array_equal(picture.alpha, alpha)
    Image.fromarray(np.array([[[7, 255], [200, 9]]], np.uint8)).save(tmp_path / "a.png")
    picture = read_picture(tmp_path / "a.png")
    np.testing.assert_array_equal(picture.frame, [[[7, 7, 7], [200, 200, 200]]])
    np.testing.assert_array_equal(picture.alpha, [[255, 9]])


def test_palettes(tmp_path: Path) -> None:
    indexed = Image.new("P", (2, 1))
    indexed.putpalette([255, 0, 0, 0, 0, 255])
    indexed.putpixel((1, 0), 1)
    indexed.save(tmp_path / "a.png", transparency=1)
    picture = read_picture(tmp_path / "a.png")
    np.testing.assert_array_equal(picture.frame, [[[255, 0, 0], [255, 0, 0]]])  # blue is hidden
    np.testing.assert_array_equal(picture.alpha, [[255, 0]])
    Image.fromarray(PIXELS).quantize(6).save(tmp_path / "a.png")
    assert read_picture(tmp_path / "a.png").alpha is None
    assert np.abs(read_frame(tmp_path / "a.png").astype(int) - PIXELS).max() <= 8


def test_one_bit_picture(tmp_path: Path) -> None:
    Image.fromarray(np.array([[True, False, True]])).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_frame(tmp_path / "a.png")[0, :, 0], [255, 0, 255])


def test_cmyk_jpeg_is_not_inverted(tmp_path: Path) -> None:
    Image.new("CMYK", (16, 16), (255, 0, 0, 0)).save(tmp_path / "a.jpg", quality=100)
    middle = read_frame(tmp_path / "a.jpg")[8, 8].astype(int)
    assert np.abs(middle - (0, 255, 255)).max() <= 3


def test_cmyk_jpeg_without_adobes_marker_is_read_as_browsers_do(tmp_path: Path) -> None:
    """Chromium and FFmpeg were compared: the levels are taken for inverted all the same."""
    Image.new("CMYK", (16, 16), (255, 0, 0, 0)).save(tmp_path / "a.jpg", quality=100)
    content = (tmp_path / "a.jpg").read_bytes()
    start = content.index(b"\xff\xee")
    end = start + 2 + int.from_bytes(content[start + 2 : start + 4], "big")
    assert b"Adobe" in content[start:end]
    (tmp_path / "a.jpg").write_bytes(content[:start] + content[end:])
    middle = read_frame(tmp_path / "a.jpg")[8, 8].astype(int)
    assert np.abs(middle - (0, 255, 255)).max() <= 3


def test_cmyk_goes_through_its_profile_to_srgb(tmp_path: Path) -> None:
    Image.new("CMYK", (16, 16), (255, 0, 0, 0)).save(tmp_path / "a.tif", icc_profile=cmyk_profile())
    picture = read_picture(tmp_path / "a.tif")
    # Lab (50, 70, 50) is about (218, 30, 38) in sRGB; the plain formula gives cyan.
    assert np.abs(picture.frame[8, 8].astype(int) - (218, 30, 38)).max() <= 12
    assert picture.icc_profile is None


def test_grey_goes_through_its_profile_to_srgb(tmp_path: Path) -> None:
    Image.new("L", (2, 2), 64).save(tmp_path / "a.png", icc_profile=grey_profile())
    picture = read_picture(tmp_path / "a.png")
    # A quarter of full light is level 137 in sRGB. A profile of grey in an RGB file would be wrong.
    assert np.abs(picture.frame.astype(int) - 137).max() <= 1
    assert picture.icc_profile is None


def test_a_profile_of_other_colours_is_not_carried_on(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.png", icc_profile=grey_profile())
    Image.fromarray(np.dstack((PIXELS, PIXELS[..., 0]))).save(tmp_path / "b.tif", icc_profile=cmyk_profile())
    assert read_picture(tmp_path / "a.png").icc_profile is None
    assert read_picture(tmp_path / "b.tif").icc_profile is None


def test_damaged_cmyk_profile_is_ignored(tmp_path: Path) -> None:
    Image.new("CMYK", (4, 4)).save(tmp_path / "a.tif", icc_profile=b"\0" * 16 + b"CMYK" + b"junk" * 40)
    np.testing.assert_array_equal(read_frame(tmp_path / "a.tif"), np.full((4, 4, 3), 255))


def test_first_picture_of_an_animation(tmp_path: Path) -> None:
    red, blue = Image.new("RGB", (5, 4), "red"), Image.new("RGB", (5, 4), "blue")
    red.save(tmp_path / "a.gif", save_all=True, append_images=[blue])
    picture = read_picture(tmp_path / "a.gif")
    assert picture.animated
    assert picture.format == "GIF"
    np.testing.assert_array_equal(picture.frame[2, 2], [255, 0, 0])
    red.save(tmp_path / "still.gif")
    assert not read_picture(tmp_path / "still.gif").animated


def test_a_picture_taller_than_one_strip_is_whole(tmp_path: Path) -> None:
    tall = np.arange(2500, dtype=np.int64)[:, None, None] * [1, 3, 7] % 251
    tall = np.dstack((tall, tall[..., :1].clip(1))).astype(np.uint8)
    Image.fromarray(tall).save(tmp_path / "a.png")
    picture = read_picture(tmp_path / "a.png")
    np.testing.assert_array_equal(picture.frame, tall[..., :3])
    np.testing.assert_array_equal(picture.alpha, tall[..., 3])


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("missing", [1, 2])
def test_jpeg_without_its_end_marker(tmp_path: Path, progressive: bool, missing: int) -> None:
    smooth = np.asarray(Image.fromarray(PIXELS).resize((90, 70), Image.Resampling.BICUBIC))
    Image.fromarray(smooth).save(tmp_path / "whole.jpg", progressive=progressive)
    content = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(content[:-missing])
    picture = read_picture(tmp_path / "a.jpg")
    np.testing.assert_array_equal(picture.frame, read_frame(tmp_path / "whole.jpg"))
    # One byte missing: Pillow itself may take that for whole.
    assert picture.notes in {("ends without JPEG's end marker; its pixels are all there",), ()}
    (tmp_path / "a.jpg").write_bytes(content[: -len(content) // 8])
    with pytest.raises(InputError, match="damaged or cut short"):
        read_picture(tmp_path / "a.jpg")


def test_a_gain_map_is_left_out_and_said(tmp_path: Path) -> None:
    packet = b'<rdf:Description xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"/>'
    Image.fromarray(PIXELS).save(tmp_path / "a.jpg", xmp=packet)
    assert "gain map" in read_picture(tmp_path / "a.jpg").notes[0]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp"])
def test_resolution_stays(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(PIXELS).save(tmp_path / f"a{suffix}", dpi=(300, 150))
    write_picture(tmp_path / f"b{suffix}", read_picture(tmp_path / f"a{suffix}"))
    with Image.open(tmp_path / f"b{suffix}") as written:
        assert written.info["dpi"] == pytest.approx((300, 150), abs=0.02)
    Image.fromarray(PIXELS).save(tmp_path / "none.png")
    assert read_picture(tmp_path / "none.png").dpi is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\0\0\0\x18ftypheic" + bytes(40), "is HEIC, which is not read without another package; pip install"),
        (b"\xff\x0a" + bytes(40), "is JPEG XL, which is not read without another package; pip install"),
    ],
)
def test_what_another_package_reads_is_named_with_it(
    tmp_path: Path, content: bytes, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("pillow_heif", "pillow_jxl"):
        monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_picture(tmp_path / "a.jpg")


def test_heic(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    heif.from_pillow(Image.new("RGB", (64, 48), (200, 100, 50))).save(tmp_path / "a.heic")
    picture = read_picture(tmp_path / "a.heic")
    assert picture.frame.shape == (48, 64, 3)
    np.testing.assert_allclose(picture.frame[20, 20], (200, 100, 50), atol=4)
    assert not picture.animated


@pytest.mark.skipif(not features.check("avif"), reason="Pillow was built without AVIF")
def test_avif_for_bright_screens_is_brought_to_an_ordinary_one(tmp_path: Path) -> None:
    Image.new("RGB", (32, 32), (130, 130, 130)).save(tmp_path / "a.avif", quality=95)
    assert read_picture(tmp_path / "a.avif").notes == ()
    content = (tmp_path / "a.avif").read_bytes()
    place = content.index(b"colrnclx") + 8
    (tmp_path / "a.avif").write_bytes(content[:place] + struct.pack(">HH", 9, 16) + content[place + 4 :])
    picture = read_picture(tmp_path / "a.avif")
    assert picture.notes == ("HDR (PQ): its colors were brought to an ordinary screen's",)
    # 130 of 255 in PQ are 102 nits, half of white at 203: 188 in sRGB, a little less after the roll-off.
    assert 170 <= picture.frame[16, 16, 0] <= 192


def test_a_picture_without_room_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    monkeypatch.setattr("fastnst.io.decoding.available_memory", lambda: 10)
    with pytest.raises(InputError, match=r"3x2 takes 0.0 GB of memory to read, and 0.0 GB are free"):
        read_picture(tmp_path / "a.png")


def test_damaged_exif_costs_only_the_tags(tmp_path: Path) -> None:
    # Orientation 6, a short; the camera's maker, a text, stored as a float: Pillow trips over it when it turns.
    entries = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0) + struct.pack("<HHIf", 0x010F, 11, 1, 1.5)
    block = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + entries + bytes(4)
    for name, exif in (("turned.png", block), ("junk.png", b"Exif\0\0no block at all")):
        Image.fromarray(PIXELS).save(tmp_path / name, exif=exif)
        assert read_picture(tmp_path / name).exif is None
    np.testing.assert_array_equal(read_frame(tmp_path / "turned.png"), np.rot90(PIXELS, -1))
    np.testing.assert_array_equal(read_frame(tmp_path / "junk.png"), PIXELS)


def test_words_for_an_error_are_one_short_line() -> None:
    assert reason(ValueError("first\nsecond   third")) == "is damaged or cut short (first second third)"
    assert reason(KeyError()) == "is damaged or cut short (KeyError)"
    assert len(reason(ValueError("x" * 10_000))) < 200
    assert reason(MemoryError()) == "does not fit into memory; reduce it"
    assert reason(PermissionError(errno.EACCES, "Permission denied")) == "cannot be read (Permission denied)"


# Files that are no pictures


def whole_jpeg() -> bytes:
    stream = io.BytesIO()
    Image.effect_noise((64, 64), 90).convert("RGB").save(stream, "JPEG")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"Dear diary, today I painted nothing.", "is not a picture"),
        (whole_jpeg()[:1500], "damaged or cut short"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "EPS pictures are not read"),
    ],
    ids=["empty", "text", "truncated", "postscript"],
)
def test_bad_file_is_named_in_one_line(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        read_picture(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_folder_and_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder"):
        read_picture(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        read_picture(tmp_path / "a.jpg")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are Unix's")
def test_named_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    with pytest.raises(InputError, match="not a regular file"):
        read_picture(tmp_path / "a.jpg")


def png_header(side: int) -> bytes:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", b"") + png_chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [40_000, 60_000])
def test_bomb_is_refused_before_it_is_decoded(tmp_path: Path, side: int) -> None:
    (tmp_path / "a.png").write_bytes(png_header(side))
    with pytest.raises(InputError, match="megapixels"):
        read_picture(tmp_path / "a.png")


def test_200_megapixels_are_no_bomb(tmp_path: Path) -> None:
    with Image.open(io.BytesIO(png_header(14_143))) as picture:  # Pillow's own limit raises above 179 megapixels
        assert picture.size == (14_143, 14_143)


def test_flipped_bytes_never_raise_anything_else(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "A"
    for kind in ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"):
        stream = io.BytesIO()
        Image.effect_noise((24, 24), 90).convert("RGB").save(stream, kind, exif=exif)
        whole = np.frombuffer(stream.getvalue(), np.uint8)
        for _ in range(30):
            damaged = whole.copy()
            damaged[rng.integers(0, len(whole), 8)] = rng.integers(0, 256, 8)
            (tmp_path / "a").write_bytes(damaged.tobytes())
            try:
                assert read_picture(tmp_path / "a").frame.ndim == 3
            except InputError as error:
                assert "\n" not in str(error)


# Writing


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff", ".bmp", ".PNG"])
def test_lossless_formats_give_the_same_pixels_back(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    write_picture(path, Picture(frame=PIXELS))
    np.testing.assert_array_equal(read_frame(path), PIXELS)


@pytest.mark.parametrize(
    ("suffix", "kind"), [(".jpg", "JPEG"), (".jpeg", "JPEG"), (".webp", "WEBP"), (".png", "PNG"), (".tif", "TIFF")]
)
def test_suffix_chooses_the_format_and_the_profile_stays(tmp_path: Path, suffix: str, kind: str) -> None:
    path = tmp_path / f"a{suffix}"
    write_picture(path, Picture(frame=PIXELS, icc_profile=rgb_profile(), format="BMP"))
    picture = read_picture(path)
    assert picture.format == kind
    assert picture.icc_profile == rgb_profile()


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_alpha_stays(tmp_path: Path, suffix: str) -> None:
    alpha = np.full((16, 16), 255, np.uint8)
    alpha[:8] = 40
    path = tmp_path / f"a{suffix}"
    write_picture(path, Picture(frame=np.zeros((16, 16, 3), np.uint8), alpha=alpha))
    np.testing.assert_array_equal(read_picture(path).alpha, alpha)


@pytest.mark.parametrize("suffix", [".jpg", ".bmp"])
def test_without_alpha_in_the_format_it_lies_over_white(tmp_path: Path, suffix: str) -> None:
    frame, alpha = np.zeros((16, 16, 3), np.uint8), np.full((16, 16), 64, np.uint8)
    write_picture(tmp_path / f"a{suffix}", Picture(frame=frame, alpha=alpha))
    picture = read_picture(tmp_path / f"a{suffix}")
    assert picture.alpha is None
    assert np.abs(picture.frame.astype(int) - 191).max() <= 1  # 255 * (1 - 64 / 255)


def test_transparent_parts_lie_over_white(tmp_path: Path) -> None:
    frame = np.array([[[0, 100, 255], [10, 20, 30]]], np.uint8)
    alpha = np.array([[51, 255]], np.uint8)  # a fifth, and all
    np.testing.assert_array_equal(over_white(frame, alpha), [[[204, 224, 255], [10, 20, 30]]])
    Image.new("RGBA", (2, 2), (0, 0, 0, 0)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_frame(tmp_path / "a.png"), np.full((2, 2, 3), 255))


def test_jpeg_keeps_colour_at_full_resolution(tmp_path: Path) -> None:
    # Columns of red and blue: with colour at half the resolution they all become purple.
    frame = np.zeros((16, 16, 3), np.uint8)
    frame[:, ::2, 0] = frame[:, 1::2, 2] = 255
    write_picture(tmp_path / "a.jpg", Picture(frame=frame))
    assert np.abs(read_frame(tmp_path / "a.jpg").astype(int) - frame).max() <= 25


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_author_stays_but_place_thumbnail_and_orientation_go(tmp_path: Path, suffix: str) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "Jörg".encode()
    exif[ExifTags.Base.Copyright] = "free"
    exif[ExifTags.Base.Orientation] = 6
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    Image.fromarray(PIXELS).save(tmp_path / "a.jpg", exif=exif)
    write_picture(tmp_path / f"b{suffix}", read_picture(tmp_path / "a.jpg"))
    with Image.open(tmp_path / f"b{suffix}") as written:
        kept = written.getexif()
        # Pillow writes TIFF's texts in ASCII only.
        assert kept[ExifTags.Base.Artist].encode("latin-1") == (b"J??rg" if suffix == ".tif" else "Jörg".encode())
        assert kept[ExifTags.Base.Copyright] == "free"
        assert ExifTags.Base.Orientation not in kept
        assert not kept.get_ifd(ExifTags.IFD.GPSInfo)
        assert written.size == (2, 3)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_how_it_was_made_stands_in_the_file_beside_what_the_photo_holds(tmp_path: Path, suffix: str) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "Ann"
    photo = Picture(frame=PIXELS, icc_profile=rgb_profile(), exif=exif.tobytes(), dpi=(300, 300))
    write_picture(tmp_path / f"a{suffix}", signed(photo, "starry (0123456789ab), größer"))
    with Image.open(tmp_path / f"a{suffix}") as written:
        made_by = written.getexif()[ExifTags.Base.ProcessingSoftware]
    assert made_by == f"fastnst {installed_version()}: starry (0123456789ab), gr??er"
    again = read_picture(tmp_path / f"a{suffix}")
    assert again.icc_profile == rgb_profile()
    assert b"Ann" in (again.exif or b"")
    assert made_by.encode() not in (again.exif or b"")  # what is made of it says its own
    if suffix != ".webp":
        assert again.dpi == pytest.approx((300, 300), abs=0.02)


def test_endless_exif_does_not_keep_a_jpeg_from_being_written(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = "x" * 70_000
    Image.fromarray(PIXELS).save(tmp_path / "a.png", exif=exif)
    write_picture(tmp_path / "b.jpg", read_picture(tmp_path / "a.png"))
    assert read_picture(tmp_path / "b.jpg").exif is None


@pytest.mark.parametrize(("name", "words"), [("a.gif", "suffix '.gif'"), ("a", "no suffix")])
def test_unknown_suffix_says_which_are_written(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(OutputError, match=rf"{words}; expected one of .*\.jpg"):
        write_picture(tmp_path / name, Picture(frame=PIXELS))


def test_too_long_for_webp_is_said(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="16383 px a side, not 1x16384"):
        write_picture(tmp_path / "a.webp", Picture(frame=np.zeros((16_384, 1, 3), np.uint8)))


@pytest.mark.skipif(sys.platform == "win32", reason="resource limits are Unix's")
def test_write_cut_off_by_the_system(tmp_path: Path) -> None:
    import resource  # noqa: PLC0415 - Unix only

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        for suffix in (".png", ".jpg", ".tif", ".bmp"):
            with pytest.raises(OutputError, match="cannot be written"):
                write_picture(tmp_path / f"a{suffix}", Picture(frame=noise))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())


# Sizes


def test_sizes_by_hand() -> None:
    assert fit_long_side((480, 640), 320) == (240, 320)
    assert fit_long_side((2000, 7), 100) == (100, 1)  # never nothing
    assert fit_long_side((10, 20), 40) == (20, 40)
    assert resize_frame(PIXELS, (4, 9)).shape == (4, 9, 3)
    assert resize_frame(PIXELS[..., 0], (4, 9)).shape == (4, 9)
    assert resize_frame(PIXELS, (2, 3)) is PIXELS
    assert resize_long_side(PIXELS, 6).shape == (4, 6, 3)
    flat = np.full((8, 8, 3), 77, np.uint8)
    np.testing.assert_array_equal(resize_frame(flat, (3, 5)), np.full((3, 5, 3), 77))
    wide = np.full((48, 64, 3), 77, np.uint8)
    assert resize_long_side(wide, 32).shape == (24, 32, 3)
    assert resize_long_side(wide.swapaxes(0, 1), 128).shape == (128, 96, 3)
    assert resize_long_side(wide, 64) is wide
