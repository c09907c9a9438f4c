"""Imitating a trained network, and gradients that are cut."""

import itertools
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fastnst.errors import CheckpointError, OutputError, SettingError
from fastnst.io.images import read_frame
from fastnst.io.styles import bundled_models
from fastnst.losses.perceptual import Losses, PerceptualLoss
from fastnst.losses.weights import load_loss_network
from fastnst.models.checkpoint import ModelInfo, build_network, find_model, load_model, save_model
from fastnst.models.network import StyleNetwork
from fastnst.training import engine, setup
from fastnst.training.checkpoint import CHECKPOINT, new_state, saved_settings
from fastnst.training.engine import TrainCallbacks
from fastnst.training.objective import ImitationObjective, TrainingObjective
from fastnst.training.results import model_info
from fastnst.training.run import GRADIENT_CLIPPING
from fastnst.training.settings import _SIZES, TrainSettings
from fastnst.training.train import Trained, teacher_of, train, wants_teacher

CPU = torch.device("cpu")


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    """Another network than `tiny` trains: wider, and with other random weights."""
    return save(tmp_path / "teacher.safetensors", {"kind": "johnson", "width": 3, "blocks": 1})


def save(path: Path, spec: dict[str, int | str]) -> Path:
    torch.manual_seed(7)
    save_model(path, build_network(spec), ModelInfo("large", spec, "none"))
    return path


def objective(settings: TrainSettings, teacher: torch.nn.Module | None) -> TrainingObjective:
    network, _ = load_loss_network(settings, CPU)
    styles = [read_frame(path) for path in settings.style]
    loss = PerceptualLoss(network, settings)
    return TrainingObjective(loss, styles, settings, stride=4, device=CPU, dtype=None, teacher=teacher)  # type: ignore[arg-type]


class _Shifted(torch.nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        """The images, 0.2 lighter."""
        return images + 0.2


def test_the_difference_is_that_of_the_features_and_of_the_pixels(tiny: TrainSettings) -> None:
    images = 0.7 * squares()
    settings = replace(tiny, checkerboard_weight=0.0, teacher_weight=3.0, input_noise=0.0)
    with_teacher, without = objective(settings, _Shifted()), objective(settings, None)
    losses, plain = (judge(lambda x: x, images, range(2))[0] for judge in (with_teacher, without))
    own, theirs = with_teacher.loss.network(images), with_teacher.loss.network(images + 0.2)
    errors = [
        ((own[layer][n] - theirs[layer][n]).square().sum() / theirs[layer][n].square().sum())
        for layer in own
        for n in range(2)
    ]
    expected = torch.stack(errors).mean() + apart(images, images + 0.2)
    torch.testing.assert_close(losses.values["distillation"], expected)
    torch.testing.assert_close(losses.total, plain.total + 3 * expected)
    assert "distillation" not in plain.values
    imitated = with_teacher(lambda x: x + 0.2, images, range(2))[0]
    assert imitated.values["distillation"] < 1e-8


def squares() -> Tensor:
    """Pictures in [0, 1] of squares and noise, (2, 3, 64, 64)."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(2, 3, 8, 8, generator=generator).repeat_interleave(8, 2).repeat_interleave(8, 3)
    return 0.7 * coarse + 0.3 * torch.rand(2, 3, 64, 64, generator=generator)


def apart(given: Tensor, wanted: Tensor) -> float:
    """`pixel_error`, by NumPy."""
    errors = []
    for side in (1, 2, 4, 8):
        cut = [np.reshape(images.numpy(), (2, 3, 64 // side, side, 64 // side, side)) for images in (given, wanted)]
        one, other = (blocks.mean(axis=(3, 5)).astype(np.float64) for blocks in cut)
        spread = np.abs(other - other.mean(axis=(2, 3), keepdims=True)).mean()
        errors.append(np.abs(one - other).mean() / spread)
    return float(np.mean(errors))


def test_pictures_of_the_teacher_are_imitated_by_their_pixels_alone(tiny: TrainSettings) -> None:
    images = 0.3 * squares()
    imitation = ImitationObjective(objective(replace(tiny, input_noise=0.0), _Shifted()))
    losses, stylized = imitation(lambda x: x / 2, images, range(2))
    assert list(losses.values) == ["imitation"]
    assert float(losses.total) == pytest.approx(apart(images / 2, images + 0.2), rel=1e-5)
    assert float(imitation(lambda x: x + 0.2, images, range(2))[0].total) < 1e-6
    torch.testing.assert_close(stylized, images / 2)


@pytest.mark.slow
def test_a_network_comes_nearer_to_its_teacher(
    tiny: TrainSettings, teacher: Path, photos: Path, tmp_path: Path
) -> None:
    def last(name: str, weight: float) -> float:
        seen: list[float] = []
        settings = replace(tiny, steps=20, learning_rate=4e-3, teacher=teacher, teacher_weight=weight)
        # Upsampling as the teacher does.
        settings = replace(settings, content_weight=0.0, style_weight=0.0, upsampling="nearest", imitation_fraction=0.0)
        engine.run_training(
            settings, photos, tmp_path / name, on_step=lambda step: seen.append(step.losses["distillation"])
        )
        return sum(seen[-5:]) / 5

    assert last("distilled", 1.0) < 0.8 * last("alone", 0.0)


def test_files_tell_of_the_teacher(tiny: TrainSettings, teacher: Path) -> None:
    info = model_info(replace(tiny, teacher=teacher), 6, 12, "VGG")
    assert "imitating teacher.safetensors (sha256 " in info.provenance
    assert str(teacher.parent) not in str(info)


def test_teachers_that_cannot_be(tiny: TrainSettings, teacher: Path, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="--teacher-weight is -1"):
        replace(tiny, teacher_weight=-1.0)
    with pytest.raises(SettingError, match=r"--imitation-fraction is 1\.5"):
        replace(tiny, imitation_fraction=1.5)
    several = save(tmp_path / "several.safetensors", {"kind": "johnson", "width": 2, "blocks": 1, "styles": 2})
    with pytest.raises(CheckpointError, match=r"several\.safetensors: has 2 styles and no strength input"):
        engine.run_training(replace(tiny, teacher=several), photos, tmp_path / "a")
    strong = replace(tiny, teacher=teacher, strength_input=True)
    with pytest.raises(
        CheckpointError, match="has 1 style and no strength input; --teacher is one with 1 style and a s"
    ):
        engine.run_training(strong, photos, tmp_path / "c")
    with pytest.raises(CheckpointError, match="no such file"):
        engine.run_training(replace(tiny, teacher=tmp_path / "none.safetensors"), photos, tmp_path / "b")


def test_a_gradient_far_longer_than_the_last_ones_is_cut(
    tiny: TrainSettings,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    on_losses: Callable[..., None],
    scalars: Callable[..., Any],
) -> None:
    update, calls = torch.optim.Adam.step, itertools.count(1)
    used: list[float] = []

    def louder(_: object, _images: Tensor, _samples: range, losses: Losses) -> Losses:
        # The first was to count the arithmetic.
        return replace(losses, total=losses.total * 1000) if next(calls) == 5 else losses

    def watched(optimizer: torch.optim.Adam) -> None:
        gradients = [value.grad for value in optimizer.param_groups[0]["params"] if value.grad is not None]
        used.append(float(torch.nn.utils.get_total_norm(gradients)))
        update(optimizer)

    on_losses(louder)
    monkeypatch.setattr(torch.optim.Adam, "step", watched)
    engine.run_training(tiny, photos, tmp_path)
    lengths = [length for _, length in scalars(tmp_path, "train/gradient")]  # before they are cut
    mean = lengths[0]
    assert used[0] == pytest.approx(mean)  # nothing to compare it with
    for length in lengths[1:3]:
        mean = 0.95 * mean + 0.05 * min(length, GRADIENT_CLIPPING * mean)
    assert lengths[3] > 100 * mean
    assert used[3] == pytest.approx(GRADIENT_CLIPPING * mean, rel=1e-3)


# Trained first


def teachers_are_small(patch: pytest.MonkeyPatch) -> None:
    """As large as what other tests export, too."""
    patch.setattr("fastnst.training.train.TEACHER_WIDTH", 2)
    patch.setitem(_SIZES, "johnson", ("johnson", 16, 1))


@pytest.fixture
def live(tiny: TrainSettings, monkeypatch: pytest.MonkeyPatch) -> TrainSettings:
    teachers_are_small(monkeypatch)
    return replace(tiny, network="live", width=16, name="student", steps=4)


@dataclass
class Distilled:
    """A whole training of `live`, and what it said."""

    folder: Path
    trained: Trained
    notes: list[str]
    steps: list[set[str]]


@pytest.fixture(scope="module")
def whole(tiny: TrainSettings, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Distilled:
    folder, notes, steps = tmp_path_factory.mktemp("whole") / "out", [], []  # type: ignore[var-annotated]
    calls = TrainCallbacks(on_note=notes.append, on_step=lambda step: steps.append(set(step.losses)))
    # Early exports come after a second: less than the teacher takes, more than the student.
    settings = replace(tiny, network="live", width=16, name="student", steps=4, early_export_s=1.0)
    with pytest.MonkeyPatch.context() as patch:
        teachers_are_small(patch)
        trained = train(settings, folder, content=photos, callbacks=calls)
    return Distilled(folder, trained, notes, steps)


def test_which_networks_get_a_teacher(tiny: TrainSettings, live: TrainSettings, teacher: Path) -> None:
    assert not wants_teacher(tiny)
    assert wants_teacher(replace(tiny, teacher="auto"))
    assert wants_teacher(live)
    assert not wants_teacher(replace(live, teacher="none"))
    assert not wants_teacher(replace(live, teacher=teacher))
    assert not wants_teacher(replace(live, init_from=teacher))
    assert not wants_teacher(replace(live, teacher_weight=0.0))
    assert wants_teacher(replace(live, strength_input=True))


@pytest.mark.slow
def test_a_live_network_learns_from_a_teacher_that_is_trained_first(
    live: TrainSettings, photos: Path, whole: Distilled
) -> None:
    assert whole.trained.files is not None
    large, info = load_model(whole.folder / "teacher" / "student.safetensors")
    assert (info.network["kind"], large.width) == ("johnson", 2)
    kinds = [[name for name in ("content", "imitation", "distillation") if name in names] for names in whole.steps]
    assert kinds == [["content"]] * 4 + [["imitation"]] * 2 + [["content", "distillation"]] * 2
    assert any(note.startswith("First its teacher") for note in whole.notes)
    _, own = load_model(whole.trained.files.model)
    assert "imitating student.safetensors (sha256 " in own.provenance
    assert own.network["kind"] == "live"
    with pytest.raises(OutputError, match="already holds a training"):
        train(live, whole.folder, content=photos)
    # The student's first early export is after a second of its own training.
    taught = next(number for number, note in enumerate(whole.notes) if note.startswith("The teacher is trained"))
    assert not any(note.startswith("Step 1:") for note in whole.notes[taught:])


def stop_at(at: int, settings: TrainSettings, photos: Path, folder: Path) -> None:
    """Train until step `at`, counted over both parts, as if Ctrl-C were pressed then."""
    count = [0]

    def stop(_: engine.TrainProgress) -> None:
        count[0] += 1
        if count[0] == at:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(settings, folder, content=photos, callbacks=TrainCallbacks(on_step=stop))


@pytest.mark.slow
def test_goes_on_after_a_stop_in_the_second_part(
    live: TrainSettings, photos: Path, tmp_path: Path, whole: Distilled
) -> None:
    stop_at(6, live, photos, tmp_path / "out")
    told = saved_settings(tmp_path / "out")
    assert (told["network"], told["name"]) == ("live", "student")
    with pytest.raises(OutputError, match="resume it with --resume"):
        train(live, tmp_path / "out", content=photos)
    seen: list[int] = []
    calls = TrainCallbacks(on_step=lambda step: seen.append(step.step))
    again = train(live, tmp_path / "out", content=photos, resume=True, callbacks=calls)
    assert seen == [4]  # the step that is under way is finished
    for one, other in zip(again.result.network.parameters(), whole.trained.result.network.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_after_a_stop_in_the_first_part_other_settings_are_refused_and_the_same_go_on(
    live: TrainSettings, photos: Path, tmp_path: Path
) -> None:
    stop_at(2, live, photos, tmp_path)
    with pytest.raises(CheckpointError, match="now it is --steps 9 instead of 4"):
        train(replace(live, steps=9), tmp_path, content=photos, resume=True)
    assert saved_settings(tmp_path)["steps"] == 4
    seen: list[int] = []
    train(live, tmp_path, content=photos, resume=True, callbacks=TrainCallbacks(on_step=lambda s: seen.append(s.step)))
    assert seen == [4, 1, 2, 3, 4]


def test_the_teachers_time_counts_after_a_stop_between_the_two(
    live: TrainSettings, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_at(5, live, photos, tmp_path)
    (tmp_path / CHECKPOINT).unlink()  # as if it had been killed before the student's first one
    took = load_model(tmp_path / "teacher" / "student.safetensors")[1].training["elapsed_s"] + 500
    monkeypatch.setattr(
        "fastnst.training.train.load_model", lambda path: (None, ModelInfo("", {}, "", training={"elapsed_s": took}))
    )
    assert train(live, tmp_path, content=photos, resume=True).result.elapsed_s > took


def test_a_student_that_began_without_a_teacher_stays_so(live: TrainSettings, photos: Path, tmp_path: Path) -> None:
    stop_at(2, replace(live, teacher="none"), photos, tmp_path)
    seen: list[set[str]] = []
    calls = TrainCallbacks(on_step=lambda step: seen.append(set(step.losses)))
    train(live, tmp_path, content=photos, resume=True, callbacks=calls)
    assert all("distillation" not in names for names in seen)
    with pytest.raises(CheckpointError, match="no training to resume"):
        train(live, tmp_path / "misspelt", content=photos, resume=True)


def test_a_moved_training_finds_its_teacher(live: TrainSettings, photos: Path, tmp_path: Path) -> None:
    stop_at(6, live, photos, tmp_path / "out")
    (tmp_path / "out").rename(tmp_path / "moved")
    named = Path(saved_settings(tmp_path / "moved")["teacher"])
    assert not named.exists()
    again = train(replace(live, teacher=named), tmp_path / "moved", content=photos, resume=True)
    assert again.result.steps == 4


def test_what_is_wrong_with_the_student_is_known_before(live: TrainSettings, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="a network of kind johnson"):
        train(replace(live, teacher="auto", init_from="starry"), tmp_path / "out", content=photos)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_the_teachers_start_and_budget(tiny: TrainSettings) -> None:
    student = TrainSettings(style=tiny.style, network="live", name="student")
    of = teacher_of(replace(student, budget="3m"))
    assert new_state(of, CPU).network.width == 16
    assert of.init_model == bundled_models() / "gallery.safetensors"
    assert (of.budget, of.network, of.teacher, of.name) == ("90s", "johnson", "none", "student")
    assert teacher_of(student).budget == ""


def test_names_may_be_given_as_words_in_python(tiny: TrainSettings) -> None:
    settings = replace(tiny, init_from="starry", teacher="large.safetensors")  # type: ignore[arg-type]
    assert (settings.init_from, settings.teacher) == (Path("starry"), Path("large.safetensors"))
    assert replace(tiny, teacher="auto").teacher == "auto"


def test_a_folder_does_not_hide_a_style_of_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("starry").mkdir()
    assert find_model(Path("starry")).is_file()
    Path("starry").rmdir()
    Path("starry").write_bytes(b"")
    assert find_model(Path("starry")) == Path("starry")


def test_no_teacher_is_trained_by_several_processes(
    live: TrainSettings, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SettingError, match="--teacher auto trains in one process"):
        train(live, tmp_path / "out", content=photos)
    assert not (tmp_path / "out").exists()


def test_a_teacher_is_told_what_its_student_is_told(
    tiny: TrainSettings, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[torch.Size, ...]] = []
    build = setup.load_model

    def watched(path: Path) -> tuple[StyleNetwork, ModelInfo]:
        network, info = build(path)
        network.register_forward_pre_hook(lambda _, inputs: told.append(tuple(value.shape for value in inputs)))
        return network, info

    monkeypatch.setattr(setup, "load_model", watched)
    second = tmp_path / "second.png"
    second.write_bytes(tiny.style[0].read_bytes())
    spec: dict[str, int | str] = {"kind": "johnson", "width": 2, "blocks": 1, "styles": 2, "strength": 1}
    teacher = save(tmp_path / "teacher.safetensors", spec)
    both = replace(tiny, style=(*tiny.style, second), strength_input=True, teacher=teacher, steps=2)
    engine.run_training(both, photos, tmp_path / "out")
    assert (2, 2) in [shapes[1] for shapes in told if len(shapes) == 3]  # two pictures, two styles
    assert all(shapes[2] in ((2, 1), (1, 1)) for shapes in told)
