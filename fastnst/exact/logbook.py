"""What an optimisation leaves in its folder on the way: TensorBoard events, pictures and a checkpoint."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from torch.utils.tensorboard import SummaryWriter

from fastnst.errors import OutputError
from fastnst.exact.checkpoint import save_checkpoint
from fastnst.exact.result import Progress
from fastnst.exact.run import Run
from fastnst.images import Picture, write_picture
from fastnst.tensors import to_frame

CHECKPOINT = "checkpoint.safetensors"
BEST = "best.png"


class Logbook:
    """Notes every step's losses, and every few steps the best picture so far and the run itself.

    In the folder: events.out.* for TensorBoard; best.png, the best picture so far; step_00025.png, the best one then;
    checkpoint.safetensors, replaced each time.
    """

    def __init__(self, folder: Path, run: Run, asked: dict[str, Any], every: int) -> None:
        """Open the folder, which is made where it is missing; raises OutputError where the system refuses.

        Args:
            folder: where everything goes.
            run: what is noted.
            asked: kept in the checkpoint, to be compared on resuming.
            every: steps between two pictures and checkpoints; 0 leaves both to the end.
        """
        self.folder = folder
        self._run, self._asked, self._every = run, asked, every
        done = len(run.trace.history)
        with self._events():
            # Events of an earlier run from here on are dropped: steps that are done again, or all of them.
            self._writer = SummaryWriter(str(folder), purge_step=done + 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Keep the run as it stands, unless it stopped half-way through a step or nothing more can be written."""
        try:
            if self._run.trace.history and not self._run.torn and not isinstance(error, OutputError):
                self.keep()
        finally:
            with self._events():
                self._writer.close()

    def note(self, progress: Progress) -> None:
        """Take a step in; raises OutputError where the system refuses."""
        step = progress.last
        with self._events():
            for name in ("total", "content", "style", "total_variation"):
                self._writer.add_scalar(f"loss/{name}", getattr(step, name), step.step)
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
