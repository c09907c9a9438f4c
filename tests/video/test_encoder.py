"""Encoders leave the scheduling of the process as it was."""

import contextlib
import io
import os
import sys
import threading
from fractions import Fraction
from pathlib import Path

import av
import pytest

from fastnst.video import encoder
from fastnst.video.encoder import Encoding, add_encoder, kept_scheduling, open_encoder
from fastnst.video.film import Colors

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="threads are scheduled one by one on Linux")


def policies() -> set[int]:
    found = set()
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(ProcessLookupError):  # it has ended
            found.add(os.sched_getscheduler(int(thread.name)))
    return found


@pytest.fixture
def usual() -> set[int]:
    """The policies before; whatever tests before this one encoded with left threads scheduled otherwise."""
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setscheduler(int(thread.name), os.SCHED_OTHER, os.sched_param(0))
    before = policies()
    assert not before & {os.SCHED_BATCH, os.SCHED_FIFO}
    return before


def test_threads_get_their_scheduling_back_and_new_ones_the_callers(usual: set[int]) -> None:
    stop = threading.Event()
    with kept_scheduling():
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        thread = threading.Thread(target=stop.wait)
        thread.start()
        assert os.SCHED_BATCH in policies()
    assert policies() == usual
    stop.set()
    thread.join()


def test_scheduling_is_given_back_after_an_error(usual: set[int]) -> None:
    with pytest.raises(ValueError, match="broken"), kept_scheduling():
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        raise ValueError("broken")
    assert policies() == usual


@pytest.mark.parametrize("encoder", ["libsvtav1", "libx264"])
def test_an_encoder_leaves_all_threads_as_they_were(encoder: str, usual: set[int]) -> None:
    # Run by root, SVT-AV1 takes the highest real-time priority for itself and for who opens it.
    encoding = Encoding(
        encoder=encoder,
        size=(64, 64),
        pixel_format="yuv420p",
        time_base=Fraction(1, 25),
        rate=Fraction(25),
        colors=Colors(1, full_range=False),
        container="matroska",
    )
    context = open_encoder(encoding)
    assert policies() == usual
    with av.open(io.BytesIO(), "w", format="matroska") as target:
        stream = add_encoder(target, encoding)
        grey = av.VideoFrame(64, 64, "yuv420p")
        for plane in grey.planes:
            plane.update(bytes(plane.buffer_size))
        grey.pts, grey.time_base = 0, encoding.time_base
        target.mux([*stream.encode(grey), *stream.encode(None)])
        assert policies() == usual
    assert context.is_open


def test_a_list_of_threads_that_misses_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    # The system's list is read entry by entry, while other threads end.
    lists = iter([{}, {}])
    monkeypatch.setattr(encoder, "_scheduling", lambda: next(lists))
    with encoder.kept_scheduling():
        pass
