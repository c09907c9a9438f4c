"""Encoding painted frames into segments, in a folder that outlives the process."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
from av import VideoFrame
from av.video.codeccontext import VideoCodecContext

from fastnst.errors import OutputError
from fastnst.inference.steadying import Past, load_past, save_past
from fastnst.video.color import FromRgb, ToPalette
from fastnst.video.decoder import reason
from fastnst.video.encoder import ALPHA_DATA, SEGMENT_FRAMES, Encoding, open_encoder
from fastnst.video.fields import MarkFields
from fastnst.video.film import FilmFrame
from fastnst.video.job import JobFolder, writing
from fastnst.video.segments import EncodedFrame, Segment, SegmentWriter, load_segment


class SegmentedEncoder:
    """Encodes frames into a job's folder, `SEGMENT_FRAMES` to a segment; begins after what an earlier run left."""

    def __init__(self, job: JobFolder, encoding: Encoding, *, held: bool = False) -> None:
        """Load what there is.

        Args:
            job: for the segments.
            encoding: how to encode.
            held: frames depend on those before; kept is what the first frame of the next segment depends on.
        """
        self._job, self._encoding = job, encoding
        palette = encoding.pixel_format == "pal8"
        self._convert = ToPalette(encoding.size) if palette else FromRgb(encoding.pixel_format, encoding.colors)
        self._mark = MarkFields(encoding) if encoding.fields else None
        self.segments = list(self._load())
        """Finished segments, in order."""

        self.past: Past | None = None
        """What the next frame depends on, where frames are held."""

        while held and self.segments and self.past is None:
            self.past = load_past(self._past_path(len(self.segments) - 1))
            if self.past is None:
                self.segments.pop()
        self._open: tuple[VideoCodecContext, SegmentWriter] | None = None
        self._durations: dict[int, int] = {}
        job.keep = bool(self.segments)

    @property
    def done(self) -> int:
        """Frames in finished segments."""
        return sum(len(segment.pts) for segment in self.segments)

    @property
    def size(self) -> int:
        """Bytes that finished segments take."""
        return sum(segment.path.stat().st_size for segment in self.segments)

    @property
    def last_pts(self) -> int | None:
        """When the last of them is shown, ticks."""
        return max(self.segments[-1].pts) if self.segments else None

    def write(self, painted: FilmFrame) -> None:
        """Encode a frame.

        Raises:
            OutputError: no space, or an encoder that gives up.
        """
        coded = self._convert(painted.frame, painted.alpha)
        coded = coded if self._mark is None else self._mark(coded)
        coded.pts, coded.time_base, coded.duration = painted.pts, self._encoding.time_base, painted.duration
        self._durations[painted.pts] = painted.duration
        self.past = painted.past
        with self._errors():
            if self._open is None:
                self._open = open_encoder(self._encoding), SegmentWriter(self._path(len(self.segments)))
            _encode(*self._open, coded, self._durations)
        if len(self._durations) == SEGMENT_FRAMES:
            self.finish()

    def finish(self) -> None:
        """Make the segment at hand whole. Raises OutputError."""
        if self._open is None:
            return
        context, writer = self._open
        if self.past is not None:
            save_past(self._past_path(len(self.segments)), self.past)
        with self._errors():
            _encode(context, writer, None, self._durations)
            segment = writer.finish(context.extradata or b"")
        if len(segment.pts) != len(self._durations):
            raise OutputError(f"{self._job.output}: {self._encoding.encoder} left out frames; choose another --codec")
        self._past_path(len(self.segments) - 1).unlink(missing_ok=True)
        self.segments.append(segment)
        self._job.keep = True
        self._open, self._durations = None, {}

    def abandon(self) -> None:
        """Drop the segment at hand."""
        if self._open is not None:
            self._open[1].abandon()
            self._open = None

    @contextmanager
    def _errors(self) -> Iterator[None]:
        with writing(self._job.output):
            try:
                yield
            except av.FFmpegError as error:
                words = f"{self._job.output}: {self._encoding.encoder} failed ({reason(error)})"
                raise OutputError(words) from error

    def _load(self) -> Iterator[Segment]:
        for number in itertools.count() if self._job.resumed else ():
            segment = load_segment(self._path(number))
            if segment is None:
                return
            yield segment

    def _path(self, number: int) -> Path:
        return self._job.folder / f"{number:06d}.segment"

    def _past_path(self, number: int) -> Path:
        return self._path(number).with_suffix(".npz")


def _encode(
    context: VideoCodecContext, writer: SegmentWriter, coded: VideoFrame | None, durations: dict[int, int]
) -> None:
    """Encode one frame, or with None what the encoder still holds back."""
    for packet in context.encode(coded):
        pts = packet.pts or 0
        alpha = bytes(packet.get_sidedata(ALPHA_DATA)) if packet.has_sidedata(ALPHA_DATA) else b""
        writer.add(EncodedFrame(pts, durations.get(pts, 0), packet.is_keyframe, bytes(packet), alpha))
