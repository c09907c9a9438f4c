"""Runs a study and draws it: each run is kept in the folder, so that one that was stopped goes on where it stood.

Frames are uint8 (H, W, 3) RGB.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, TypeAlias

import numpy as np

from fastnst.errors import InputError, OutputError
from fastnst.exact.engine import optimize
from fastnst.exact.result import OptimizeProgress, report
from fastnst.io.files import write_atomically
from fastnst.io.images import Frame, Picture, read_frame, resize_long_side, write_picture
from fastnst.report.blocks import PictureGrid
from fastnst.report.report import MARKERS, Theme, draw_plot, draw_sheet, thumbnail, to_json
from fastnst.research.judge import EvaluatedNetwork, open_network
from fastnst.research.studies import Cell, StudyPlan, StudyRun

OnStep: TypeAlias = Callable[[int, int, int, int], None]
"""Called with the run's number, how many runs there are, the step and the number of steps of the run."""


@dataclass(frozen=True)
class StudyCache:
    """A run as it lies in the folder."""

    frames: Mapping[int | None, Frame]
    """By step; None is the result."""

    told: Mapping[str, Any]
    """The exact method's report: settings, losses, history, hardware."""


def run_study(plan: StudyPlan, folder: Path, *, size: int, on_step: OnStep | None = None) -> list[Path]:
    """Paint what is not painted yet, and write sheet.png, curves.png and study.json; the runs are kept in runs/.

    Pictures on the sheet have a long side of `size` pixels; `on_step` is told after each step. Returns the files
    written. Raises KeyboardInterrupt at Ctrl-C, where the runs that were done are kept, the errors of `optimize`, and
    OutputError.
    """
    runs = _runs(plan)
    _check_folder(folder / "runs")
    names = dict.fromkeys(cell.network for _, cells in plan.rows for cell in cells if cell is not None and cell.network)
    networks = {name: open_network(name) for name in names}
    kept: dict[str, StudyCache] = {}
    for number, (key, (one, steps)) in enumerate(runs.items(), start=1):
        tell = on_step and partial(on_step, number, len(runs))
        kept[key] = _load(folder / "runs", key, steps) or _paint(folder / "runs", key, one, steps, tell)
    return _write(plan, folder, kept, networks, size)


def _check_folder(folder: Path) -> None:
    """Find out before the work whether its results can be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be written to ({error.strerror or error}); choose another folder"
        ) from error


def _runs(plan: StudyPlan) -> dict[str, tuple[StudyRun, list[int | None]]]:
    """The runs that a plan needs, each once, with the steps that are shown of it."""
    runs: dict[str, tuple[StudyRun, list[int | None]]] = {}
    for _, cells in plan.rows:
        for cell in cells:
            if cell is not None and cell.job is not None:
                steps = runs.setdefault(run_key(cell.job), (cell.job, []))[1]
                if cell.step not in steps:
                    steps.append(cell.step)
    return runs


def run_key(one: StudyRun) -> str:
    """A name for a run that no other run has: of its pictures, settings and masks."""
    digest = hashlib.sha256(json.dumps(asdict(one.settings), sort_keys=True, default=str).encode())
    frames = [one.photo.frame, one.content_mask, *(part for style in one.styles for part in (style.frame, style.mask))]
    for frame in frames:
        digest.update(b"none" if frame is None else frame.encode() if isinstance(frame, str) else _bytes(frame))
    digest.update(repr([style.weight for style in one.styles]).encode())
    return digest.hexdigest()[:12]


def _bytes(frame: Frame) -> bytes:
    return repr(frame.shape).encode() + np.ascontiguousarray(frame).tobytes()


def _load(folder: Path, key: str, steps: list[int | None]) -> StudyCache | None:
    files = {step: folder / _picture_name(key, step) for step in steps}
    told = folder / f"{key}.json"
    if not told.is_file() or not all(file.is_file() for file in files.values()):
        return None
    try:
        report = json.loads(told.read_text(encoding="utf-8"))
        report["history"][-1]["content"], report["history"][-1]["style"]  # what is drawn of it
        return StudyCache({step: read_frame(file) for step, file in files.items()}, report)
    except (InputError, OSError, ValueError, KeyError, TypeError, IndexError, RecursionError):
        return None  # damaged: it is painted again


def _paint(
    folder: Path, key: str, one: StudyRun, steps: list[int | None], on_step: Callable[[int, int], None] | None
) -> StudyCache:
    frames: dict[int | None, Frame] = {}

    def watch(progress: OptimizeProgress) -> None:
        step = len(seen)
        seen.append(step)
        if step + 1 in steps:
            frames[step + 1] = progress.best_frame()
        if on_step is not None:
            on_step(step + 1, progress.steps)

    seen: list[int] = []
    result = optimize(one.photo.frame, one.styles, one.settings, content_mask=one.content_mask, callback=watch)
    if result.interrupted:
        raise KeyboardInterrupt
    frames |= {step: result.frame for step in steps if step not in frames}
    told = {"photo": one.photo.name, "styles": list(one.style_names)} | report(result, one.settings)
    for step, frame in frames.items():
        write_picture(folder / _picture_name(key, step), Picture(frame=frame))
    # Last, since it says that the run is whole.
    write_atomically(folder / f"{key}.json", to_json(told).encode(errors="backslashreplace"))
    return StudyCache(frames, told)


def _picture_name(key: str, step: int | None) -> str:
    return f"{key}.png" if step is None else f"{key}-{step}.png"


def _write(
    plan: StudyPlan, folder: Path, kept: Mapping[str, StudyCache], networks: Mapping[str, EvaluatedNetwork], size: int
) -> list[Path]:
    rows = [(label, [_frame(cell, kept, networks, size) for cell in cells]) for label, cells in plan.rows]
    sheet, curves, numbers = folder / "sheet.png", folder / "curves.png", folder / "study.json"
    write_picture(sheet, Picture(frame=draw_sheet(PictureGrid(plan.columns, rows))))
    write_atomically(curves, _curves(plan, kept))
    write_atomically(numbers, to_json(_numbers(plan, kept)).encode(errors="backslashreplace"))
    return [sheet, curves, numbers]


def _frame(
    cell: Cell | None, kept: Mapping[str, StudyCache], networks: Mapping[str, EvaluatedNetwork], size: int
) -> Frame | None:
    if cell is None:
        return None
    if cell.job is not None:
        return thumbnail(kept[run_key(cell.job)].frames[cell.step], size)
    assert cell.shown is not None
    fitted = resize_long_side(cell.shown, size)
    return networks[cell.network].paint(fitted) if cell.network else fitted


def _numbers(plan: StudyPlan, kept: Mapping[str, StudyCache]) -> dict[str, Any]:
    """Everything of the sheet as numbers: the settings, losses and history of each run, and which cell shows it."""
    cells = [
        {"row": label, "column": column, "run": run_key(cell.job), "step": cell.step}
        for label, row in plan.rows
        for column, cell in zip(plan.columns, row, strict=True)
        if cell is not None and cell.job is not None
    ]
    return {
        "title": plan.title,
        "cells": cells,
        "runs": {key: one.told for key, one in kept.items()},
    }


def _curves(plan: StudyPlan, kept: Mapping[str, StudyCache]) -> bytes:
    """Loss against steps of every run, as a PNG: content on the left, style on the right."""
    names = {
        run_key(cell.job): f"{label} {column}".strip()
        for label, row in plan.rows
        for column, cell in zip(plan.columns, row, strict=True)
        if cell is not None and cell.job is not None
    }

    def draw(axes: Any, theme: Theme) -> None:
        for axis, term in zip(axes, ("content", "style"), strict=True):
            for index, (key, one) in enumerate(kept.items()):
                history = one.told["history"]
                values = [step[term] for step in history]
                colour, marker = theme.series[index % len(theme.series)], MARKERS[index % len(MARKERS)]
                axis.plot(
                    range(1, len(values) + 1), values, color=colour, label=names[key], marker=marker, markevery=0.2
                )
            axis.set(title=f"{term} loss", xlabel="step", yscale="symlog" if term == "content" else "log")
        if len(kept) <= 2 * len(theme.series):
            axes[0].legend(fontsize="small")

    return draw_plot("curves", draw, panels=2, size=(11, 4.6)).light
