"""Settling how a film is painted and written, before any work starts.

H height, W width in pixels.
"""

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal

from av.video.format import VideoFormat

from fastnst.errors import OutputError, SettingError, nearest_hint
from fastnst.inference.steadying import check_steady
from fastnst.io.images import format_of
from fastnst.machine import check_threads, usable_processors
from fastnst.video.codecs import DEFAULT_CODECS, encoder_threads, find_encoder, fitted_quality
from fastnst.video.color import encoded_colors, has_alpha
from fastnst.video.containers import language_notes
from fastnst.video.encoder import Encoding, complete, eight_bits
from fastnst.video.film import Film, Span, Track, swaps_sides
from fastnst.video.frame_files import describe_animation, describe_frames, is_animated_webp, is_pattern, numbered_name
from fastnst.video.job import left_identity
from fastnst.video.reader import probe
from fastnst.video.tracks import held_by_matroska, split_by_fit


@dataclass(frozen=True, kw_only=True)
class VideoSettings:
    """How a film is painted and written."""

    codec: str | None = None
    """h264, hevc, vp9, av1, prores, ffv1, or the name of any encoder of FFmpeg, hardware too: hevc_nvenc, h264_qsv,
    h264_videotoolbox ... By default h264; vp9 in .webm."""

    crf: int | None = None
    """Lower is better and larger. By default 16 for h264, 18 for hevc, 24 for vp9 and av1, and up to 10 more for a
    source with few bits for each pixel."""

    encoder_speed: str | None = None
    """Speed of the encoder in its own words: ultrafast to placebo for h264 and hevc, 0 to 8 for vp9, 0 to 13 for av1;
    proxy, lt, standard, hq or 4444 for prores."""

    pixel_format: str | None = None
    """FFmpeg's word for how colors are stored, such as yuv420p, which every player shows. By default as the source."""

    compatible: bool = True
    """H.264 and HEVC in .mp4 and .mov as players can show them: 4:2:0, and H.264 with 8 bits. False: as the source."""

    background: tuple[int, int, int] = (255, 255, 255)
    """RGB, 0..255, under transparent parts where the output cannot hold them."""

    interlaced: Literal["deinterlace", "keep"] = "deinterlace"
    """What to do with interlaced frames: turn each into a whole picture, or stylize its two fields and keep them."""

    steady: float = 0.0
    """Share of the frame before that is kept where things only move or stand still: 0 stylizes each frame on its own,
    0.8 holds strokes where they are."""

    start: Fraction | None = None
    """Where to begin, seconds."""

    end: Fraction | None = None
    """Where to end, seconds."""

    frame_rate: Fraction | None = None
    """Frames a second of numbered pictures; 25 by default. Films keep their own."""

    drop_tracks: bool = False
    """Leave out tracks that the output cannot hold, instead of encoding sound and subtitles anew."""

    damaged: Literal["stop", "skip"] = "stop"
    """What to do where a film is damaged or cut short: stop with an error, or stylize what can be decoded."""

    resume: bool | Literal["force"] = True
    """Go on from what an earlier run with the same settings left; with "force" it is an error where that had others."""

    codec_threads: int | None = None
    """Threads of the decoder and of the encoder, each. By default as many as FFmpeg thinks best."""


CONTAINERS = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
    ".gif": "gif",
}
"""FFmpeg's name for the file format of each suffix that is written."""

_GIF_MOST_FPS = 50
_LATEST_S = 366 * 24 * 3600  # FFmpeg counts ticks in 64 bits


@dataclass(frozen=True, kw_only=True)
class FilmPlan:
    """What will be done with one film; everything that can be refused has been."""

    film: Film
    output: Path
    settings: VideoSettings
    span: Span
    encoding: Encoding | None = None
    """None: the output is numbered pictures."""

    tracks: tuple[Track, ...] = ()
    """Tracks that are carried over."""

    overwrite: bool = False
    """Replace what is there when the film is done."""

    upright: bool = False
    """The output is stored as it is shown, because it cannot tell players to turn it."""

    notes: tuple[str, ...] = ()
    """What the user should know beforehand, one line each."""

    @property
    def keeps_alpha(self) -> bool:
        """Whether the output can be transparent."""
        if self.encoding is None:
            return format_of(self.output) not in {"JPEG", "BMP"}
        return keeps_alpha(self.encoding)

    @property
    def frames(self) -> int | None:
        """How many frames there are to paint, as far as that is known."""
        film, span = self.film, self.span
        if film.frames is None or span == Span():
            return film.frames
        length = film.frames * film.frame_ticks
        ticks = min(span.end or length, length) - (span.start or 0)
        return max(0, ticks // film.frame_ticks)


def plan_film(
    source: Path, output: Path, settings: VideoSettings | None = None, *, overwrite: bool = False
) -> FilmPlan:
    """Look at a film, or numbered pictures, and settle how it will be written.

    Those are their folder, or a pattern such as `frames/%04d.png`; the output is a film (.mp4 .m4v .mov .mkv .webm
    .gif) or such a pattern. Raises InputError for no film, or one that cannot be read or painted; OutputError for an
    output that cannot hold the film, or that is there already; SettingError for settings that do not fit.
    """
    settings = settings or VideoSettings()
    _check_settings(settings)
    pictures = source.is_dir() or is_pattern(source)
    _refuse_output(source, output, overwrite)
    if pictures:
        film = describe_frames(source, settings.frame_rate or Fraction(25))
    else:
        film = describe_animation(source) if is_animated_webp(source) else probe(source, settings.start)
    if settings.frame_rate is not None and not pictures:
        raise SettingError(f"{source}: a film keeps its own rate; a frame rate is for numbered pictures")
    span = _span(film, settings)
    plan = _plan_pictures if is_pattern(output) else _plan_container
    return replace(plan(film, output, settings, span), overwrite=overwrite)


def _plan_pictures(film: Film, output: Path, settings: VideoSettings, span: Span) -> FilmPlan:
    format_of(output)
    notes = (*_notes(film, None, settings), *_left_out(film.tracks, "picture files hold no sound"))
    return FilmPlan(film=film, output=output, settings=settings, span=span, upright=True, notes=notes)


def _plan_container(film: Film, output: Path, settings: VideoSettings, span: Span) -> FilmPlan:
    container = CONTAINERS[output.suffix.lower()]
    if container == "gif" and film.rate > _GIF_MOST_FPS:
        raise OutputError(
            f"{film.path}: has {float(film.rate):.4g} frames a second, and GIF shows {_GIF_MOST_FPS} at most; "
            "write .webm or .mp4"
        )
    fitting, others = split_by_fit(film, container, encode=not settings.drop_tracks and container != "gif")
    # Phones and cameras add tracks of measurements that next to nothing can write or read: these are only named.
    # So do iPhones with a second sound that only Apple's own programs know.
    missed = held_by_matroska(film, [track for track in others if track.kind != "data"])
    if missed and container != "gif" and not settings.drop_tracks:
        names = ", ".join(str(track) for track in missed)
        raise OutputError(
            f"{film.path}: {names} cannot be held by {output.suffix}; write .mkv, or leave out with --drop-tracks"
        )
    upright = container == "gif"
    encoder = find_encoder(settings.codec or DEFAULT_CODECS[container])
    if film.fields and settings.interlaced == "keep" and (container == "gif" or encoder == "libx265"):
        raise OutputError(f"{output}: cannot say that a film is interlaced; leave --interlaced keep out")
    encoding = Encoding(
        encoder=encoder,
        container=container,
        size=film.size[::-1] if upright and swaps_sides(film.orientation) else film.size,
        pixel_format="",
        time_base=film.time_base,
        rate=film.rate,
        colors=encoded_colors(film.colors, film.size[0]),
        pixel_aspect=film.pixel_aspect,
        quality=settings.crf if settings.crf is not None else fitted_quality(encoder, film.bits_per_pixel),
        fields=film.fields if settings.interlaced == "keep" else "",
        preset=settings.encoder_speed,
        threads=settings.codec_threads
        or _begun_threads(output, settings)
        or encoder_threads(encoder, usable_processors()),
    )
    encoding = complete(encoding, _form(film, encoding, settings), settings.pixel_format)
    return FilmPlan(
        film=film,
        output=output,
        settings=settings,
        span=span,
        encoding=encoding,
        tracks=tuple(fitting),
        upright=upright,
        notes=(
            *_notes(film, encoding, settings),
            *(
                f"{track} is encoded as {track.encoder.removeprefix('lib')}, because {output.suffix} cannot hold it"
                + (f"; {track.mixed}" if track.mixed else "")
                for track in fitting
                if track.encoder
            ),
            *_left_out(others, f"{output.suffix} cannot hold it"),
            *language_notes(fitting, container, output.suffix),
        ),
    )


def _begun_threads(output: Path, settings: VideoSettings) -> int | None:
    """Threads of the encoder that a stopped job for this output was begun with, perhaps on other cores."""
    left = left_identity(output) if settings.resume else None
    threads = (left or {}).get("encoder threads")
    return threads if isinstance(threads, int) and threads > 0 else None


def _check_settings(settings: VideoSettings) -> None:
    start, end = settings.start or 0, settings.end
    if start < 0 or (end is not None and end <= start):
        raise SettingError(f"from {start} s to {end} s: expected a start before the end")
    if max(start, end or 0) > _LATEST_S:
        raise SettingError(f"from {float(start):g} s to {end} s: expected at most {_LATEST_S} s, which is a year")
    check_steady(settings.steady)
    check_threads(settings.codec_threads, "codec threads")


def _span(film: Film, settings: VideoSettings) -> Span:
    def ticks(at_s: Fraction | None) -> int | None:
        return None if at_s is None else math.ceil((film.origin_s + at_s) / film.time_base)

    return Span(ticks(settings.start), ticks(settings.end))


def _refuse_output(source: Path, output: Path, overwrite: bool) -> None:
    """Refuse outputs that are no films, the source itself, or there already."""
    if not is_pattern(output) and output.suffix.lower() not in CONTAINERS:
        hint = nearest_hint(output.suffix.lower(), CONTAINERS)
        raise OutputError(f"{output}: is no name for a film that can be written; {hint}, or numbered frames/%05d.png")
    first = first_file(output)
    if first.is_dir():
        raise OutputError(f"{first}: is a folder; expected a file to write")
    if source.exists() and first.exists() and first.samefile(source):
        raise OutputError(f"{output}: is the film itself, and is not overwritten; choose another -o")
    if is_pattern(output) and (output.parent.resolve() == source.resolve() or output.resolve() == source.resolve()):
        raise OutputError(f"{output}: would be written over the frames that are read; choose another folder")
    refuse_existing(output, overwrite)


def first_file(output: Path) -> Path:
    """The file that an output is, or begins with."""
    return numbered_name(output, 1) if is_pattern(output) else output


def refuse_existing(output: Path, overwrite: bool) -> None:
    """Raise OutputError where an output is there already and not to be replaced."""
    first = first_file(output)
    if first.exists() and not overwrite:
        raise OutputError(f"{first}: already exists; --overwrite replaces it")


def keeps_alpha(encoding: Encoding) -> bool:
    """Whether what is encoded so can be transparent."""
    return has_alpha(encoding.pixel_format) or encoding.pixel_format == "pal8"


def _is_yuv(pixel_format: str) -> bool:
    form = VideoFormat(pixel_format)
    return not form.is_rgb and not form.has_palette and sum(not part.is_alpha for part in form.components) == 3


def _subsampling_or_depth(pixel_format: str) -> tuple[int, bool, bool]:
    """Bits of a sample, and whether colours have half the resolution, across and down; RGB counts as full."""
    form = VideoFormat(pixel_format, 16, 16)
    bits = max((part.bits for part in form.components), default=8)
    chroma = [part for part in form.components if part.is_chroma]
    return bits, any(part.width < 16 for part in chroma), any(part.height < 16 for part in chroma)


def _left_out(tracks: tuple[Track, ...] | list[Track], why: str) -> list[str]:
    return [f"left out, because {why}: {', '.join(str(track) for track in tracks)}"] if tracks else []


def _form(film: Film, encoding: Encoding, settings: VideoSettings) -> str:
    """The pixel format to aim at: the source's; with 8 bits after tone mapping; one that players can show in MP4."""
    form = eight_bits(film.pixel_format) if film.is_hdr else film.pixel_format
    if not settings.compatible or settings.pixel_format is not None or encoding.container not in {"mp4", "mov"}:
        return form
    if "264" in encoding.encoder:
        return "yuv420p"
    if encoding.encoder == "libx265" or "hevc" in encoding.encoder:
        return "yuv420p" if eight_bits(form) == form else "yuv420p10le"
    return form


def _notes(film: Film, encoding: Encoding | None, settings: VideoSettings) -> list[str]:
    notes = []
    if film.is_hdr:
        notes.append("the colors are HDR; they are tone-mapped to BT.709 with 8 bits")
    if film.fields and settings.interlaced == "deinterlace":
        kept = "" if encoding is None else "; --interlaced keep keeps its fields"
        notes.append(f"the film is interlaced; its frames are turned into whole pictures{kept}")
    named = film.views_by_name and encoding is not None and encoding.container in {"matroska", "webm"}
    if film.views and not named:
        notes.append(f"the film is marked as {film.views}, which the output does not say; mark it as its source was")
    if film.pixel_aspect not in {None, 1} and (encoding is None or encoding.container == "gif"):
        notes.append(f"the pixels are not square ({film.pixel_aspect}), which this output cannot say")
    if encoding is not None:
        stored = encoding.pixel_format
        if has_alpha(film.pixel_format) and not keeps_alpha(encoding):
            color = (
                "white"
                if settings.background == (255, 255, 255)
                else "#{:02x}{:02x}{:02x}".format(*settings.background)
            )
            notes.append(f"transparent parts are laid over {color}; {encoding.encoder} cannot hold them")
        aimed = _form(film, encoding, settings)
        as_source = eight_bits(film.pixel_format) if film.is_hdr else film.pixel_format
        if stored == aimed and _is_yuv(as_source) and _subsampling_or_depth(aimed) != _subsampling_or_depth(as_source):
            notes.append(
                f"stored as {stored}, which every player shows; the source has {film.pixel_format}, "
                "whose form --no-compatible keeps"
            )
        height, width = encoding.size
        if (height % 2 or width % 2) and "444" in stored and "444" not in film.pixel_format:
            notes.append(f"{width}x{height} needs {stored} in {encoding.encoder}, which some players do not show")
    return notes
