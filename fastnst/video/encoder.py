"""Choosing and opening the encoder of a film: codec, pixel format, quality.

H height, W width in pixels; sizes are (height, width).
"""

import contextlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Literal, get_args

import av
import numpy as np
from av.codec import Codec, CodecContext
from av.codec.codec import find_best_pix_fmt_of_list
from av.codec.context import Flags
from av.container import OutputContainer
from av.packet import PacketSideData, PktSideDataT
from av.video.codeccontext import VideoCodecContext
from av.video.format import VideoFormat
from av.video.reformatter import ColorRange
from av.video.stream import VideoStream

from fastnst.errors import OutputError, SettingError, nearest_hint
from fastnst.video.codecs import FIXED_QUALITY, encoder_options, takes_qscale
from fastnst.video.color import FromRgb, has_alpha
from fastnst.video.decoder import AnyPacket
from fastnst.video.film import Colors, MarkFields

SEGMENT_FRAMES = 120
"""Frames between two places at which a stopped job can go on, and between two key frames."""

ALPHA_DATA: Final = "matroska_block_additional"
"""FFmpeg's word for opacity that is kept beside a picture."""

_ALPHA_ASIDE = {"libvpx", "libvpx-vp9"}
_HOLD_ASIDE = {"webm", "matroska"}
# They store odd sizes even where colours have half the resolution.
_TAKE_ODD_SIZES = {"libvpx", "libvpx-vp9", "libsvtav1", "ffv1", "prores_ks", "gif", "mpeg4"}


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """Everything that an encoder is told."""

    encoder: str
    """FFmpeg's name: libx264, hevc_nvenc ..."""

    size: tuple[int, int]
    pixel_format: str
    time_base: Fraction
    rate: Fraction
    colors: Colors
    pixel_aspect: Fraction | None = None
    quality: int | None = None
    preset: str | None = None
    threads: int | None = None
    container: str = "mp4"
    """FFmpeg's word for the file format: mp4, mov, matroska, webm, gif."""

    options: dict[str, str] = field(default_factory=dict)
    """Further options of the encoder."""

    fields: Literal["", "top", "bottom"] = ""
    """Which lines of an interlaced film are shown first; empty: its frames are whole pictures."""

    @property
    def keeps_alpha_aside(self) -> bool:
        """Opacity is a second picture, beside the first in the file (VP8 and VP9 in WebM and Matroska)."""
        return self.encoder in _ALPHA_ASIDE and has_alpha(self.pixel_format)

    @property
    def tells_aspect(self) -> bool:
        """The encoded pictures themselves say how wide their pixels are, wherever they are kept."""
        return any(word in self.encoder for word in ("264", "265", "hevc", "mpeg"))

    @property
    def codec_tag(self) -> str:
        """Four letters for the container; hvc1 is the one by which Apple's players know HEVC."""
        hevc = "hevc" in self.encoder or self.encoder == "libx265"
        return "hvc1" if hevc and self.container in {"mp4", "mov"} else ""


def complete(encoding: Encoding, source_format: str, wanted_format: str | None) -> Encoding:
    """Fill in quality, options and pixel format; the picture's size and form are kept as far as the encoder can.

    Each candidate is tried out on one frame that is encoded and decoded again, so that a missing device or an encoder
    that trims pictures is found now, not after hours. Pixel formats are the source's, and the one that the user asked
    for. Raises SettingError for settings that the encoder does not take, OutputError where it cannot encode such
    pictures.
    """
    encoding = replace(encoding, options=encoder_options(encoding.encoder, encoding.quality, encoding.preset))
    height, width = encoding.size
    if encoding.encoder == "libx265" and min(height, width) < 32 and (height % 8 or width % 8):
        raise OutputError(f"hevc cannot encode pictures as small as {width}x{height}; use --codec h264")
    reason = ""
    for pixel_format in _candidates(encoding, source_format, wanted_format):
        candidate = replace(encoding, pixel_format=pixel_format)
        if candidate.keeps_alpha_aside:  # libvpx cannot do both
            candidate = replace(candidate, options=candidate.options | {"auto-alt-ref": "0"})
        try:
            decoded = _try_out(candidate)
        except (av.FFmpegError, ValueError) as error:
            reason = str(getattr(error, "strerror", None) or error).splitlines()[0]
            continue
        if decoded == encoding.size:
            return candidate
        reason = f"it gives pictures of {decoded[1]}x{decoded[0]}"
    wanted = f" as {wanted_format}" if wanted_format else ""
    raise OutputError(
        f"the encoder {encoding.encoder} cannot encode {width}x{height}{wanted} here ({reason or 'no pixel format'}); "
        "choose another --codec"
    )


def add_alpha(packet: AnyPacket, alpha: bytes) -> None:
    """Put encoded opacity beside an encoded picture."""
    kinds: tuple[str, ...] = get_args(PktSideDataT)
    create: Any = PacketSideData  # PyAV's type hints leave this out
    content = create(kinds.index(ALPHA_DATA), len(alpha))
    content.update(alpha)
    packet.set_sidedata(content)


def open_encoder(encoding: Encoding) -> VideoCodecContext:
    """Open an encoder of its own, for one segment."""
    context = CodecContext.create(encoding.encoder, "w")
    if not isinstance(context, VideoCodecContext):
        raise SettingError(f"{encoding.encoder} encodes no pictures")
    configure(context, encoding)
    with kept_scheduling():
        context.open()
    return context


def add_encoder(target: OutputContainer, encoding: Encoding) -> VideoStream:
    """Add the film's pictures to a file to be written, and open their encoder."""
    stream = target.add_stream(encoding.encoder, rate=encoding.rate)
    if not isinstance(stream, VideoStream):
        raise SettingError(f"{encoding.encoder} encodes no pictures")
    configure(stream.codec_context, encoding)
    stream.time_base = encoding.time_base
    if encoding.codec_tag:
        stream.codec_context.codec_tag = encoding.codec_tag
    with kept_scheduling():
        stream.codec_context.open()
    return stream


def configure(context: VideoCodecContext, encoding: Encoding) -> None:
    """Tell an encoder that is not open yet all that it has to know."""
    # SVT-AV1 and x265 write to stderr themselves, past FFmpeg.
    os.environ.setdefault("SVT_LOG", "0")
    context.height, context.width = encoding.size
    context.pix_fmt = encoding.pixel_format
    context.time_base, context.framerate = encoding.time_base, encoding.rate
    context.thread_count = encoding.threads or 0
    context.gop_size = SEGMENT_FRAMES
    if encoding.fields:
        context.flags |= Flags.interlaced_dct | Flags.interlaced_me
    if encoding.pixel_aspect is not None:
        context.sample_aspect_ratio = encoding.pixel_aspect
    if not VideoFormat(encoding.pixel_format).is_rgb:
        context.colorspace = encoding.colors.matrix
        context.color_range = int(ColorRange.JPEG if encoding.colors.full_range else ColorRange.MPEG)
    context.color_primaries, context.color_trc = encoding.colors.primaries, encoding.colors.transfer
    if encoding.container != "gif":
        context.flags |= Flags.global_header
    context.options = dict(encoding.options)
    if encoding.quality is not None and takes_qscale(encoding.encoder):
        context.qscale = True
        context.global_quality = encoding.quality


def _candidates(encoding: Encoding, source_format: str, wanted: str | None) -> Iterator[str]:
    """Pixel formats worth trying, the most faithful first."""
    formats = [form.name for form in Codec(encoding.encoder, "w").video_formats or [] if form.components]
    if wanted is not None:
        if formats and wanted not in formats:
            hint = nearest_hint(wanted, formats)
            raise SettingError(f"pixel format {wanted!r}: {encoding.encoder} does not take it; {hint}")
        formats = [wanted]
    if encoding.encoder == "gif":
        yield "pal8"
        return
    if encoding.encoder in _ALPHA_ASIDE and encoding.container in _HOLD_ASIDE and has_alpha(source_format):
        ideal = "yuva420p"  # the only form with opacity that browsers show
    else:
        ideal = _plain_format(source_format, for_players=encoding.encoder not in FIXED_QUALITY)
        aside = encoding.encoder in _ALPHA_ASIDE and wanted is None
        formats = [name for name in formats if not (aside and has_alpha(name))]
    odd = encoding.size[0] % 2 or encoding.size[1] % 2
    if odd and wanted is None and encoding.encoder not in _TAKE_ODD_SIZES:
        formats = [name for name in formats if not _halves_colors(name)]
    if not formats:
        yield ideal
    while formats:
        best, _ = find_best_pix_fmt_of_list(formats, ideal, has_alpha(ideal))
        if best is None:
            return
        yield best.name
        formats.remove(best.name)


def _plain_format(source_format: str, for_players: bool) -> str:
    """The source's format as encoders have it: no grey, no palette; no RGB and no opacity in films for players."""
    source = VideoFormat(source_format)
    if source_format.startswith("yuvj"):
        return source_format.replace("yuvj", "yuv")
    if for_players and source_format.startswith("yuva"):
        return source_format.replace("yuva", "yuv")
    grey = len(source.components) < 3 and not source.has_palette
    if grey or (for_players and source.is_rgb):
        deep = max((component.bits for component in source.components), default=8) > 8
        return "yuv420p10le" if deep else "yuv420p"
    return "rgba" if source.has_palette else source_format


def eight_bits(pixel_format: str) -> str:
    """The form with 8 bits a sample that is closest to a pixel format."""
    form = VideoFormat(pixel_format)
    if max((component.bits for component in form.components), default=8) <= 8:
        return pixel_format
    forms = (
        ["yuva420p", "yuva422p", "yuva444p", "gbrap"]
        if has_alpha(pixel_format)
        else ["gray", "yuv420p", "yuv422p", "yuv440p", "yuv444p", "gbrp"]
    )
    best, _ = find_best_pix_fmt_of_list(forms, pixel_format, has_alpha(pixel_format))
    return pixel_format if best is None else best.name


def _halves_colors(pixel_format: str) -> bool:
    form = VideoFormat(pixel_format, 16, 16)
    return any(part.width < 16 or part.height < 16 for part in form.components if part.is_chroma)


def _try_out(encoding: Encoding) -> tuple[int, int]:
    """Write a film of one grey frame in memory and read it; returns the height and width that came out."""
    file = io.BytesIO()
    with av.open(file, "w", format=encoding.container) as target:
        stream = add_encoder(target, encoding)
        if encoding.pixel_format == "pal8":
            return encoding.size
        grey = FromRgb(encoding.pixel_format, encoding.colors)(np.full((*encoding.size, 3), 128, np.uint8))
        if encoding.fields:
            grey = MarkFields(encoding)(grey)
        grey.pts, grey.time_base = 0, encoding.time_base
        for packet in [*stream.encode(grey), *stream.encode(None)]:
            packet.dts = packet.pts  # x265 leaves it unset in a film as short as this
            target.mux(packet)
    file.seek(0)
    with av.open(file, "r") as source:
        frame = next(source.decode(video=0), None)
        if frame is not None and encoding.fields and not frame.interlaced_frame:
            raise ValueError("it cannot say that a film is interlaced")
        return (frame.height, frame.width) if frame is not None else (0, 0)


_TASKS = Path("/proc/self/task")


@contextlib.contextmanager
def kept_scheduling() -> Iterator[None]:
    """Give each thread its scheduling back afterwards, and those that are new then that of the caller."""
    if not _TASKS.is_dir():
        yield
        return
    before = _scheduling()
    # The list above may miss a thread, even this one, while others end.
    own = os.sched_getscheduler(0), os.sched_getparam(0).sched_priority
    try:
        yield
    finally:
        for thread, scheduling in _scheduling().items():
            wanted = before.get(thread, own)
            if scheduling != wanted:
                with contextlib.suppress(OSError):  # it has ended
                    os.sched_setscheduler(thread, wanted[0], os.sched_param(wanted[1]))


def _scheduling() -> dict[int, tuple[int, int]]:
    """Policy and real-time priority of each thread, by the system's number."""
    found = {}
    for task in _TASKS.iterdir():
        thread = int(task.name)
        with contextlib.suppress(OSError):
            found[thread] = os.sched_getscheduler(thread), os.sched_getparam(thread).sched_priority
    return found
