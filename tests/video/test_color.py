"""Colour bars survive painting: BT.601, BT.709, full range, untagged, 10 bits; HDR becomes what screens show."""

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from fastnst.errors import InputError
from fastnst.io.pixels import hlg_to_nits, nits_to_pq, pq_to_nits, roll_off
from fastnst.video.color import FromRgb, ToRgb, encoded_colors, read_colors, tone_table
from fastnst.video.film import Colors

Fixture = Any

BARS = np.array(
    [
        (191, 191, 191),
        (191, 191, 0),
        (0, 191, 191),
        (0, 191, 0),
        (191, 0, 191),
        (191, 0, 0),
        (0, 0, 191),
        (255, 255, 255),
    ],
    np.uint8,
)
BAR = 16


def draw_bars(height: int) -> np.ndarray:
    return np.broadcast_to(np.repeat(BARS, BAR, 0)[None], (height, BAR * len(BARS), 3)).copy()


def middles(frame: np.ndarray) -> np.ndarray:
    return frame[frame.shape[0] // 2, BAR // 2 :: BAR].astype(int)


TAGS = {
    "bt601": (96, {"colorspace": 6, "color_range": 1, "color_primaries": 6, "color_trc": 6}),
    "bt601 pal": (96, {"colorspace": 5, "color_range": 1, "color_primaries": 5, "color_trc": 6}),
    "bt709": (96, {"colorspace": 1, "color_range": 1, "color_primaries": 1, "color_trc": 1}),
    "bt709 full": (96, {"colorspace": 1, "color_range": 2, "color_primaries": 1, "color_trc": 1}),
    "bt601 full": (96, {"colorspace": 6, "color_range": 2}),
    "bt2020": (96, {"colorspace": 9, "color_range": 1, "color_primaries": 9, "color_trc": 14}),
}


FORMATS = ["yuv420p", "yuv444p", "yuv420p10le"]


@pytest.mark.parametrize("name", ["bars.mp4", "bars.mkv"])
@pytest.mark.parametrize("tags", TAGS)
def test_bars(make_clip: Fixture, paint: Fixture, read: Fixture, tmp_path: Path, name: str, tags: str) -> None:
    height, colors = TAGS[tags]
    # Each container has each format twice.
    pixel_format = FORMATS[(list(TAGS).index(tags) + name.endswith("mkv")) % 3]
    source = make_clip(
        name, frames=[draw_bars(height)] * 3, colors=colors, pixel_format=pixel_format, options={"crf": "2"}
    )
    seen: list[np.ndarray] = []

    def look(frame: np.ndarray) -> np.ndarray:
        seen.append(frame)
        return frame

    paint(source, tmp_path / f"out-{name}", look)
    before, after = read(source), read(tmp_path / f"out-{name}")
    assert np.abs(middles(seen[1]) - BARS).max() <= 2  # the painter sees the true colours
    assert np.abs(middles(after.frames[1]) - middles(before.frames[1])).max() <= 3
    assert np.abs(middles(after.frames[1]) - BARS).max() <= 4  # the source's own encoder is off, too
    assert after.colors == before.colors
    assert after.colors[:2] == (colors["colorspace"], colors["color_range"])


@pytest.mark.parametrize(("height", "matrix"), [(96, 6), (720, 1)])
def test_bars_without_tags(
    make_clip: Fixture, paint: Fixture, read: Fixture, tmp_path: Path, height: int, matrix: int
) -> None:
    colors = {"colorspace": matrix}
    source = make_clip("bars.mkv", frames=[draw_bars(height)] * 2, colors=colors, tagged=False, options={"crf": "2"})
    assert read(source).colors[0] == 2
    paint(source, tmp_path / "out.mkv")
    after = read(tmp_path / "out.mkv")
    assert after.colors[0] == matrix
    assert np.abs(middles(after.frames[0]) - BARS).max() <= 3


@pytest.mark.parametrize(
    ("name", "codec"), [("out.mp4", "hevc"), ("out.webm", "vp9"), ("out.mp4", "av1"), ("out.mov", "prores")]
)
def test_bars_in_other_codecs(
    make_clip: Fixture, paint: Fixture, read: Fixture, tmp_path: Path, name: str, codec: str
) -> None:
    height, colors = TAGS["bt709"]
    source = make_clip("bars.mp4", frames=[draw_bars(height)] * 2, colors=colors, options={"crf": "2"})
    paint(source, tmp_path / name, codec=codec)
    after = read(tmp_path / name)
    assert after.codec == codec
    assert np.abs(middles(after.frames[0]) - BARS).max() <= 3
    assert after.colors[:2] == (1, 1)


def test_bars_in_a_gif(make_clip: Fixture, paint: Fixture, read: Fixture, tmp_path: Path) -> None:
    height, colors = TAGS["bt709"]
    source = make_clip("bars.mp4", frames=[draw_bars(height)] * 2, colors=colors, options={"crf": "2"})
    paint(source, tmp_path / "out.gif")
    with av.open(str(tmp_path / "out.gif")) as clip:
        frames = [frame.to_ndarray(format="rgb24") for frame in clip.decode(video=0)]
    assert len(frames) == 2
    # Ordered dither: right on the mean of a bar.
    means = frames[1][8:88].reshape(80, len(BARS), BAR, 3)[:, :, 4:12].mean((0, 2))
    assert np.abs(means - BARS).max() <= 6


def test_primaries_that_ffmpeg_does_not_know_to_convert(make_clip: Fixture) -> None:
    frame = av.VideoFrame(16, 16, "yuv420p")
    frame.colorspace = 8  # YCgCo
    with pytest.raises(InputError, match=r"matrix 8 .* convert the film to BT\.709 first"):
        ToRgb()(frame)


def test_colours_from_tags_and_height() -> None:
    def tagged(colorspace: int, color_range: int, trc: int = 2) -> av.VideoFrame:
        frame = av.VideoFrame(16, 16, "yuv420p")
        frame.colorspace, frame.color_range, frame.color_trc = colorspace, color_range, trc
        return frame

    assert read_colors(tagged(2, 0), "yuv420p", 719) == Colors(6, False)
    assert read_colors(tagged(2, 0), "yuv420p", 720) == Colors(1, False)
    assert read_colors(tagged(2, 0, trc=16), "yuv420p10le", 480).matrix == 9
    assert read_colors(tagged(5, 2), "yuv420p", 1080) == Colors(5, True)
    assert read_colors(tagged(2, 0), "yuvj420p", 480).full_range
    assert read_colors(tagged(0, 0), "rgb24", 480) == Colors(0, True)
    assert encoded_colors(Colors(0, True), 480) == Colors(6, False)
    assert encoded_colors(Colors(9, False, 9, 16), 2160) == Colors(1, False, 1, 1)
    assert encoded_colors(Colors(5, True, 5, 6), 576) == Colors(5, True, 5, 6)


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv444p", "yuv422p10le", "nv12", "gbrp", "yuva444p10le"])
@pytest.mark.parametrize("full", [False, True])
def test_there_and_back(pixel_format: str, full: bool) -> None:
    rng = np.random.default_rng(1)
    blocks = rng.integers(0, 256, (6, 9, 3), np.uint8)
    frame = np.repeat(np.repeat(blocks, 16, 0), 16, 1)
    coded = FromRgb(pixel_format, Colors(0 if pixel_format == "gbrp" else 1, full))(frame)
    back, _ = ToRgb()(coded)
    assert back.dtype == np.uint8
    assert np.abs(back[8::16, 8::16].astype(int) - blocks).max() <= 2


def test_opacity_is_kept_or_laid_over_white() -> None:
    frame, alpha = np.zeros((16, 32, 3), np.uint8), np.full((16, 32), 255, np.uint8)
    alpha[:, 16:] = 0
    back, kept = ToRgb()(FromRgb("yuva444p10le", Colors(1, False))(frame, alpha))
    assert kept is not None
    np.testing.assert_array_equal(kept, alpha)
    flat, none = ToRgb()(FromRgb("yuv444p", Colors(1, False))(frame, alpha))
    assert none is None
    assert flat[8, 4].max() <= 2
    assert flat[8, 28].min() >= 253
    assert back.shape == frame.shape


def test_transfer_functions_by_hand() -> None:
    # SMPTE ST 2084: code 0 is dark, code 1 is 10,000 nits; ITU-R BT.2408 table 1: 203 nits are 58 % PQ.
    np.testing.assert_allclose(pq_to_nits(np.array([0.0, 0.58, 1.0])), [0, 203, 10_000], atol=4)
    light = np.array([0.1, 5, 203, 4000])
    np.testing.assert_allclose(pq_to_nits(nits_to_pq(light)), light, rtol=1e-6)
    # ITU-R BT.2408 table 1: 203 nits are 75 % HLG on a screen of 1,000 nits; full code is the peak.
    np.testing.assert_allclose(hlg_to_nits(np.full((1, 3), 0.75)), 203, atol=1)
    np.testing.assert_allclose(hlg_to_nits(np.ones((1, 3))), 1000, rtol=1e-3)
    np.testing.assert_allclose(hlg_to_nits(np.zeros((1, 3))), 0)
    light = np.linspace(0, 1200, 500)
    rolled = roll_off(light)
    np.testing.assert_allclose(rolled[light < 80], light[light < 80], rtol=1e-3, atol=1e-3)
    assert (np.diff(rolled) >= -1e-9).all()
    np.testing.assert_allclose(rolled.max(), 203, rtol=1e-3)


@pytest.mark.parametrize("transfer", [16, 18])
def test_greys_stay_grey_in_the_tone_table(transfer: int) -> None:
    table = tone_table(transfer, 9)
    diagonal = table[range(9), range(9), range(9)]
    assert np.abs(diagonal - diagonal[:, :1]).max() < 0.002
    assert (np.diff(diagonal[:, 0]) >= 0).all()
    assert diagonal[0].max() == 0
    assert diagonal[-1].min() > 0.99


def test_red_stays_red_in_the_tone_table() -> None:
    red, green, blue = tone_table(16, 9)[4, 0, 0]
    assert red > 0.3
    assert max(green, blue) < 0.05


@pytest.mark.parametrize("transfer", [16, 18])
def test_hdr_film_becomes_bt709(
    make_clip: Fixture, paint: Fixture, read: Fixture, tmp_path: Path, transfer: int
) -> None:
    grey = np.full((64, 64, 3), 148, np.uint8)  # 58 % of the code values: 203 nits in PQ
    tags = {"colorspace": 9, "color_range": 1, "color_primaries": 9, "color_trc": transfer}
    source = make_clip("hdr.mp4", frames=[grey] * 2, pixel_format="yuv420p10le", colors=tags, options={"crf": "2"})
    paint(source, tmp_path / "out.mp4")
    after = read(tmp_path / "out.mp4")
    assert after.colors == (1, 1, 1, 1)
    middle = after.frames[0][32, 32].astype(int)
    assert np.ptp(middle) <= 2
    low, high = {16: (220, 240), 18: (125, 175)}[transfer]
    assert low <= middle[0] <= high
