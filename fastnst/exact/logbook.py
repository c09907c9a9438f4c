"""What an optimisation leaves in its folder on the way: TensorBoard events, pictures and a checkpoint."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from torch.utils.tensorboard import SummaryWriter

from fastnst.errors import OutputError
from fastnst.exact.checkpoint import CHECKPOINT, save_checkpoint
from fastnst.exact.result import OptimizationRun, OptimizeProgress
from fastnst.io.images import Picture, write_picture
from fastnst.io.tensors import to_frame

BEST = "best.png"


class Logbook:
    """Notes every step's losses, and every few steps the best picture so far and the run itself.

    In the folder: events.out.* for TensorBoard; best.png, the best picture so far; step_00025.png, the best one then;
    checkpoint.safetensors, replaced each time.
    """

    def __init__(self, folder: Path, run: OptimizationRun, asked: dict[str, Any], every: int) -> None:
        """Take what is noted, and where.

        Args:
            folder: where everything goes.
            run: what is noted.
            asked: kept in the checkpoint, to be compared on resuming.
            every: steps between two pictures and checkpoints; 0 leaves both to the end.
        """
        self.folder = folder
        self._run, self._asked, self._every = run, asked, every
        self._hook = threading.excepthook

    def __enter__(self) -> Self:
        """Open the folder, which is made where it is missing; raises OutputError where the system refuses."""
        done = len(self._run.trace.history)
        self._hook, threading.excepthook = threading.excepthook, self._quiet
        try:
            with self._events():
                # Events of an earlier run from here on are dropped: steps that are done again, or all of them.
                self._writer = SummaryWriter(str(self.folder), purge_step=done + 1)
        except OutputError:
            threading.excepthook = self._hook
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Keep the run as it stands, unless it stopped half-way through a step or nothing more can be written."""
        try:
            if self._run.trace.history and not self._run.torn and not isinstance(error, OutputError):
                self.keep()
        finally:
            try:
                with self._events():
                    self._writer.close()
            finally:
                threading.excepthook = self._hook

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

    def _quiet(self, failed: threading.ExceptHookArgs) -> None:
        """TensorBoard's thread raises the error once more, where `_events` takes it; it needs no traceback."""
        if not (isinstance(failed.exc_value, OSError) and type(failed.thread).__name__ == "_AsyncWriterThread"):
            self._hook(failed)

    @contextmanager
    def _events(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(f"{self.folder}: events cannot be written ({error.strerror or error})") from error
