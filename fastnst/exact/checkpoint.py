"""What an optimisation leaves in its folder: TensorBoard events, pictures, and a checkpoint to go on with later.

Images, and what belongs to their pixels, are (1, 3, H, W) with channels innermost in memory; the file holds them in
that order, (1, H, W, 3): so nothing is copied on the way, and what is read has the memory layout of what was written.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from fastnst.errors import CheckpointError, OutputError
from fastnst.exact.optimizers import PixelOptimizer
from fastnst.exact.pyramid import Level
from fastnst.exact.result import OptimizationRun, OptimizeProgress, Step, Trace
from fastnst.exact.settings import OptimizeSettings, Style, Styles
from fastnst.io.files import atomic_path, check_kinds, parse_table, reading
from fastnst.io.images import Frame, Picture, write_picture
from fastnst.io.tensors import to_frame
from fastnst.renamed import with_current_names

FORMAT = "fastnst optimisation 1"
CHECKPOINT = "checkpoint.safetensors"
"""Name of the file inside a --log-dir."""

# What may differ on going on: more steps, and how often the work is kept. The weights' files are known by their hash.
_FREE = {"steps", "save_every", "loss_weights", "fine_tune_weights", "max_memory"}


_PER_PIXEL = ("best_image", "image", "descent.image", "descent.change.", "descent.gradient")


def what_is_asked(
    settings: OptimizeSettings, content: Frame, styles: Styles, content_mask: Frame | None, loss_weights: str
) -> dict[str, Any]:
    """All that decides the picture, as values that JSON holds; pictures by their hash."""
    several = [styles] if isinstance(styles, np.ndarray | Style) else list(styles)
    given = [style if isinstance(style, Style) else Style(style) for style in several]
    # Where the last steps are of another kind, all of them decide where those begin.
    free = _FREE - {"steps"} if settings.fine_tune_steps else _FREE
    wanted = {name: _plain(value) for name, value in dataclasses.asdict(settings).items() if name not in free}
    return {
        "settings": wanted,
        "photo": _hash(content),
        "content mask": None if content_mask is None else _hash(content_mask),
        "styles": [
            [_hash(style.frame), style.weight, _hash(style.mask) if isinstance(style.mask, np.ndarray) else style.mask]
            for style in given
        ],
        "loss network": loss_weights,
    }


def resumed(folder: Path, asked: dict[str, Any], fresh: OptimizationRun, device: torch.device) -> OptimizationRun:
    """The run in a folder's checkpoint, in the place of one that has not begun.

    Raises CheckpointError where there is none, and where something else was asked for then: it says what.
    """
    path = folder / CHECKPOINT
    before = read_asked(path)
    for what, value in asked.items():
        if what == "settings":
            _check_settings(path, before.get(what, {}), value)
        elif before.get(what) != value:
            raise CheckpointError(
                f"{path}: was made with another {what}; give the same, or --resume never to start again"
            )
    run = load_checkpoint(path, fresh.levels, fresh.descent, device)
    return _lengthened(run)


def save_checkpoint(path: Path, run: OptimizationRun, asked: dict[str, Any]) -> None:
    """Write a run, and what it was asked to do, in one go: a killed process leaves the last good file.

    Raises OutputError where the system refuses.
    """
    tensors = {f"descent.{name}": value for name, value in run.descent.state().items()}
    tensors["best_image"] = run.trace.best_image
    if run.image is not None:
        tensors["image"] = run.image
    progress = {
        "level": run.level,
        "done": run.done,
        "elapsed_s": run.elapsed_s,
        "history": [dataclasses.astuple(step) for step in run.trace.history],
    }
    metadata = {"format": FORMAT, "progress": json.dumps(progress), "asked": json.dumps(asked)}
    with atomic_path(path) as temporary:
        try:
            save_file(_stored(tensors), temporary, metadata)
        except SafetensorError as error:
            raise OutputError(f"{path}: cannot be written ({error})") from error


def read_asked(path: Path) -> dict[str, Any]:
    """What the run in a checkpoint was asked to do; raises CheckpointError where there is none."""
    metadata, _ = _read(path, torch.device("cpu"), tensors=False)
    with reading(path, "start again"):
        asked: dict[str, Any] = parse_table(metadata["asked"])
        asked["settings"] = with_current_names("optimize", asked["settings"])
        return asked


def load_checkpoint(path: Path, levels: list[Level], descent: PixelOptimizer, device: torch.device) -> OptimizationRun:
    """The run as it stood, with `levels` and `descent` made anew from the same settings.

    Raises CheckpointError for a file that is no checkpoint or does not fit.
    """
    metadata, tensors = _read(path, device)
    with reading(path, "start again"):
        progress = parse_table(metadata["progress"])
        history = _history(progress, levels)
        _check_tensors(tensors)
        descent.load_state(
            {name.removeprefix("descent."): value for name, value in tensors.items() if name.startswith("descent.")}
        )
        return OptimizationRun(
            levels,
            descent,
            Trace(history, tensors["best_image"]),
            progress["level"],
            progress["done"],
            tensors.get("image"),
            progress["elapsed_s"],
        )


def check_sizes(folder: Path, run: OptimizationRun, size: Callable[[int], tuple[int, int]]) -> None:
    """Raise CheckpointError where a run's images are not as large as the photo is, (height, width) by long side."""
    expected = [(run.trace.best_image, run.trace.history[-1].long_side)]
    expected += [] if run.image is None else [(run.image, run.levels[run.level].long_side)]
    for image, long_side in expected:
        height, width = image.shape[2:]
        if (height, width) != size(long_side):
            raise CheckpointError(f"{folder / CHECKPOINT}: holds an image of {width}x{height} pixels; start again")


def _history(progress: Mapping[str, Any], levels: list[Level]) -> list[Step]:
    """The steps so far; raises ValueError or TypeError where they, or where the run stands, cannot be."""
    check_kinds(progress, {"level": 0, "done": 0, "elapsed_s": 0.0, "history": []})
    history = [Step(*step) for step in progress["history"]]
    for step in history:
        numbers = [step.step, step.total, step.content, step.style, step.elapsed_s, step.long_side]
        if not all(type(number) in (int, float) for number in [*numbers, *step.losses.values()]):
            raise TypeError("a step with something else than numbers")
    known = {level.long_side for level in levels}
    if not history or progress["level"] > len(levels) or not {step.long_side for step in history} <= known:
        raise ValueError("the steps do not fit the sizes")
    if progress["level"] < len(levels) and progress["done"] > levels[progress["level"]].steps:
        raise ValueError(f"{progress['done']} steps are done")
    return history


def _check_tensors(tensors: Mapping[str, Tensor]) -> None:
    """Raise ValueError where the images, or what a descent keeps of their pixels, are not of one size."""
    images = {name: value for name, value in tensors.items() if value.ndim == 4}
    newest = tensors.get("image", tensors["best_image"])
    for name, value in images.items():
        if value.dtype != torch.float32 or value.shape[:2] != (1, 3):
            raise ValueError(f"{name} is no image")
        if name != "best_image" and value.shape != newest.shape:
            raise ValueError(f"{name} is of another size than the image")
    for name in tensors:
        if name.startswith(_PER_PIXEL) and name not in images:
            raise ValueError(f"{name} is no image")


def _lengthened(run: OptimizationRun) -> OptimizationRun:
    """A run that was done goes on from its best image where more steps are asked for now."""
    last = run.levels[-1]
    done = sum((step.long_side, step.fine_tune) == (last.long_side, last.fine_tune) for step in run.trace.history)
    if run.level == len(run.levels) and done < last.steps:
        run.level, run.done, run.image = run.level - 1, done, run.trace.best_image
    return run


def _check_settings(path: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    # What a checkpoint does not tell of came later; the picture's size is compared by itself.
    before = {name: value for name, value in now.items() if name not in before} | before
    differing = [name for name in sorted(now) if before[name] != now[name]]
    if differing:
        words = "; ".join(f"--{name.replace('_', '-')} {before[name]}, now it is {now[name]}" for name in differing)
        raise CheckpointError(f"{path}: was made with {words}; give the same, or --resume never to start again")


def _hash(frame: Frame) -> str:
    return hashlib.sha256(repr(frame.shape).encode() + np.ascontiguousarray(frame).tobytes()).hexdigest()


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else str(value) if isinstance(value, Path) else value


def _read(path: Path, device: torch.device, *, tensors: bool = True) -> tuple[dict[str, str], dict[str, Tensor]]:
    if not path.is_file():
        raise CheckpointError(f"{path.parent}: nothing to resume; expected {path.name} in it, as --log-dir leaves it")
    with reading(path, "start again"), safe_open(path, framework="pt", device=str(device)) as opened:
        metadata = opened.metadata() or {}
        names = opened.keys() if tensors else []
        values = {name: _restored(opened.get_tensor(name)) for name in names}
    if metadata.get("format") != FORMAT:
        raise CheckpointError(f"{path}: no checkpoint of an optimization by this version of fastnst")
    return metadata, values


def _stored(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    stored: dict[str, Tensor] = {}
    for name, value in tensors.items():
        innermost = value.detach().permute(0, 2, 3, 1).contiguous() if value.ndim == 4 else value.detach()
        # One tensor may stand for two things, the best image and the newest; safetensors wants memory for each.
        known = {other.data_ptr() for other in stored.values()}
        stored[name] = innermost.clone() if innermost.data_ptr() in known else innermost
    return stored


def _restored(value: Tensor) -> Tensor:
    # The copy begins where torch's own memory does, on which the order of sums depends, and so their last bit.
    own = value.clone()
    return own.permute(0, 3, 1, 2) if own.ndim == 4 else own


BEST = "best.png"


class Logbook:
    """Notes every step's losses, and every few steps the best picture so far and the run itself.

    In the folder: events.out.* for TensorBoard; best.png, the best picture so far; step_00025.png, the best one then;
    checkpoint.safetensors, replaced each time.
    """

    def __init__(self, folder: Path, run: OptimizationRun, asked: dict[str, Any], every: int) -> None:
        """Note a run in a folder, with what was `asked`, which is compared on resuming.

        Pictures and checkpoints are written `every` so many steps; 0 leaves both to the end.
        """
        self.folder = folder
        self._run, self._asked, self._every = run, asked, every

    def __enter__(self) -> Self:
        """Open the folder, which is made where it is missing; raises OutputError where the system refuses."""
        done = len(self._run.trace.history)
        with self._events():
            # Events of an earlier run from here on are dropped: steps that are done again, or all of them.
            self._writer = SummaryWriter(str(self.folder), purge_step=done + 1)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Keep the run as it stands, unless it stopped half-way through a step or nothing more can be written."""
        try:
            if self._run.trace.history and not self._run.torn and not isinstance(error, OutputError):
                self.keep()
        finally:
            with self._events():
                self._writer.close()

    def note(self, progress: OptimizeProgress) -> None:
        """Take a step in; raises OutputError where the system refuses."""
        step = progress.last
        with self._events():
            for name, value in step.losses.items():
                self._writer.add_scalar(f"loss/{name}", value, step.step)
            self._writer.add_scalar("long_side", step.long_side, step.step)
        if self._every and step.step % self._every == 0:
            frame = progress.best_frame()
            with self._events():
                self._writer.add_image("best", frame, step.step, dataformats="HWC")
            write_picture(self.folder / f"step_{step.step:05d}.png", Picture(frame=frame))
            self.keep()

    def keep(self) -> None:
        """Write the best picture so far and the checkpoint; raises OutputError where the system refuses."""
        write_picture(self.folder / BEST, Picture(frame=to_frame(self._run.trace.best_image)))
        save_checkpoint(self.folder / CHECKPOINT, self._run, self._asked)
        with self._events():
            self._writer.flush()

    @contextmanager
    def _events(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(f"{self.folder}: events cannot be written ({error.strerror or error})") from error
