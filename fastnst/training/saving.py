"""What is written while a training goes on: its checkpoint, and exports of the network to be tried meanwhile."""

import copy
import math
import time
from collections.abc import Callable

from fastnst.errors import OutputError
from fastnst.io.files import write_atomically
from fastnst.models.export import to_onnx
from fastnst.training.card import model_info
from fastnst.training.run import TrainingRun

PREVIEW = "preview.onnx"

COST = 50
"""An export takes at most one such part of the time since the last one."""

SHORTEST_BUDGET = 5
"""With a budget of fewer times the first export's time, there is none."""


class EarlyExport:
    """Writes preview.onnx after the first minute and then now and then."""

    def __init__(self, run: TrainingRun, say: Callable[[str], None]) -> None:
        self.run, self.say = run, say
        self.validation_s = 0.0
        """Seconds that painting the held-out pictures takes."""
        first_s, budget_s = run.settings.early_export_s, run.settings.budget_s
        short = budget_s is not None and budget_s < SHORTEST_BUDGET * first_s
        self._first = True
        self._next_s = math.inf if short or not first_s else run.state.begun_s + first_s

    def write_if_due(self) -> None:
        """Export the network where it is time to; whatever goes wrong with it is only said."""
        run = self.run
        if run.clock.elapsed_s < self._next_s:
            return
        started, first = time.monotonic(), run.pace.reserve_s
        try:
            network = copy.deepcopy(run.state.shown)
            info = model_info(run.settings, run.state.step, run.state.images, run.loss_weights)
            write_atomically(run.folder / PREVIEW, to_onnx(network, info).SerializeToString())
        except Exception as error:
            self._next_s = math.inf
            self.say(f"No {PREVIEW}: {str(error).splitlines()[0] if str(error) else type(error).__name__}")
            return
        took_s = time.monotonic() - started
        if self._first:
            self._first = False
            self.say(f"Step {run.state.step}: try it with --style {run.folder / PREVIEW}")
        self._next_s = run.clock.elapsed_s + max(run.settings.checkpoint_every_s, COST * took_s)
        if first:  # a budget: what is left for the end is now known
            run.pace.reserve_s = 3 + 1.5 * (took_s + max(self.validation_s, 2 * run.clock.step_s))


class Saving:
    """Checkpoints and early exports of a run, by its main process."""

    def __init__(self, run: TrainingRun, say: Callable[[str], None]) -> None:
        self.run, self.say = run, say
        self.early_export = EarlyExport(run, say)
        self._saved_s = run.state.elapsed_s

    def save_if_due(self, *, last: bool) -> None:
        """Write the checkpoint where it is time to, or the last one. A full disk is waited out, but for the last one.

        Raises OutputError where the last one cannot be written.
        """
        run, now_s = self.run, self.run.clock.elapsed_s
        if last or now_s - self._saved_s > run.settings.checkpoint_every_s:
            self._saved_s = now_s
            try:
                run.save()
            except OutputError as error:
                if last:
                    raise
                again_s = run.settings.checkpoint_every_s
                self.say(f"{error}; training goes on, the next try is in {again_s:.0f} s.")
        if not last:
            self.early_export.write_if_due()
