"""How a film is painted and written: what a user can choose."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class VideoSettings:
    """How a film is painted and written."""

    codec: str | None = None
    """h264, hevc, vp9, av1, prores, ffv1, or the name of any encoder of FFmpeg, hardware too: hevc_nvenc, h264_qsv,
    h264_videotoolbox ... By default h264; vp9 in .webm."""

    quality: int | None = None
    """Lower is better and larger. By default 16 for h264, 18 for hevc, 24 for vp9 and av1, and up to 10 more for a
    source with few bits for each pixel."""

    preset: str | None = None
    """Speed of the encoder in its own words: ultrafast to placebo for h264 and hevc, 0 to 8 for vp9, 0 to 13 for av1;
    proxy, lt, standard, hq or 4444 for prores."""

    pixel_format: str | None = None
    """FFmpeg's word for how colours are stored, such as yuv420p, which every player shows. By default as the source."""

    compatible: bool = True
    """H.264 and HEVC in .mp4 and .mov as players can show them: 4:2:0, and H.264 with 8 bits. False: as the source."""

    background: tuple[int, int, int] = (255, 255, 255)
    """RGB, 0..255, under transparent parts where the output cannot hold them."""

    interlaced: Literal["deinterlace", "keep"] = "deinterlace"
    """What to do with interlaced frames: turn each into a whole picture, or paint its two fields and keep them."""

    steady: float = 0.0
    """How much of the frame before stays in what only moves or stands still: 0 paints each frame for itself, 0.8 holds
    strokes where they are."""

    start: Fraction | None = None
    """Where to begin, seconds."""

    end: Fraction | None = None
    """Where to end, seconds."""

    frame_rate: Fraction | None = None
    """Frames a second of numbered pictures; 25 by default. Films keep their own."""

    drop_tracks: bool = False
    """Leave out tracks that the output cannot hold, instead of encoding sound and subtitles anew."""

    damaged: Literal["stop", "skip"] = "stop"
    """What to do where a film is damaged or cut short: stop with an error, or paint what can be decoded."""

    resume: bool = True
    """Go on from what an earlier run with the same settings left."""

    codec_threads: int | None = None
    """Threads of the decoder and of the encoder, each. By default as many as FFmpeg thinks best."""
