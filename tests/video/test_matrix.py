"""Containers x codecs x properties: each film that goes in comes out with what it had, read back by FFmpeg.

Each source and each usual target run always, more of the pairs with the slow tests.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.codec import CodecContext

from fastnst.video.film import first_field

Fixture = Any
RATE = Fraction(25)
ASPECT = Fraction(4, 3)


@dataclass(frozen=True)
class Source:
    """A kind of film that people have."""

    suffix: str
    codec: str
    sound: str
    pixel_format: str = "yuv420p"
    size: tuple[int, int] = (48, 64)

    def __str__(self) -> str:
        return f"{self.suffix[1:]}-{self.codec}"


@dataclass(frozen=True)
class Target:
    """A kind of film that is asked for."""

    suffix: str
    codec: str

    def __str__(self) -> str:
        return f"{self.suffix[1:]}-{self.codec}"


MP4 = Source(".mp4", "libx264", "aac")
SOURCES = [
    MP4,
    Source(".mp4", "libx265", "aac"),
    Source(".mp4", "mpeg4", "aac"),
    Source(".mp4", "libvpx-vp9", "aac"),
    Source(".mp4", "libsvtav1", "aac", size=(64, 64)),
    Source(".m4v", "libx264", "aac"),
    Source(".mov", "libx264", "aac"),
    Source(".mov", "mjpeg", "pcm_s16le", "yuvj420p"),
    Source(".mov", "prores_ks", "pcm_s16le", "yuv422p10le"),
    Source(".3gp", "libx264", "aac"),
    Source(".mkv", "libx264", "aac"),
    Source(".mkv", "libx265", "flac"),
    Source(".mkv", "libvpx", "libopus"),
    Source(".mkv", "libvpx-vp9", "libopus"),
    Source(".mkv", "ffv1", "flac"),
    Source(".mkv", "mpeg2video", "ac3"),
    Source(".webm", "libvpx", "libopus"),
    Source(".webm", "libvpx-vp9", "libopus"),
    Source(".webm", "libsvtav1", "libopus", size=(64, 64)),
    Source(".avi", "mpeg4", "mp2"),
    Source(".avi", "mjpeg", "pcm_alaw", "yuvj420p"),
    Source(".avi", "ffv1", "pcm_mulaw"),
    Source(".ts", "libx264", "aac"),
    Source(".ts", "mpeg2video", "mp2"),
    Source(".m2ts", "libx264", "ac3"),
    Source(".mpg", "mpeg2video", "mp2"),
    Source(".vob", "mpeg2video", "ac3"),
    Source(".wmv", "wmv2", "libmp3lame"),
    Source(".asf", "msmpeg4", "adpcm_ms"),
    Source(".flv", "libx264", "aac"),
    Source(".flv", "flv", "aac"),
]
TARGETS = [
    Target(".mp4", "h264"),
    Target(".mkv", "ffv1"),
    Target(".mkv", "h264"),
    Target(".webm", "vp9"),
    Target(".mov", "prores"),
    Target(".mov", "h264"),
    Target(".mp4", "hevc"),
    Target(".mkv", "vp9"),
    Target(".mkv", "av1"),
    Target(".mkv", "hevc"),
    Target(".mkv", "prores"),
    Target(".mp4", "av1"),
    Target(".mp4", "vp9"),
    Target(".webm", "av1"),
]
# These say of their pixels that they are not square, and of their pictures how colours are meant.
TELLING = [
    MP4,
    Source(".mp4", "mpeg4", "aac"),
    Source(".mov", "libx264", "aac"),
    Source(".mkv", "libx264", "aac"),
    Source(".ts", "mpeg2video", "mp2"),
    Source(".ts", "libx264", "aac"),
]
TRANSPARENT = [
    Source(".webm", "libvpx-vp9", "", "yuva420p"),
    Source(".webm", "libvpx", "", "yuva420p"),
    Source(".mkv", "libvpx-vp9", "", "yuva420p"),
    Source(".mkv", "ffv1", "", "yuva420p"),
    Source(".mov", "prores_ks", "", "yuva444p10le"),
    Source(".mov", "qtrle", "", "argb"),
    Source(".mov", "png", "", "rgba"),
    Source(".apng", "apng", "", "rgba"),
]
KEEP_ALPHA = {
    Target(".webm", "vp9"),
    Target(".mkv", "vp9"),
    Target(".mkv", "ffv1"),
    Target(".mov", "prores"),
    Target(".mkv", "prores"),
}
INTERLACED = [
    MP4,
    Source(".mkv", "libx264", "aac"),
    Source(".ts", "libx264", "ac3"),
    Source(".ts", "mpeg2video", "mp2"),
    Source(".vob", "mpeg2video", "ac3"),
    Source(".mov", "prores_ks", "pcm_s16le", "yuv422p10le"),
    Source(".mkv", "ffv1", "flac"),
]
KEEP_FIELDS = {
    ("h264", ".mp4"),
    ("h264", ".mkv"),
    ("h264", ".mov"),
    ("prores", ".mov"),
    ("prores", ".mkv"),
    ("ffv1", ".mkv"),
}
COMMON = 5
SLOW = {"hevc", "av1", "libx265", "libsvtav1"}


def pairs(sources: Sequence[Source], targets: Sequence[Target], *, quick: int) -> list[Any]:
    """The first source with every target, the others with the first five, at least one for each container.

    Between reading and writing lies only what was found out of a film: the pairs left out have no code of their own.
    Quick are the first source with the first `quick` targets, and each other source with one of these in turn.
    """
    return [
        case(source, target, place >= quick or (row > 0 and place != row % quick))
        for row, source in enumerate(sources)
        for place, target in enumerate(targets)
        if row == 0 or place < COMMON
    ]


def in_both_orders(cases: Sequence[Any]) -> list[Any]:
    """Every case with either field first; of the two, one is quick, in turn."""
    return [
        pytest.param(
            *each.values,
            order,
            id=f"{each.id}-{order}",
            marks=[pytest.mark.slow] if each.marks or row % 2 != place else [],
        )
        for row, each in enumerate(cases)
        for place, order in enumerate(("tff", "bff"))
    ]


def each_source(sources: Sequence[Source]) -> list[Any]:
    """Every source with two targets, others from source to source, so that each target comes."""
    return [
        case(source, TARGETS[(place + step) % len(TARGETS)], step > 0)
        for place, source in enumerate(sources)
        for step in (0, 5)
    ]


def case(source: Source, target: Target, slow: bool) -> Any:
    slow = slow or source.codec in SLOW or target.codec in SLOW
    return pytest.param(source, target, id=f"{source}-{target}", marks=[pytest.mark.slow] if slow else [])


@pytest.fixture
def make(make_clip: Fixture) -> Callable[..., Path]:
    def make_source(source: Source, **recipe: Any) -> Path:
        given = {"frames": 6, "rate": RATE, "size": source.size} | recipe
        if source.sound:
            given |= {"sound_codec": source.sound}
        return Path(make_clip(f"source{source.suffix}", codec=source.codec, pixel_format=source.pixel_format, **given))

    return make_source


@pytest.fixture
def converted(paint: Fixture, tmp_path: Path) -> Callable[..., Path]:
    def convert(source: Path, target: Target, **settings: Any) -> Path:
        output = tmp_path / f"painted{target.suffix}"
        paint(source, output, codec=target.codec, **settings)
        return output

    return convert


def first_frame(path: Path) -> av.VideoFrame:
    with av.open(str(path)) as film:
        return next(film.decode(video=0))


@pytest.mark.parametrize(("source", "target"), pairs(TELLING, TARGETS, quick=4))
def test_pixel_aspect_and_color_tags(make: Fixture, converted: Fixture, source: Source, target: Target) -> None:
    tags = {"colorspace": 1, "color_range": 1, "color_primaries": 1, "color_trc": 1}
    film = make(source, pixel_aspect=ASPECT, colors=tags)
    output = converted(film, target)
    with av.open(str(output)) as after:
        stream = after.streams.video[0]
        assert stream.sample_aspect_ratio == ASPECT
        assert stream.width * stream.sample_aspect_ratio / stream.height == Fraction(16, 9)
    names = ("colorspace", "color_primaries", "color_trc")
    before, painted = first_frame(film), first_frame(output)
    assert [getattr(painted, name) for name in names] == [getattr(before, name) for name in names]
    assert painted.color_range in {before.color_range, 0, 1}


@pytest.mark.parametrize(("source", "target"), pairs([MP4], TARGETS, quick=4))
def test_rotation(make: Fixture, converted: Fixture, read: Fixture, source: Source, target: Target) -> None:
    film = make(source, rotation=90)
    assert read(film).rotation % 360 == 90
    assert read(converted(film, target)).rotation % 360 == 90


@pytest.mark.parametrize(("source", "target"), each_source(SOURCES))
def test_frames_sound_and_duration(
    make: Fixture, converted: Fixture, read: Fixture, source: Source, target: Target
) -> None:
    film = make(source, frames=12, sounds=["eng", "fra"])
    before, after = read(film), read(converted(film, target))
    assert len(after.stamps) == len(before.stamps)
    seconds = [[at - stamps[0] for at in stamps] for stamps in (before.stamps, after.stamps)]
    assert all(abs(one - two) <= Fraction(1, 500) for one, two in zip(*seconds, strict=True))
    assert [track.kind for track in after.tracks] == [track.kind for track in before.tracks] == ["audio"] * 2
    for one, two in zip(before.tracks, after.tracks, strict=True):
        assert abs(sound_seconds(one) - sound_seconds(two)) < 0.1
        assert abs((one.packets[0][0] - before.stamps[0]) - (two.packets[0][0] - after.stamps[0])) < Fraction(1, 20)


def sound_seconds(track: Any) -> float:
    return float(track.packets[-1][0] + track.packets[-1][1] - track.packets[0][0])


def write_transparent(path: Path, source: Source) -> None:
    """The left half is a red that shows, the right half hides a green."""
    height, width = source.size
    pixels = np.zeros((height, width, 4), np.uint8)
    pixels[:, : width // 2], pixels[:, width // 2 :] = (200, 30, 30, 255), (0, 255, 0, 0)
    with av.open(str(path), "w") as film:
        options = {"auto-alt-ref": "0"} if source.codec.startswith("libvpx") else {}
        stream = film.add_stream(source.codec, rate=RATE, options=options)
        stream.height, stream.width, stream.pix_fmt, stream.thread_count = height, width, source.pixel_format, 1
        stream.bit_rate = 2_000_000
        if options:
            stream.metadata["alpha_mode"] = "1"
        for number in range(4):
            picture = av.VideoFrame.from_ndarray(pixels, format="rgba")
            picture.pts, picture.time_base = number, 1 / RATE
            film.mux(stream.encode(picture))
        film.mux(stream.encode(None))


def read_rgba(path: Path) -> tuple[np.ndarray, dict[str, str]]:
    """The last frame with its opacity, and what the file says of its pictures."""
    with av.open(str(path)) as film:
        stream = film.streams.video[0]
        decoder = stream.codec_context
        aside = {"vp8": "libvpx", "vp9": "libvpx-vp9"}.get(decoder.name)
        if aside is not None:
            decoder = CodecContext.create(aside, "r")
        frames = [frame for packet in film.demux(stream) for frame in decoder.decode(packet if packet.size else None)]
        return frames[-1].to_ndarray(format="rgba"), {key.lower(): value for key, value in stream.metadata.items()}


@pytest.mark.parametrize(("source", "target"), pairs(TRANSPARENT, TARGETS, quick=4))
def test_transparency(converted: Fixture, tmp_path: Path, source: Source, target: Target) -> None:
    film = tmp_path / f"source{source.suffix}"
    write_transparent(film, source)
    pixels, said = read_rgba(converted(film, target, background=(0, 0, 255)))
    np.testing.assert_allclose(pixels[24, 8], (200, 30, 30, 255), atol=14)
    if target in KEEP_ALPHA:
        assert pixels[24, 56, 3] <= 6
        assert said.get("alpha_mode") in ({"1"} if target.codec == "vp9" else {"1", None})
    else:
        np.testing.assert_allclose(pixels[24, 56], (0, 0, 255, 255), atol=14)
        assert "alpha_mode" not in said


def write_interlaced(path: Path, source: Source, order: str) -> None:
    """A bar that moves between the fields: whole frames are combed."""
    height, width = source.size
    graph = av.filter.Graph()
    feed = graph.add_buffer(width=width, height=height, format=av.VideoFormat(source.pixel_format), time_base=1 / RATE)
    graph.link_nodes(feed, graph.add("setfield", None, mode=order), graph.add("buffersink")).configure()
    with av.open(str(path), "w") as film:
        options = {"flags": "+ildct+ilme"}
        stream = film.add_stream(source.codec, rate=RATE, options=options)
        stream.height, stream.width, stream.pix_fmt, stream.thread_count = height, width, source.pixel_format, 1
        stream.bit_rate = 2_000_000
        for number in range(6):
            pixels = np.full((height, width, 3), 40, np.uint8)
            for field in (0, 1):
                moment = 2 * number + (field if order == "tff" else 1 - field)
                pixels[field::2, 4 * moment : 4 * moment + 12] = 210
            picture = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format=source.pixel_format)
            picture.pts, picture.time_base = number, 1 / RATE
            graph.vpush(picture)
            film.mux(stream.encode(graph.vpull()))
        film.mux(stream.encode(None))


def combing(frame: av.VideoFrame) -> float:
    """How much neighbouring lines differ more than lines of one field do."""
    luma = frame.to_ndarray(format="gray").astype(float)
    return float(np.abs(np.diff(luma, axis=0)).mean() - np.abs(luma[2:] - luma[:-2]).mean())


@pytest.mark.parametrize(
    ("source", "order"), in_both_orders([pytest.param(source, id=str(source)) for source in INTERLACED])
)
def test_deinterlaced_by_default(
    converted: Fixture, tmp_path: Path, source: Source, order: str, request: pytest.FixtureRequest
) -> None:
    film = tmp_path / f"source{source.suffix}"
    write_interlaced(film, source, order)
    before = first_frame(film)
    assert first_field(before) == {"tff": "top", "bff": "bottom"}[order]
    output = converted(film, TARGETS[0])
    with av.open(str(output)) as after:
        frames = list(after.decode(video=0))
    assert len(frames) == 6
    assert not any(frame.interlaced_frame for frame in frames)
    assert combing(before) > 10
    assert combing(frames[3]) < combing(before) / 3


FIELD_TARGETS = [target for target in TARGETS if (target.codec, target.suffix) in KEEP_FIELDS]


@pytest.mark.parametrize(("source", "target"), pairs(INTERLACED, FIELD_TARGETS, quick=1))
def test_fields_are_kept(converted: Fixture, tmp_path: Path, source: Source, target: Target) -> None:
    # As on a chessboard, so that each source and each target has both orders.
    order = ("tff", "bff")[(INTERLACED.index(source) + FIELD_TARGETS.index(target)) % 2]
    film = tmp_path / f"source{source.suffix}"
    write_interlaced(film, source, order)
    with av.open(str(converted(film, target, interlaced="keep"))) as after:
        frames = list(after.decode(video=0))
    assert len(frames) == 6
    assert {first_field(frame) for frame in frames} == {{"tff": "top", "bff": "bottom"}[order]}
    assert combing(frames[3]) > 10
