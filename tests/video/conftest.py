"""Clips of a few small frames, made with PyAV, and what is in a clip, read back."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from fastnst.inference.pipeline import StylePipeline
from fastnst.video.plan import VideoSettings, plan_film
from fastnst.video.stylize import FilmResult, stylize_film

NTSC = Fraction(30000, 1001)
ASS_HEADER = (
    b"[Script Info]\nScriptType: v4.00+\n[V4+ Styles]\nFormat: Name, Fontname, Fontsize\nStyle: Default,Arial,16\n"
    b"[Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n"
)

MakeClip = Callable[..., Path]


def draw_frames(count: int, size: tuple[int, int]) -> list[np.ndarray]:
    """A bright square that wanders over a slope of colours, so that no two frames and no two corners are alike."""
    height, width = size
    down, across = np.mgrid[:height, :width]
    slope = np.stack([60 + 100 * across / width, 60 + 100 * down / height, np.full(size, 90)], -1).astype(np.uint8)
    frames = []
    for number in range(count):
        frame = slope.copy()
        left = number * 3 % (width - 8)
        frame[4:12, left : left + 8] = (230, 30, 200)
        frames.append(frame)
    return frames


@dataclass(frozen=True, kw_only=True)
class ClipRecipe:
    """What `make_clip` writes."""

    frames: int | Sequence[np.ndarray] = 12
    size: tuple[int, int] = (48, 64)
    rate: Fraction = NTSC
    stamps: Sequence[int] | None = None
    """Ticks of 1/1000 s at which frames are shown, for a varying rate."""

    codec: str = "libx264"
    pixel_format: str = "yuv420p"
    colors: dict[str, int] | None = None
    """How pictures are converted, as attributes of the encoder: colorspace, color_range ..."""

    tagged: bool = True
    """Whether the file says so."""

    rotation: int | None = None
    pixel_aspect: Fraction | None = None
    sounds: Sequence[str] = ()
    """Languages of the tracks of sound."""

    sound_codec: str = "aac"
    subtitles: str | None = None
    """Codec: mov_text, subrip."""

    attachment: bool = False
    chapters: bool = False
    metadata: dict[str, str] | None = None
    options: dict[str, str] | None = None
    gop: int = 12


@pytest.fixture
def make_clip(tmp_path: Path) -> MakeClip:
    """Write a clip: `make_clip("a.mp4", frames=20, sounds=["eng"])`."""

    def make(name: str, **recipe: Any) -> Path:
        path = tmp_path / name
        write_clip(path, ClipRecipe(**recipe))
        return path

    return make


def write_clip(path: Path, recipe: ClipRecipe) -> None:
    frames = draw_frames(recipe.frames, recipe.size) if isinstance(recipe.frames, int) else recipe.frames
    with av.open(str(path), "w") as clip:
        clip.metadata.update(recipe.metadata or {})
        pictures = clip.add_stream(recipe.codec, rate=recipe.rate, options=recipe.options)
        pictures.height, pictures.width = frames[0].shape[:2]
        pictures.pix_fmt, pictures.thread_count, pictures.gop_size = recipe.pixel_format, 1, recipe.gop
        time_base = 1 / recipe.rate if recipe.stamps is None else Fraction(1, 1000)
        pictures.codec_context.time_base = time_base
        for name, value in (recipe.colors or {}).items() if recipe.tagged else ():
            setattr(pictures.codec_context, name, value)
        if recipe.pixel_aspect:
            pictures.codec_context.sample_aspect_ratio = recipe.pixel_aspect
        if recipe.rotation is not None:
            pictures.set_display_rotation(recipe.rotation)
        sounds = [clip.add_stream(recipe.sound_codec, rate=48000) for _ in recipe.sounds]
        for sound, language in zip(sounds, recipe.sounds, strict=True):
            sound.metadata["language"] = language
        words = clip.add_stream(recipe.subtitles) if recipe.subtitles else None
        if words is not None:
            words.metadata["language"] = "deu"
            words.codec_context.subtitle_header = ASS_HEADER
        if recipe.attachment:
            clip.add_attachment("font.ttf", "application/x-truetype-font", b"letters" * 20)
        if recipe.chapters:
            base = Fraction(1, 1000)
            ends = [(0, 200, "one"), (200, 400, "two")]
            clip.set_chapters(
                [
                    {"id": number, "start": start, "end": end, "time_base": base, "metadata": {"title": title}}
                    for number, (start, end, title) in enumerate(ends)
                ]
            )
        stamps = recipe.stamps or range(len(frames))
        steps = [later - earlier for earlier, later in pairwise(stamps)]
        lengths: dict[int, int] = {}
        coded: list[av.Packet] = []
        for frame, pts, duration in zip(frames, stamps, [*steps, steps[-1] if steps else 1], strict=True):
            picture = to_video_frame(frame, recipe)
            picture.pts, picture.time_base, picture.duration = pts, time_base, duration
            lengths[pts] = duration
            coded += pictures.encode(picture)
        for packet in [*coded, *pictures.encode(None)]:
            packet.duration = lengths[packet.pts]  # encoders forget it, and the last one's is the film's end
            clip.mux(packet)
        for number, sound in enumerate(sounds):
            for block in range(20):
                wave = np.sin((np.arange(1024) + block * 1024) * 0.02 * (number + 1)).astype(np.float32)
                tone = av.AudioFrame.from_ndarray(np.stack([wave, wave]) * 0.3, format="fltp", layout="stereo")
                tone.sample_rate, tone.pts, tone.time_base = 48000, block * 1024, Fraction(1, 48000)
                clip.mux(sound.encode(tone))
            clip.mux(sound.encode(None))
        for number in range(2 if words is not None else 0):
            text = b"\x00\x05hello" if recipe.subtitles == "mov_text" else b"hello"
            packet = av.Packet(text)
            packet.stream, packet.time_base = words, Fraction(1, 1000)
            packet.pts = packet.dts = 150 * number
            packet.duration = 100
            clip.mux(packet)


@contextmanager
def copying(
    source: Path, target: Path, change: Callable[[av.Packet], object] | None = None, kind: str = "", **options: Any
) -> Iterator[av.container.OutputContainer]:
    """Copy the packets of all tracks, or of those of a kind, after what is done with the new film in the block."""
    with av.open(str(source)) as reading, av.open(str(target), "w", **options) as writing:
        chosen = [stream for stream in reading.streams if kind in ("", stream.type)]
        streams = {stream.index: writing.add_stream_from_template(stream, opaque=True) for stream in chosen}
        yield writing
        for packet in reading.demux(chosen):
            if packet.size:
                if change is not None:
                    change(packet)
                packet.stream = streams[packet.stream_index]
                writing.mux(packet)


@pytest.fixture
def copy_film() -> Callable[..., Any]:
    return copying


def to_video_frame(frame: np.ndarray, recipe: ClipRecipe) -> av.VideoFrame:
    colors = recipe.colors or {}
    matrix = {1: "ITU709", 9: "BT2020"}.get(colors.get("colorspace", 6), "ITU601")
    full = colors.get("color_range") == 2
    picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
    coded = picture.reformat(
        format=recipe.pixel_format,
        dst_colorspace=matrix,
        src_color_range="JPEG",
        dst_color_range="JPEG" if full else "MPEG",
        interpolation=0x4 | 0x40000 | 0x2000 | 0x4000,  # bicubic, accurate, full chroma
        threads=1,
    )
    if not recipe.tagged:
        coded.colorspace, coded.color_range = 2, 0
    return coded


@dataclass(frozen=True)
class TrackContents:
    """One track, read back."""

    kind: str
    codec: str
    language: str | None
    packets: tuple[tuple[Fraction, Fraction, bytes], ...]
    """Time, duration and content."""


@dataclass(frozen=True)
class ClipContents:
    """A clip, read back."""

    tracks: tuple[TrackContents, ...]
    """All but the pictures."""

    frames: tuple[np.ndarray, ...]
    stamps: tuple[Fraction, ...]
    rate: Fraction
    duration_s: Fraction
    codec: str
    pixel_format: str
    size: tuple[int, int]
    colors: tuple[int, int, int, int]
    """Matrix, range, primaries, transfer."""

    pixel_aspect: Fraction | None
    rotation: int
    metadata: dict[str, str]
    chapters: tuple[tuple[Fraction, Fraction, str], ...]


def read_clip(path: Path, *, pictures: bool = True) -> ClipContents:
    """Read a clip, not by fastnst's own reader; without `pictures` only when frames are shown."""
    with av.open(str(path)) as clip:
        main = clip.streams.video[0]
        packets: dict[int, list[tuple[Fraction, Fraction, bytes]]] = {stream.index: [] for stream in clip.streams}
        decoded: list[av.VideoFrame] = []
        stamps: list[Fraction] = []
        for packet in clip.demux():
            if packet.stream is main:
                frames = packet.decode()
                stamps += [frame.pts * main.time_base for frame in frames]
                decoded += frames if pictures or not decoded else []
            elif packet.size:
                at = packet.pts * packet.time_base
                packets[packet.stream_index].append((at, packet.duration * packet.time_base, bytes(packet)))
        tracks = tuple(
            TrackContents(stream.type, _codec(stream), stream.language, tuple(packets[stream.index]))
            for stream in clip.streams
            if stream.index != main.index and stream.discard != av.stream.Discard.all
        )
        chapters = tuple(
            (
                chapter["start"] * chapter["time_base"],
                chapter["end"] * chapter["time_base"],
                chapter["metadata"]["title"],
            )
            for chapter in clip.chapters()
        )
        first, context = decoded[0], main.codec_context
        return ClipContents(
            tracks=tracks,
            frames=tuple(to_rgb(frame) for frame in decoded) if pictures else (),
            stamps=tuple(stamps),
            rate=main.average_rate,
            duration_s=main.duration * main.time_base if main.duration else Fraction(clip.duration, 1_000_000),
            codec=context.codec.canonical_name,
            pixel_format=first.format.name,
            size=(first.height, first.width),
            colors=(first.colorspace, first.color_range, first.color_primaries, first.color_trc),
            pixel_aspect=main.sample_aspect_ratio,
            rotation=first.rotation,
            metadata={key.lower(): value for key, value in clip.metadata.items()},
            chapters=chapters,
        )


def _codec(stream: Any) -> str:
    return stream.codec_context.codec.canonical_name if stream.codec_context else str(stream.name)


def to_rgb(picture: av.VideoFrame) -> np.ndarray:
    """Decode as a player does: by the tags, else by the height."""
    matrix = {1: "ITU709", 9: "BT2020", 2: "ITU709" if picture.height >= 720 else "ITU601"}
    full = picture.color_range == 2 or picture.format.name.startswith("yuvj")
    return picture.reformat(
        format="rgb24",
        src_colorspace=matrix.get(picture.colorspace, "ITU601"),
        src_color_range="JPEG" if full else "MPEG",
        dst_color_range="JPEG",
        interpolation=0x4 | 0x40000 | 0x2000 | 0x4000,
        threads=1,
    ).to_ndarray()


@pytest.fixture
def read() -> Callable[..., ClipContents]:
    return read_clip


Paint = Callable[..., FilmResult]


@pytest.fixture
def paint(tmp_path_factory: pytest.TempPathFactory, fake_session: type) -> Paint:
    """Plan and paint with one thread, by default with a network that changes nothing.

    `style` is the network's file, by which a stopped job knows it again; `open_session` opens it on a `provider`.
    """
    folder = tmp_path_factory.mktemp("styles")

    def run(
        source: Path,
        output: Path,
        painter: Any = None,
        *,
        style: str | Path = "fake",
        provider: str = "cpu",
        open_session: Any = None,
        **settings: Any,
    ) -> FilmResult:
        path = style if isinstance(style, Path) else folder / f"{style}.onnx"
        if not path.exists():
            path.write_text(str(style))
        overwrite = settings.pop("overwrite", False)
        on_progress = settings.pop("on_progress", lambda _progress: None)
        chosen = replace(VideoSettings(codec_threads=1), **settings)
        plan = plan_film(source, output, chosen, overwrite=overwrite)

        def opened(path: Path, **_options: object) -> Any:
            return fake_session(painter or unchanged, path=path)

        with StylePipeline(str(path), provider=provider, open_session=open_session or opened) as pipeline:
            return stylize_film(pipeline, plan, on_progress=on_progress)

    return run


def unchanged(frame: np.ndarray) -> np.ndarray:
    return frame
