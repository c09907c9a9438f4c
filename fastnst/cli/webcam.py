"""`fastnst webcam`: stylize a camera's pictures live."""

import os
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter, validators

from fastnst.backends.contract import ProviderChoice
from fastnst.cli.batch import COMPUTATION
from fastnst.cli.console import Console, fitted
from fastnst.errors import OutputError, SettingError, StyleError
from fastnst.inference.effects import PLAIN, Effects
from fastnst.inference.paintings import FIT_S
from fastnst.io.styles import (
    MIX_SIGN,
    StyleChoice,
    choose_style,
    every_style,
    installed_styles,
    live_style,
    network_of_style,
    user_styles_folder,
)
from fastnst.losses.settings import LOOK

if TYPE_CHECKING:
    from fastnst.webcam.capture import Camera
    from fastnst.webcam.devices import Screen
    from fastnst.webcam.settings import WebcamResult

POSITIVE = validators.Number(gte=1)
FLAG = Parameter(negative="")


def webcam(
    *,
    style: str | None = None,
    camera: str = "0",
    source: Path | None = None,
    loop: Annotated[bool, FLAG] = False,
    capture_backend: Literal["auto", "v4l2", "dshow", "msmf", "avfoundation"] = "auto",
    camera_size: str = "1280x720",
    mirror: Annotated[bool, FLAG] = False,
    target_fps: Annotated[float, Parameter(validator=validators.Number(gte=1, lte=240))] = 30,
    size: Annotated[int | None, Parameter(validator=validators.Number(gte=16))] = None,
    fit: Annotated[float, LOOK] = FIT_S,
    effects: Annotated[Effects, Parameter(name="*", negative=(), group=LOOK.group)] = PLAIN,
    steady: Annotated[float, LOOK] = 0.0,
    split_screen: Annotated[bool, FLAG] = False,
    record: Path | None = None,
    overwrite: Annotated[bool, FLAG] = False,
    output: Annotated[Path, Parameter(name=("--output", "-o"))] = Path(),
    virtual_camera: Annotated[bool, FLAG] = False,
    no_window: Annotated[bool, FLAG] = False,
    frames: Annotated[int | None, Parameter(validator=POSITIVE)] = None,
    seconds: Annotated[float | None, Parameter(validator=validators.Number(gt=0))] = None,
    provider: Annotated[ProviderChoice, Parameter(group=COMPUTATION)] = "auto",
    threads: Annotated[int | None, Parameter(group=COMPUTATION, validator=POSITIVE)] = None,
) -> None:
    """Stylize a camera's pictures live. Press h for the keys, q to quit.

    Only the newest picture is stylized; the others are left out. The network works at the largest size that the frame
    rate allows. Ctrl-C ends it; a recording is finished first.

    Parameters
    ----------
    style:
        Style: the name of an installed one, an .onnx file, or a painting (.jpg .png), to which a network is fitted the
        first time; trio@munch is one style of a network that knows several. By default one for live
        pictures; keys choose others. With --region, it is stylized in the rest of the mask.
    camera:
        Number of the camera from 0, a device such as /dev/video2, or the address of a network camera.
    source:
        Play a film in real time instead of a camera.
    loop:
        Begin the film again at its end.
    capture_backend:
        How the system is asked for the camera. auto: V4L2 on Linux; DirectShow, then Media Foundation on Windows;
        AVFoundation on macOS.
    camera_size:
        Width x height to ask the camera for; it gives the nearest that it has.
    mirror:
        Exchange left and right, as in a mirror.
    target_fps:
        Frames a second to hold: the network stylizes smaller until it does.
    size:
        Longest side, pixels: larger pictures are reduced to it first. By default as large as the frame rate
        and --stroke allow.
    fit:
        Seconds to fit a network to a painting, at most, the first time; 0 takes a mixture of known styles, in a second.
    steady:
        Share of the frame before that is kept where things only move or stand still, so that strokes do not flicker: 0
        stylizes each frame on its own, 0.8 holds well, 0.95 is the most.
    split_screen:
        Show the original in the left half.
    record:
        Record into this film (.mp4 .mov .mkv) from the start; works without a screen.
    overwrite:
        Replace files that already exist.
    output:
        Output: a folder for the snapshots and recordings that keys ask for.
    virtual_camera:
        Let other programs see the pictures as a camera's (needs pip install 'fastnst[virtual-camera]').
    no_window:
        Show nothing: for recording and the virtual camera alone.
    frames:
        End after so many pictures.
    seconds:
        End after so many seconds.
    provider:
        What computes: auto tries all and takes the fastest that really runs here; another that cannot run is an error.
        fastnst doctor says what is missing.
    threads:
        Threads of the network on the CPU. By default one for each core.
    """
    # OpenCV reads its environment while it is imported; it takes a moment, as ONNX Runtime does.
    from fastnst.io.blending import load_opencv  # noqa: PLC0415

    load_opencv()
    from fastnst.inference.pipeline import StylePipeline  # noqa: PLC0415
    from fastnst.webcam.devices import CameraSettings, open_camera  # noqa: PLC0415
    from fastnst.webcam.loop import run_webcam  # noqa: PLC0415
    from fastnst.webcam.settings import Controls, WebcamSettings  # noqa: PLC0415

    console = Console(stderr=True)
    tell = console.print
    if size is not None and effects.stroke == "auto":
        effects = replace(effects, stroke=1.0)
    style, effects = fitted(style, effects.of_film(), fit, console)
    style = _first_style(effects) if style is None else style
    styles, chosen = _styles(style)
    device = CameraSettings(
        camera=camera, backend=capture_backend, size=_size(camera_size), fps=target_fps, mirror=mirror
    )
    opener: Callable[[], Camera] = partial(open_camera, device)
    if source is not None:
        _refuse_to_record_over(source, record)
        opener = _film_opener(source, loop)
    settings = WebcamSettings(
        fps=target_fps,
        long_side=size,
        controls=Controls(chosen, effects.strength, preserve_color=effects.preserve_color, split=split_screen),
        steady=steady,
        record=record,
        overwrite=overwrite,
        folder=output,
        virtual_camera=virtual_camera,
        frames=frames,
        seconds=seconds,
    )
    screen = _screen(no_window, record is not None or virtual_camera, tell)
    pipeline = partial(StylePipeline, style, effects, provider=provider, threads=threads, tile="off")
    result = run_webcam(styles, pipeline, opener, screen, settings, tell=tell)
    tell(f"{_summary(result)} on {result.provider}")
    if result.failures:
        sys.exit(1)


def _first_style(effects: Effects) -> str:
    """The style to begin with where nobody names one: one for live pictures, where there is one."""
    style = live_style() or next(iter(installed_styles()), None)
    if style is None:
        raise StyleError(
            f"no style is installed; name an .onnx file with --style, or put some into {user_styles_folder()}"
        )
    return network_of_style(style) if effects.mix else style


def _styles(style: str) -> tuple[dict[str, StyleChoice], int]:
    """All styles that keys can choose, by name, and the place of the one to begin with."""
    choice = choose_style(style)
    styles = every_style(choice.path)
    if choice in styles.values():
        return styles, list(styles.values()).index(choice)
    name = choice.path.stem + (f"{MIX_SIGN}{choice.mix}" if choice.mix else "")
    return {name if name not in styles else str(choice.path): choice, **styles}, 0


def _size(text: str) -> tuple[int, int]:
    """Read 1280x720, width first, as (height, width)."""
    found = re.fullmatch(r"([1-9]\d{1,4})[xX]([1-9]\d{1,4})", text)
    if found is None:
        raise SettingError(f"--camera-size {text}: expected width x height in pixels, such as 1280x720")
    return int(found[2]), int(found[1])


def _refuse_to_record_over(source: Path, record: Path | None) -> None:
    """Not even --overwrite may cost the film that plays."""
    if record is not None and os.path.realpath(record) == os.path.realpath(source):
        raise OutputError(f"{record}: is the film that plays, and is not overwritten; choose another --record")


def _film_opener(source: Path, loop: bool) -> "Callable[[], Camera]":
    from fastnst.webcam.films import open_film_player  # noqa: PLC0415 - imports PyAV

    return partial(open_film_player, source, loop=loop)


def _screen(no_window: bool, useful_without: bool, tell: Callable[[str], None]) -> "Screen":
    """A window; none where there can be none, if the pictures also go elsewhere."""
    from fastnst.webcam.devices import NoScreen, Window, why_no_window  # noqa: PLC0415

    if no_window and not useful_without:
        raise SettingError("--no-window: the pictures would go nowhere; add --record FILE or --virtual-camera")
    reason = why_no_window() if useful_without and not no_window else ""
    if reason:
        tell(f"no window: {reason}; Ctrl-C ends")
    return NoScreen() if no_window or reason else Window("fastnst")


def _summary(result: "WebcamResult") -> str:
    if not result.shown:
        return "no picture was shown"
    share, fps = 100 * result.shown / max(1, result.captured), result.shown / result.elapsed_s
    return (
        f"{result.shown} of {result.captured} pictures stylized ({share:.0f} %), {fps:.1f} fps; from capture to screen "
        f"{result.latency_ms:.0f} ms, 95 % within {result.slow_latency_ms:.0f} ms; "
        f"{result.size[1]} x {result.size[0]} at the end"
    )
