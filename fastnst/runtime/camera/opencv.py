"""Settings that OpenCV reads from the environment, so they must stand there before its first import."""

import os

_ENVIRONMENT = {
    # A V4L2 camera that stalls holds a read for 10 s by default; a whole number of seconds.
    "OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT": "2",
    # Media Foundation looks for hardware converters for up to 20 s at opening (opencv#17687).
    "OPENCV_VIDEOIO_MSMF_ENABLE_HW_TRANSFORMS": "0",
    # FFmpeg, which opens network cameras, writes to stderr itself.
    "OPENCV_FFMPEG_LOGLEVEL": "-8",
}


def prepare_opencv() -> None:
    """Make OpenCV quick to open cameras and to notice one that stalls; the user's own settings stay."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
