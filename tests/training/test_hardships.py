"""What may go wrong around a training: broken photographs, full disks, and what it leaves behind."""

import dataclasses
import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch.utils.tensorboard import SummaryWriter

from fastnst.errors import OutputError
from fastnst.io.files import write_atomically
from fastnst.models.checkpoint import read_safetensors
from fastnst.training import checkpoint, engine, results
from fastnst.training.checkpoint import CHECKPOINT
from fastnst.training.engine import TrainCallbacks
from fastnst.training.settings import TrainSettings


@pytest.fixture
def settings(tiny: TrainSettings) -> TrainSettings:
    return tiny


def steps_in(folder: Path) -> int:
    with safe_open(folder / CHECKPOINT, framework="pt") as opened:
        return int(json.loads(opened.metadata()["progress"])["step"])


# Photographs


def test_a_folder_of_which_a_tenth_is_broken(settings: TrainSettings, photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(27):
        shutil.copy(photos / f"photo{i % 8}.png", folder / f"good{i:02}.png")
    whole = (photos / "photo0.png").read_bytes()
    (folder / "broken0.png").write_bytes(whole[: len(whole) // 2])
    (folder / "broken1.jpg").write_text("not a picture")
    (folder / "broken2.jpg").touch()
    result = engine.run_training(dataclasses.replace(settings, steps=16, preview_every=100), folder, tmp_path / "run")
    assert sorted(result.skipped) == ["broken0.png", "broken1.jpg", "broken2.jpg"]
    assert result.steps == 16
    assert result.images == 32


# Disks


class FullDisk:
    """Makes writing below a folder fail while it is full."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False

        def write(path: Path, content: bytes) -> None:
            if self.full:
                raise OutputError(f"{path}: cannot be written (No space left on device)")
            write_atomically(path, content)

        monkeypatch.setattr(checkpoint, "write_atomically", write)


def test_a_disk_that_is_full_for_a_while_ends_no_training(
    settings: TrainSettings, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, notes, saved = FullDisk(monkeypatch), [], {}

    def change(progress: engine.TrainProgress) -> None:
        if (tmp_path / CHECKPOINT).exists():
            saved[progress.step] = steps_in(tmp_path)
        disk.full = progress.step in (2, 3)

    calls = TrainCallbacks(on_step=change, on_note=notes.append)
    engine.run_training(dataclasses.replace(settings, checkpoint_every_s=0.0), photos, tmp_path, callbacks=calls)
    assert [line for line in notes if "training continues" in line] == notes
    assert len(notes) == 2
    assert notes[0].startswith(str(tmp_path / CHECKPOINT))
    assert saved == {2: 1, 3: 1, 4: 1, 5: 4, 6: 5}  # what was there stays whole until there is a newer one
    assert steps_in(tmp_path) == 6


def test_a_disk_that_is_full_at_the_end_is_an_error_and_the_last_checkpoint_stays(
    settings: TrainSettings, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FullDisk(monkeypatch)

    def change(progress: engine.TrainProgress) -> None:
        disk.full = progress.step > 4

    eager = dataclasses.replace(settings, checkpoint_every_s=0.0)
    with pytest.raises(OutputError, match="No space left"):
        engine.run_training(eager, photos, tmp_path, callbacks=TrainCallbacks(on_step=change))
    assert steps_in(tmp_path) == 4
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    disk.full = False
    engine.run_training(settings, photos, tmp_path, resume=True)
    assert steps_in(tmp_path) == 6


TRAINING = """
import sys
from pathlib import Path
from fastnst.errors import OutputError
from fastnst.training.checkpoint import CHECKPOINT
from fastnst.training.engine import TrainCallbacks, run_training
from fastnst.training.settings import TrainSettings

style, weights, photos, folder = map(Path, sys.argv[1:])
settings = TrainSettings(
    style=style, loss_weights=weights, width=2, blocks=1, steps=8, batch_size=1, crop_size=64, style_size=64,
    content_layers=("relu2_1",), style_layers=("relu2_1",), workers=0, preview_every=2, precision="float32",
    early_export_s=0, checkpoint_every_s=0.0,
)

def fill(progress):
    if progress.step == 4:
        with (folder / "other people's data").open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(1024))
            except OSError:
                pass

try:
    run_training(settings, photos, folder, callbacks=TrainCallbacks(on_step=fill, on_note=print))
except OutputError as error:
    print("ended:", error)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="mounts a small disk of its own")
def test_a_disk_that_really_runs_full(style_picture: Path, loss_weights: Path, photos: Path, tmp_path: Path) -> None:
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode:
        pytest.skip("not allowed to mount here")
    disk, kept = tmp_path / "disk", tmp_path / "kept"
    disk.mkdir()
    (tmp_path / "run.py").write_text(TRAINING)
    # What is on the small disk is gone with the process, so it is copied out at the end.
    script = 'mount -t tmpfs -o size=8m none "$1" && "$2" "$3" "$4" "$5" "$6" "$1"; cp -r "$1" "$7"'
    given = [disk, sys.executable, tmp_path / "run.py", style_picture, loss_weights, photos, kept]
    run = ["unshare", "-rm", "sh", "-c", script, "sh", *map(str, given)]
    ended = subprocess.run(run, capture_output=True, text=True, check=False)
    lines = ended.stdout.splitlines()
    assert "Traceback" not in ended.stderr, ended.stderr
    assert lines[-1].startswith(f"ended: {disk / CHECKPOINT}: cannot be written (No space left on device)"), lines
    assert any("training continues" in line for line in lines)
    assert steps_in(kept) == 3  # the last whole one
    assert [path.name for path in kept.iterdir() if path.suffix == ".safetensors"] == [CHECKPOINT]


def test_events_that_cannot_be_written_are_said_once_and_end_no_training(
    settings: TrainSettings, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(SummaryWriter, "add_scalar", refuse)
    notes: list[str] = []
    result = engine.run_training(settings, photos, tmp_path, callbacks=TrainCallbacks(on_note=notes.append))
    assert result.steps == 6
    (note,) = notes
    assert "TensorBoard" in note
    assert "training continues" in note


# What it leaves


def test_an_early_export_can_be_tried_while_it_trains(settings: TrainSettings, photos: Path, tmp_path: Path) -> None:
    notes, there = [], {}

    def note(progress: engine.TrainProgress) -> None:
        there[progress.step] = (tmp_path / results.PREVIEW).exists()

    soon = dataclasses.replace(settings, steps=3, early_export_s=1e-3)
    engine.run_training(dataclasses.replace(soon, early_export_s=0), photos, tmp_path / "plain")
    plain, _ = read_safetensors(tmp_path / "plain" / CHECKPOINT)
    engine.run_training(soon, photos, tmp_path, callbacks=TrainCallbacks(on_step=note, on_note=notes.append))
    assert there == {1: False, 2: True, 3: True}
    assert [line for line in notes if results.PREVIEW in line] == [
        f"Step 1: try it with --style {tmp_path / results.PREVIEW}"
    ]
    exported, _ = read_safetensors(tmp_path / CHECKPOINT)
    assert all(torch.equal(value, plain[name]) for name, value in exported.items() if name.startswith("network."))


def test_an_early_export_that_fails_is_only_said(
    settings: TrainSettings, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("unknown operator\nand much more")

    monkeypatch.setattr(results, "to_onnx", fail)
    notes: list[str] = []
    soon = dataclasses.replace(settings, early_export_s=1e-3)
    result = engine.run_training(soon, photos, tmp_path, callbacks=TrainCallbacks(on_note=notes.append))
    assert notes == ["No preview.onnx: unknown operator"]
    assert result.steps == 6


def test_the_table_of_losses_has_seconds_and_arithmetic(settings: TrainSettings, photos: Path, tmp_path: Path) -> None:
    looks = []
    result = engine.run_training(settings, photos, tmp_path, callbacks=TrainCallbacks(on_validation=looks.append))
    head, *rows = (tmp_path / "losses.csv").read_text(encoding="utf-8").splitlines()
    assert head.startswith("step,seconds,images,multiply_adds,total,content,style,")
    assert [row.split(",")[0] for row in rows] == ["3", "6"]
    numbers = [float(word) for word in rows[1].split(",")]
    assert numbers == list(result.losses.values())
    assert numbers[2] == 12
    assert numbers[3] == pytest.approx(2 * float(rows[0].split(",")[3])) == pytest.approx(result.multiply_adds)
    assert [(look.step, look.sheet().shape) for look in looks] == [(3, (128, 256, 3)), (6, (128, 256, 3))]
