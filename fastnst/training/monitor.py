"""What a training shows while it runs: TensorBoard events, a table of losses, a sheet of stylized held-out pictures."""

import csv
import io
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from fastnst.errors import OutputError
from fastnst.io.files import atomic_path, write_atomically
from fastnst.io.images import Frame
from fastnst.io.tensors import to_frame
from fastnst.training.run import TrainingRun

SHEET, TABLE = "preview.png", "losses.csv"


@dataclass(frozen=True)
class Validation:
    """The held-out pictures as a network paints them."""

    step: int
    photos: list[Frame]
    """Where the network knows several styles, once for each."""

    painted: list[Frame]
    losses: dict[str, float]
    """Means over the pictures, by name; with several styles, content and style of each as well, as "style munch"."""

    def sheet(self) -> Frame:
        """All photos above, what became of them below, uint8 (H, W, 3)."""
        columns = [np.concatenate(pair, axis=0) for pair in zip(self.photos, self.painted, strict=True)]
        sheet: Frame = np.concatenate(columns, axis=1)
        return sheet


def validate(run: TrainingRun) -> Validation:
    """Paint the held-out pictures, one by one, and measure the results."""
    network = run.state.shown.eval()
    painted: list[Frame] = []
    by_style: dict[str, dict[str, float]] = {}
    for number, style in enumerate(run.settings.style_names):
        measured = []
        for image in run.held_out:
            stylized, losses = run.fine_tuning_objective.measure(network, image, number)
            painted.append(to_frame(stylized))
            measured.append(losses)
        by_style[style] = {name: float(np.mean([row[name] for row in measured])) for name in measured[0]}
    network.train()
    each = list(by_style.values())
    means = {name: float(np.mean([losses[name] for losses in each])) for name in each[0]}
    if len(each) > 1:
        means |= {f"{term} {style}": by_style[style][term] for style in by_style for term in ("content", "style")}
    return Validation(run.state.step, [to_frame(image) for image in run.held_out] * len(each), painted, means)


class Monitor:
    """Keeps all that is shown in the training's folder; a disk that is full ends no training, it is said once."""

    def __init__(self, folder: Path, first_step: int, say: Callable[[str], None]) -> None:
        self.folder, self.say = folder, say
        self._said = False
        self._hook = threading.excepthook
        self._writer: SummaryWriter | None = None
        self.start_at(first_step)

    def __enter__(self) -> Self:
        self._hook = threading.excepthook
        threading.excepthook = self._quiet
        return self

    def __exit__(self, *_: object) -> None:
        self._close()
        threading.excepthook = self._hook

    def start_at(self, step: int) -> None:
        """Write events from after `step` on; those of later steps, which are done again, are dropped."""
        self._close()

        def open_writer() -> None:
            self._writer = SummaryWriter(str(self.folder / "tensorboard"), purge_step=step + 1 if step else None)

        self._try(open_writer)

    def log_step(
        self,
        step: int,
        losses: Mapping[str, float],
        values: Mapping[str, float],
        speed: Mapping[str, float],
        seconds: Mapping[str, float],
    ) -> None:
        """Note the losses of a step, what else is known of it, and the seconds of its parts."""
        self._scalars(
            step,
            {f"train/{name}": value for name, value in losses.items()}
            | dict(speed)
            | {"train/gradient": values["gradient"]}
            | {"output/level": values["level"], "output/spread": values["spread"]}
            | {f"seconds/{part}": value for part, value in seconds.items()},
        )

    def _scalars(self, step: int, values: Mapping[str, float]) -> None:
        if (writer := self._writer) is not None:

            def write() -> None:
                for name, value in values.items():
                    writer.add_scalar(name, value, step)

            self._try(write)

    def log_validation(self, seen: Validation, rows: Sequence[Mapping[str, float]]) -> None:
        """Keep the held-out pictures as they were painted, and the table of all their losses so far."""
        sheet = seen.sheet()
        self._scalars(seen.step, {f"held-out/{name}": value for name, value in seen.losses.items()})
        if (writer := self._writer) is not None:

            def write() -> None:
                writer.add_image("held-out", sheet, seen.step, dataformats="HWC")
                writer.flush()

            self._try(write)
        self._try(lambda: _write_sheet(self.folder / SHEET, sheet))
        self._try(lambda: write_atomically(self.folder / TABLE, _table(rows)))

    def _try(self, action: Callable[[], object]) -> None:
        try:
            action()
        except (OSError, OutputError) as error:
            self._writer = None
            if not self._said:
                self._said = True
                self.say(
                    f"{self.folder}: TensorBoard events and previews cannot be kept ({error}); training continues."
                )

    def _close(self) -> None:
        if self._writer is not None:
            with suppress(OSError):
                self._writer.close()

    def _quiet(self, failed: threading.ExceptHookArgs) -> None:
        """TensorBoard's thread raises the error once more, where `_try` takes it; it needs no traceback of its own."""
        if not (isinstance(failed.exc_value, OSError) and type(failed.thread).__name__ == "_AsyncWriterThread"):
            self._hook(failed)


def _write_sheet(path: Path, sheet: Frame) -> None:
    with atomic_path(path) as temporary:
        Image.fromarray(sheet).save(temporary, format="PNG")


def _table(rows: Sequence[Mapping[str, float]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
