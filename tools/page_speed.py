"""Measure the browser page: frames a second, and the milliseconds of each stage of a frame.

    taskset -c 0,1 python tools/page_speed.py --style starry-live --threads 1 2
    python tools/page_speed.py --film cockatoo.mp4 --sizes 480 --seconds 20
    python tools/page_speed.py --visits 3

Debian's Chromium without a GPU, as playwright starts it, with a film as its camera (640 x 480; without --film drifting
waves). Each row is a page of its own, which has painted ten frames before anything counts. Stages are medians by the
clock, as the page's own table (Speed) names them. The last two columns are processor time of all of the browser's
processes: for each frame, and each second with the camera on and nothing painted, which the former leaves out. They
still mean something on a computer with other work to do.

With --visits, something else: what a first visit loads, and how long it takes until the first painted picture stands;
then the same page once more without a network. Each first visit is in a profile of its own.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import av
import numpy as np
import psutil
from playwright.sync_api import Browser, Page, sync_playwright

from fastnst.io.styles import live_style, network_of_style
from fastnst.machine import describe_machine
from fastnst.web.server import PageHandler, runtime_folder, serving
from fastnst.web.site import RUNTIME, write_site

CHROMIUM = Path("/usr/bin/chromium")
NPM = Path(__file__).parent / "page_types" / "node_modules" / "onnxruntime-web"
CAMERA_SIZE = (480, 640)
STAGES = ("capture", "handing", "copy", "prepare", "network", "finish", "show")
WARM_UP = 10

# Notes the stages of every frame from now on.
LISTEN = """() => {
  const { state } = window.fastnst;
  let latest = state.stages;
  const log = (window.speedLog = []);
  Object.defineProperty(state, "stages", {
    get: () => latest,
    set: (stages) => { latest = stages; log.push({ at: performance.now(), ...stages }); },
  });
}"""


class CountingHandler(PageHandler):
    """Notes what it sends."""

    sent: ClassVar[list[int]] = []
    """Bytes of each file, without what HTTP adds."""

    def copyfile(self, source: Any, outputfile: Any) -> None:
        """Send a file."""
        self.sent.append(os.fstat(source.fileno()).st_size)
        super().copyfile(source, outputfile)


def drawn_frames(count: int = 30) -> Iterator[np.ndarray]:
    """Waves that drift: (H, W, 3) uint8 RGB."""
    down, across = np.mgrid[: CAMERA_SIZE[0], : CAMERA_SIZE[1]]
    for step in range(count):
        planes = [
            120 + 90 * np.sin(down / (17 + place) + step / 3) * np.cos(across / (23 + 9 * place)) for place in range(3)
        ]
        yield np.stack(planes, axis=-1).astype(np.uint8)


def film_frames(film: Path, count: int = 90) -> Iterator[np.ndarray]:
    """The middle of a film's first frames at the camera's size: (H, W, 3) uint8 RGB."""
    height, width = CAMERA_SIZE
    with av.open(str(film)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number == count:
                return
            scale = max(height / frame.height, width / frame.width)
            size = round(frame.width * scale), round(frame.height * scale)
            pixels = frame.to_ndarray(format="rgb24", width=size[0], height=size[1])
            top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
            yield pixels[top : top + height, left : left + width]


def write_camera(path: Path, frames: Iterator[np.ndarray], rate: int = 30) -> None:
    """Write frames as Y4M, which Chromium's fake camera plays for ever."""
    height, width = CAMERA_SIZE
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F{rate}:1 Ip A1:1 C420jpeg\n".encode())
        for frame in frames:
            planar = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24").reformat(format="yuv420p")
            file.write(b"FRAME\n" + planar.to_ndarray().tobytes())


def processor_s(root: psutil.Process) -> float:
    """Processor time of a process and all below it, in seconds."""
    taken = 0.0
    for process in (root, *root.children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        taken += times.user + times.system
    return taken


def browser_process() -> psutil.Process:
    """The Chromium that this process started."""
    for child in psutil.Process().children(recursive=True):
        if "--remote-debugging" in " ".join(child.cmdline()) and "--type=" not in " ".join(child.cmdline()):
            return child
    raise SystemExit("no Chromium among this process's children")


def watch(page: Page, seconds: float) -> tuple[list[dict[str, float]], float, float]:
    """Let the page run; returns what it painted, and the seconds by the clock and of processors."""
    root = browser_process()
    first = page.evaluate("window.speedLog.length")
    taken, began = processor_s(root), time.perf_counter()
    time.sleep(seconds)
    log: list[dict[str, float]] = page.evaluate("window.speedLog")[first:]
    return log, time.perf_counter() - began, processor_s(root) - taken


def measure(browser: Browser, address: str, seconds: float) -> dict[str, Any]:
    """Open the page with its camera and watch it; returns what `table_row` shows."""
    context = browser.new_context(permissions=["camera"])
    context.set_default_timeout(300_000)
    page = context.new_page()
    page.goto(address)
    page.wait_for_function("window.fastnst?.state.last")
    page.click("#camera-button")
    page.wait_for_function("window.fastnst.state.source.live")
    page.evaluate(LISTEN)
    page.wait_for_function(f"window.speedLog.length > {WARM_UP}")
    log, elapsed, taken = watch(page, seconds)
    said: dict[str, Any] = page.evaluate(
        "(({ engine, state }) => ({ words: engine.opened.words, width: state.last.width, height: state.last.height }))"
        "(window.fastnst)"
    )
    page.evaluate("window.fastnst.state.opening = true")  # the loop waits
    page.wait_for_timeout(1000)
    _, idle_elapsed, idle = watch(page, seconds / 2)
    context.close()
    idle_rate, frames = idle / idle_elapsed, max(1, len(log))
    figures = {stage: statistics.median(frame[stage] for frame in log) for stage in STAGES}
    own = 1000 * (taken - idle_rate * elapsed) / frames
    return {**said, **figures, "fps": len(log) / elapsed, "cpu": own, "idle": 1000 * idle_rate}


def painted_s(page: Page) -> float:
    """Wait for the first painted picture; returns the seconds since the page was asked for."""
    page.wait_for_function("window.fastnst?.state.last")
    return float(page.evaluate("performance.now()")) / 1000


def visit(browser: Browser, address: str) -> str:
    """Visit the page as never before, then without a network; returns a row of the table."""
    context = browser.new_context()
    context.set_default_timeout(300_000)
    page = context.new_page()
    CountingHandler.sent.clear()
    page.goto(address)
    first = painted_s(page)
    page.wait_for_load_state("networkidle")
    sent = list(CountingHandler.sent)
    context.set_offline(True)
    page.reload()
    second = painted_s(page)
    context.close()
    return f"| {sum(sent) / 1e6:.1f} MB in {len(sent)} files | {first:.1f} | {second:.1f} |"


def table_row(figures: dict[str, Any]) -> str:
    """One row of the table."""
    stages = " | ".join(f"{figures[stage]:.1f}" for stage in STAGES)
    size = f"{figures['width']} x {figures['height']} | {figures['words']}"
    return f"| {size} | {figures['fps']:.1f} | {stages} | {figures['cpu']:.0f} | {figures['idle']:.0f} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--style", default=live_style())
    parser.add_argument("--sizes", type=int, nargs="+", default=[320, 480, 640], help="longest sides")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--film", type=Path, help="what the camera sees")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--runtime", type=Path, default=NPM if NPM.is_dir() else None, help="folder of onnxruntime-web")
    parser.add_argument("--visits", type=int, default=0, help="measure so many first visits instead")
    options = parser.parse_args(arguments)
    machine = describe_machine()
    print(
        f"{machine['processor']}, {machine['processors']} processors, load {machine['load_before']}; {options.style}; "
        f"{options.film.name if options.film else 'drawn waves'}"
    )
    runtime = runtime_folder(options.runtime, announce=print, progress=lambda _done, _total: None)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        site, camera = Path(folder) / "site", Path(folder) / "camera.y4m"
        write_site(site, [network_of_style(options.style)], None)
        write_camera(camera, film_frames(options.film) if options.film else drawn_frames())
        fake = ["--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={camera}", "--no-sandbox"]
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=fake)
        with serving({"": site, f"{RUNTIME.as_posix()}/": runtime}, 0, handler=CountingHandler) as port:
            for row in rows(browser, f"http://127.0.0.1:{port}/", options):
                print(row, flush=True)
        browser.close()


def rows(browser: Browser, address: str, options: argparse.Namespace) -> Iterator[str]:
    """The table, row by row."""
    if options.visits:
        yield "| loaded | s to the first painted picture | s without a network |\n|---|---|---|"
        for _ in range(options.visits):
            yield visit(browser, f"{address}?engine=wasm")
        return
    yield f"| size | engine | frames a second | {' | '.join(STAGES)} | processor ms a frame | idle ms a second |"
    yield f"|{'---|' * (len(STAGES) + 5)}"
    for threads in options.threads:
        for size in options.sizes:
            query = f"?engine=wasm&no-worker&fps=60&size={size}&threads={threads}"
            yield table_row(measure(browser, f"{address}{query}", options.seconds))


if __name__ == "__main__":
    main()
