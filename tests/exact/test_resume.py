import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fastnst.errors import CheckpointError, OutputError
from fastnst.exact import checkpoint
from fastnst.exact.engine import optimize
from fastnst.exact.objective import PixelObjective
from fastnst.exact.result import OptimizeDivergedError, OptimizeProgress, OptimizeResult
from fastnst.exact.settings import OptimizeSettings, Style
from fastnst.io.files import alone_in
from fastnst.io.images import Frame, read_frame


@pytest.fixture
def settings(small: OptimizeSettings) -> OptimizeSettings:
    """Two levels, of eight and four steps."""
    return replace(small, steps=8, size=48, pyramid_levels=2, history=4, save_every=3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "log"


def stop_before(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Ctrl-C come within that evaluation."""
    evaluate, count = PixelObjective.evaluate, iter(range(1, 1000))

    def evaluate_so(objective: PixelObjective, image: torch.Tensor):
        if next(count) == number:
            raise KeyboardInterrupt
        return evaluate(objective, image)

    monkeypatch.setattr(PixelObjective, "evaluate", evaluate_so)


def losses_of(result: OptimizeResult) -> list[tuple[float, ...]]:
    return [(step.step, step.total, step.content, step.style, step.long_side) for step in result.history]


@pytest.mark.parametrize(
    ("optimizer", "stop"), [("lbfgs", 2), ("lbfgs", 8), ("lbfgs", 9), ("lbfgs", 12), ("adam", 9), ("adam", 10)]
)
def test_an_interrupted_run_goes_on_bit_for_bit(
    optimizer: str, stop: int, settings: OptimizeSettings, photo: Frame, painting: Frame, folder: Path
) -> None:
    settings = replace(settings, optimizer=optimizer)
    whole = optimize(photo, painting, settings)
    with pytest.MonkeyPatch.context() as patch:
        stop_before(stop, patch)
        broken = optimize(photo, painting, settings, log_dir=folder)
    assert broken.interrupted
    assert len(broken.history) == stop - 1
    rest = optimize(photo, painting, settings, log_dir=folder, resume=True)
    assert losses_of(rest) == losses_of(whole)
    assert np.array_equal(rest.frame, whole.frame)
    assert not rest.interrupted
    elapsed = [step.elapsed_s for step in rest.history]
    assert elapsed == sorted(elapsed)


def test_a_killed_run_goes_on_from_the_last_checkpoint(
    settings: OptimizeSettings, photo: Frame, painting: Frame, folder: Path, tmp_path: Path
) -> None:
    def copy(progress: OptimizeProgress) -> None:
        if progress.last.step == 5:
            shutil.copytree(folder, tmp_path / "killed")

    whole = optimize(photo, painting, settings, log_dir=folder, callback=copy)
    seen: list[OptimizeProgress] = []
    rest = optimize(photo, painting, settings, log_dir=tmp_path / "killed", resume=True, callback=seen.append)
    assert [progress.last.step for progress in seen] == list(range(4, 13))
    assert losses_of(rest) == losses_of(whole)
    assert np.array_equal(rest.frame, whole.frame)


def test_ctrl_c_within_a_step_leaves_the_last_checkpoint(
    settings: OptimizeSettings, photo: Frame, painting: Frame, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = optimize(photo, painting, settings)
    constrain, count = PixelObjective.constrain, iter(range(1, 1000))

    def constrain_so(objective: PixelObjective, image: torch.Tensor) -> torch.Tensor:
        # The first is of the first image, so this is within step 4: the descent has already moved on.
        if next(count) == 5:
            raise KeyboardInterrupt
        return constrain(objective, image)

    with monkeypatch.context() as patch:
        patch.setattr(PixelObjective, "constrain", constrain_so)
        assert len(optimize(photo, painting, settings, log_dir=folder).history) == 4
    rest = optimize(photo, painting, settings, log_dir=folder, resume=True)
    assert losses_of(rest) == losses_of(whole)


def test_a_run_that_is_done_stays_so(settings: OptimizeSettings, photo: Frame, painting: Frame, folder: Path) -> None:
    whole = optimize(photo, painting, settings, log_dir=folder)
    again = optimize(photo, painting, settings, log_dir=folder, resume=True)
    assert losses_of(again) == losses_of(whole)
    assert np.array_equal(again.frame, whole.frame)


def test_more_steps_continue_from_the_best(
    settings: OptimizeSettings, photo: Frame, painting: Frame, folder: Path
) -> None:
    short = optimize(photo, painting, settings, log_dir=folder)
    longer = optimize(photo, painting, replace(settings, steps=24), log_dir=folder, resume=True)
    assert [step.long_side for step in longer.history] == [24] * 8 + [48] * 12
    assert losses_of(longer)[:12] == losses_of(short)
    assert longer.history[12].total == short.best.total
    assert longer.best.total < short.best.total


def test_what_is_in_the_folder(settings: OptimizeSettings, photo: Frame, painting: Frame, folder: Path) -> None:
    result = optimize(photo, painting, settings, log_dir=folder)
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("events"))
    assert names == [
        "best.png",
        "checkpoint.safetensors",
        "step_00003.png",
        "step_00006.png",
        "step_00009.png",
        "step_00012.png",
    ]
    assert np.array_equal(read_frame(folder / "best.png"), result.frame)
    with Image.open(folder / "step_00003.png") as small, Image.open(folder / "step_00009.png") as large:
        assert (max(small.size), max(large.size)) == (24, 48)


def test_events_hold_every_step_once(
    settings: OptimizeSettings, photo: Frame, painting: Frame, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop_before(6, patch)
        optimize(photo, painting, settings, log_dir=folder)
    result = optimize(photo, painting, settings, log_dir=folder, resume=True)
    events = EventAccumulator(str(folder))
    events.Reload()
    for term in ("total", "content", "style", "total_variation"):
        noted = events.Scalars(f"loss/{term}")
        assert [event.step for event in noted] == list(range(1, 13))
        assert [event.value for event in noted] == pytest.approx([getattr(step, term) for step in result.history])
    assert [event.step for event in events.Images("best")] == [3, 6, 9, 12]


def test_save_every_0_keeps_the_end_alone(
    settings: OptimizeSettings, photo: Frame, painting: Frame, folder: Path
) -> None:
    optimize(photo, painting, replace(settings, save_every=0), log_dir=folder)
    assert len([path for path in folder.iterdir() if path.suffix == ".png"]) == 1


def test_other_settings_and_pictures_are_named(
    settings: OptimizeSettings, photo: Frame, painting: Frame, folder: Path
) -> None:
    optimize(photo, painting, settings, log_dir=folder)
    for changes, message in (
        ({"style_weight": 7.0}, r"--style-weight 5.0, now it is 7.0; give the same, or --resume never to start again"),
        ({"pyramid_levels": 1}, "--pyramid-levels 2, now it is 1"),
        ({"style_layers": ("relu1_1",)}, r"--style-layers \['relu1_1', 'relu2_1'\], now"),
    ):
        with pytest.raises(CheckpointError, match=f"was made with {message}"):
            optimize(photo, painting, replace(settings, **changes), log_dir=folder, resume=True)
    with pytest.raises(CheckpointError, match="was made with another photo"):
        optimize(photo[:, ::-1], painting, settings, log_dir=folder, resume=True)
    for other in (painting[::-1], [painting, Style(photo, 0.5)]):
        with pytest.raises(CheckpointError, match="was made with another styles"):
            optimize(photo, other, settings, log_dir=folder, resume=True)


def test_files_that_are_no_checkpoints(settings: OptimizeSettings, photo: Frame, painting: Frame, folder: Path) -> None:
    def message() -> str:
        with pytest.raises(CheckpointError) as caught:
            optimize(photo, painting, settings, log_dir=folder, resume=True)
        return str(caught.value)

    assert "nothing to resume; expected checkpoint.safetensors in it" in message()
    folder.mkdir()
    path = folder / "checkpoint.safetensors"
    path.write_bytes(b"not at all")
    assert "damaged" in message()
    save_file({"a": torch.zeros(1)}, path)
    assert "no checkpoint of an optimization" in message()
    path.unlink()
    optimize(photo, painting, settings, log_dir=folder)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "damaged" in message()
    # A letter of what was asked for, in the file's header, of which safetensors knows nothing.
    for good, bad in ((b'\\"settings\\":', b'\\"settings\\"!'), (b'\\"settings\\":', b'\\"setting5\\":')):
        assert whole.count(good) == 1
        path.write_bytes(whole.replace(good, bad))
        assert "damaged, or of another version" in message()


def test_a_full_disk_is_one_line(
    settings: OptimizeSettings, photo: Frame, painting: Frame, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoint, "save_file", refuse)
    with pytest.raises(OutputError, match=r"checkpoint.safetensors: cannot be written .*No space left on device"):
        optimize(photo, painting, settings, log_dir=folder)
    assert not [path for path in folder.iterdir() if ".part" in path.name]


def test_events_that_cannot_be_written_are_one_line(
    settings: OptimizeSettings, photo: Frame, painting: Frame, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.SummaryWriter, "add_scalar", refuse)
    with pytest.raises(OutputError, match=r"log: events cannot be written \(No space left on device\)"):
        optimize(photo, painting, settings, log_dir=folder)


def test_tensorboards_thread_says_nothing_of_a_full_disk(
    settings: OptimizeSettings,
    photo: Frame,
    painting: Frame,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tensorboard.summary.writer.record_writer.RecordWriter.write", refuse)
    # pytest's own hook keeps what a thread raises, and would make it a warning.
    monkeypatch.setattr(threading, "excepthook", threading.__excepthook__)
    with pytest.raises(OutputError, match="events cannot be written"):
        optimize(photo, painting, settings, log_dir=folder)
    assert threading.excepthook is threading.__excepthook__
    assert capsys.readouterr().err == ""


def test_a_folder_that_is_a_file(settings: OptimizeSettings, photo: Frame, painting: Frame, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file: cannot be written to"):
        optimize(photo, painting, settings, log_dir=tmp_path / "file")


def test_divergence_leaves_the_last_good_checkpoint(
    settings: OptimizeSettings, photo: Frame, painting: Frame, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate, count = PixelObjective.evaluate, iter(range(1, 1000))

    def evaluate_so(objective: PixelObjective, image: torch.Tensor):
        losses, gradient = evaluate(objective, image)
        return losses | ({"total": float("nan")} if next(count) == 5 else {}), gradient

    whole = optimize(photo, painting, settings)
    with monkeypatch.context() as patch:
        patch.setattr(PixelObjective, "evaluate", evaluate_so)
        with pytest.raises(OptimizeDivergedError):
            optimize(photo, painting, settings, log_dir=folder)
    rest = optimize(photo, painting, settings, log_dir=folder, resume=True)
    assert losses_of(rest) == losses_of(whole)


def test_of_two_runs_with_one_log_the_second_is_refused(
    settings: OptimizeSettings, photo: Frame, painting: Frame, folder: Path
) -> None:
    with alone_in(folder), pytest.raises(OutputError, match="another fastnst is writing there"):
        optimize(photo, painting, settings, log_dir=folder)
    assert not folder.exists()
