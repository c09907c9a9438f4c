"""Settling how a film is painted and written, before any work starts.

H height, W width in pixels.
"""

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from fastnst.errors import OutputError, SettingError, nearest_hint
from fastnst.inference.steadying import check_steady
from fastnst.io.images import format_of
from fastnst.machine.resources import check_threads
from fastnst.video.codecs import DEFAULT_CODECS, find_encoder
from fastnst.video.color import encoded_colors, has_alpha
from fastnst.video.containers import split_by_fit
from fastnst.video.encoder import Encoding, complete
from fastnst.video.film import Film, Span, Track
from fastnst.video.frame_files import describe_frames, is_pattern, numbered_name
from fastnst.video.orientation import swaps_sides
from fastnst.video.probing import probe
from fastnst.video.settings import VideoSettings

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
    """Look at a film and settle how it will be written.

    Args:
        source: a film, or numbered pictures: their folder, or a pattern such as `frames/%04d.png`.
        output: a film (.mp4 .m4v .mov .mkv .webm .gif) or a pattern for numbered pictures.
        settings: how; None: the defaults.
        overwrite: replace what is there.

    Raises:
        InputError: no film, or one that cannot be read or painted.
        OutputError: an output that cannot hold the film, or that is there already.
        SettingError: settings that do not fit.
    """
    settings = settings or VideoSettings()
    _check_settings(settings)
    pictures = source.is_dir() or is_pattern(source)
    _refuse_output(source, output, overwrite)
    film = describe_frames(source, settings.frame_rate or Fraction(25)) if pictures else probe(source, settings.start)
    if settings.frame_rate is not None and not pictures:
        raise SettingError(f"{source}: a film keeps its own rate; a frame rate is for numbered pictures")
    span = _span(film, settings)
    plan = _plan_pictures if is_pattern(output) else _plan_container
    return replace(plan(film, output, settings, span), overwrite=overwrite)


def _plan_pictures(film: Film, output: Path, settings: VideoSettings, span: Span) -> FilmPlan:
    format_of(output)
    notes = (*_notes(film, None), *_left_out(film.tracks, "picture files hold no sound"))
    return FilmPlan(film=film, output=output, settings=settings, span=span, upright=True, notes=notes)


def _plan_container(film: Film, output: Path, settings: VideoSettings, span: Span) -> FilmPlan:
    container = CONTAINERS[output.suffix.lower()]
    if container == "gif" and film.rate > _GIF_MOST_FPS:
        raise OutputError(
            f"{film.path}: has {float(film.rate):.4g} frames a second, and GIF shows {_GIF_MOST_FPS} at most; "
            "write .webm or .mp4"
        )
    fitting, others = split_by_fit(film, container)
    # Phones and cameras add tracks of measurements that next to nothing can write or read: these are only named.
    missed = [track for track in others if track.kind != "data"]
    if missed and container != "gif" and not settings.drop_tracks:
        names = ", ".join(str(track) for track in missed)
        raise OutputError(
            f"{film.path}: {names} cannot be held by {output.suffix}; write .mkv, or leave out with --drop-tracks"
        )
    upright = container == "gif"
    encoding = Encoding(
        encoder=find_encoder(settings.codec or DEFAULT_CODECS[container]),
        container=container,
        size=film.size[::-1] if upright and swaps_sides(film.orientation) else film.size,
        pixel_format="",
        time_base=film.time_base,
        rate=film.rate,
        colors=encoded_colors(film.colors, film.size[0]),
        pixel_aspect=film.pixel_aspect,
        quality=settings.quality,
        preset=settings.preset,
        threads=settings.codec_threads,
    )
    encoding = complete(encoding, film.pixel_format, settings.pixel_format)
    return FilmPlan(
        film=film,
        output=output,
        settings=settings,
        span=span,
        encoding=encoding,
        tracks=tuple(fitting),
        upright=upright,
        notes=(*_notes(film, encoding), *_left_out(others, f"{output.suffix} cannot hold it")),
    )


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
        raise OutputError(f"{first}: is there already; --overwrite replaces it")


def _left_out(tracks: tuple[Track, ...] | list[Track], why: str) -> list[str]:
    return [f"left out, because {why}: {', '.join(str(track) for track in tracks)}"] if tracks else []


def _notes(film: Film, encoding: Encoding | None) -> list[str]:
    notes = []
    if film.is_hdr:
        notes.append("the colours are HDR; they are tone-mapped to BT.709")
    if film.interlaced:
        notes.append("the film is interlaced; its lines are painted as they are stored")
    if film.pixel_aspect not in {None, 1} and (encoding is None or encoding.container == "gif"):
        notes.append(f"the pixels are not square ({film.pixel_aspect}), which this output cannot say")
    if encoding is not None:
        stored = encoding.pixel_format
        if has_alpha(film.pixel_format) and not has_alpha(stored) and stored != "pal8":
            notes.append(f"transparent parts are laid over white; {encoding.encoder} cannot hold them")
        height, width = encoding.size
        if (height % 2 or width % 2) and "444" in stored and "444" not in film.pixel_format:
            notes.append(f"{width}x{height} needs {stored} in {encoding.encoder}, which some players do not show")
    return notes
