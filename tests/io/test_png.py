"""PNG files: the color that means "transparent" at every depth, and colors coded by number (cICP)."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fastnst.errors import InputError
from fastnst.io.images import read_picture
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
