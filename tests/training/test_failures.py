"""Each known failure is planted once: it is found, said in one line, and left behind."""

import copy
import dataclasses
import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fastnst.errors import DivergedError
from fastnst.losses.perceptual import Losses
from fastnst.models.network import TransformNet
from fastnst.training import engine, failures
from fastnst.training.checkpoint import TrainState
from fastnst.training.engine import TrainCallbacks
from fastnst.training.failures import Flaw, LossGuard, PictureGuard, Rescue, measure_flaws, spread
from fastnst.training.run import TrainingRun, Validation
from fastnst.training.settings import TrainSettings

GOOD = {"content": 0.5, "style": 0.1, "total_variation": 0.0, "total": 1.0, "level": 0.5, "spread": 0.2}

# The measures


def test_spread_by_hand() -> None:
    # Shown, the first picture is half black and half white; the second is grey throughout.
    pictures = torch.stack([torch.tensor([-1.0, 3.0]).repeat(3, 2, 1), torch.full((3, 2, 2), 0.5)])
    found = spread(pictures)
    assert float(found["level"]) == 0.5
    deviation = (0.25 * 12 / 11) ** 0.5  # of twelve values 0 and 1
    assert float(found["spread"]) == pytest.approx(deviation / 2)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["content", "style", "total", "checkerboard"])
def test_a_loss_that_is_no_number_is_named(name: str, value: float) -> None:
    assert LossGuard().fault({**GOOD, "checkerboard": 0.0, name: value}) == f"the {name} loss is {value}"


def test_a_loss_that_runs_away_is_found_and_one_bad_picture_is_not() -> None:
    guarding = LossGuard()
    assert [guarding.fault({**GOOD, "total": 6 - step / 12}) for step in range(60)] == [None] * 60
    assert guarding.fault({**GOOD, "total": 9.0}) is None  # one hard picture
    assert [guarding.fault(GOOD) for _ in range(40)] == [None] * 40
    later = [guarding.fault({**GOOD, "total": 8.0}) for _ in range(10)]
    assert later[0] is None
    assert str(later[-1]).startswith("the loss ran away, from 1.")


@pytest.mark.parametrize(("level", "word"), [(0.0, "black"), (1.0, "white"), (0.4, "one flat color")])
def test_flat_pictures_are_found_once_the_network_has_settled(level: float, word: str) -> None:
    guarding, flat = LossGuard(), {**GOOD, "level": level, "spread": 0.001}
    said = [guarding.fault(flat) for _ in range(failures.SETTLED)]
    assert said == [None] * (failures.SETTLED - 1) + [f"the pictures are {word}"]


def frame(seed: int = 0) -> np.ndarray:
    """A clean picture of 128 px: smooth shapes and a little noise."""
    rng = np.random.default_rng(seed)
    down, across = np.mgrid[:128, :128]
    waves = np.stack([np.sin(down / 17 + seed), np.cos(across / 13), np.sin((down + across) / 29)], axis=-1)
    return (127 + 80 * waves + rng.normal(0, 6, (128, 128, 3))).clip(0, 255).astype(np.uint8)


def spoilt(kind: str) -> np.ndarray:
    picture = frame().astype(int)
    if kind == "blobs":
        picture[20:60, 30:80] = 0
    elif kind == "border":
        picture[[0, -1]] -= 90
        picture[:, [0, -1]] -= 90
    elif kind == "checkerboard":
        picture[::8] += 25
        picture[:, ::8] += 25
    return picture.clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("kind", "word"), [("blobs", "blobs"), ("border", "borders"), ("checkerboard", "a checkerboard")]
)
def test_each_artefact_is_found_alone(kind: str, word: str) -> None:
    clean, found = measure_flaws([frame()], [frame()]), measure_flaws([spoilt(kind)], [frame()])
    assert [name for name, flaw in clean.items() if flaw.value > flaw.limit / 2] == []
    assert [name for name, flaw in found.items() if flaw.value > flaw.limit] == [kind]
    assert found[kind].words.startswith(word)


def test_what_was_there_from_the_start_is_said_once_and_what_comes_later_is_a_failure() -> None:
    guarding = PictureGuard()
    lattice, clean = [spoilt("checkerboard")], [frame()]
    words, came = guarding.faults(lattice, clean)
    assert (len(words), came) == (1, False)
    assert guarding.faults(lattice, clean) == ([], False)
    assert guarding.faults(clean, clean) == ([], False)
    words, came = guarding.faults(lattice, clean)
    assert (len(words), came) == (1, True)


def test_what_goes_to_and_fro_about_a_limit_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    values = iter([0.6, 1.1, 0.6, 1.1, 0.4, 0.6, 1.1, 1.2])
    monkeypatch.setattr(
        failures, "measure_flaws", lambda *_: {"checkerboard": Flaw(next(values), 1.0, "a checkerboard")}
    )
    guarding = PictureGuard()
    said = [guarding.faults([], []) for _ in range(8)]
    assert said == [
        *(([], False), (["a checkerboard"], False), ([], False), ([], False)),
        *(([], False), ([], False), (["a checkerboard"], True), ([], False)),  # it was clean in between
    ]


# Going back


def small_state(seed: int = 0) -> TrainState:
    torch.manual_seed(seed)
    network = TransformNet(2, 1)
    state = TrainState(network, torch.optim.Adam(network.parameters(), 1e-3), copy.deepcopy(network))
    return state


def step(state: TrainState) -> None:
    state.optimizer.zero_grad()
    state.network(torch.rand(1, 3, 64, 64)).square().mean().backward()
    state.optimizer.step()
    state.step += 1


def test_going_back_restores_weights_average_and_optimizer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "KEEP_EVERY", 2)
    state = small_state()
    keeping = Rescue(state)
    kept = {}
    for _ in range(5):
        step(state)
        keeping.keep()
        kept[state.step] = copy.deepcopy((state.network.state_dict(), state.optimizer.state_dict()["state"]))
    state.images, state.losses = 50, [{"step": 1}, {"step": 3}]
    keeping.go_back()  # states 2 and 4 are kept: the older
    assert (state.step, state.rescues, state.rate_factor, state.images) == (2, 1, 0.5, 50)
    assert state.losses == [{"step": 1}]
    for name, value in state.network.state_dict().items():
        assert torch.equal(value, kept[2][0][name])
    moments = state.optimizer.state_dict()["state"]
    assert all(torch.equal(moments[i]["exp_avg"], kept[2][1][i]["exp_avg"]) for i in moments)
    step(state)
    keeping.go_back()  # what was put back is kept as it was, although a step was made since
    assert torch.equal(state.optimizer.state_dict()["state"][0]["exp_avg"], kept[2][1][0]["exp_avg"])


def test_going_back_puts_the_gradients_mean_back() -> None:
    state = small_state()
    state.gradient = 2.0
    keeping = Rescue(state)
    step(state)
    state.gradient = 30.0
    keeping.go_back()
    assert state.gradient == 2.0


def test_going_back_to_clean_pictures_goes_further() -> None:
    state = small_state()
    keeping = Rescue(state)
    step(state)
    keeping.keep_clean()
    for _ in range(3):
        step(state)
    keeping.go_back(clean=True)
    assert state.step == 1


# In a training


@pytest.fixture
def settings(tiny: TrainSettings, monkeypatch: pytest.MonkeyPatch) -> TrainSettings:
    monkeypatch.setattr(failures, "KEEP_EVERY", 2)
    monkeypatch.setattr(failures, "SETTLED", 3)
    return dataclasses.replace(tiny, steps=12, batch_size=1, preview_every=4)


def plant(monkeypatch: pytest.MonkeyPatch, kind: str, at: int, times: int = 1) -> list[int]:
    """Make update number `at`, counted over all, ruin the network; returns the numbers of those that did."""
    update, done, ruined = torch.optim.Adam.step, [0], []

    def ruin(optimizer: torch.optim.Adam) -> None:
        update(optimizer)
        done[0] += 1
        if done[0] >= at and len(ruined) < times:
            ruined.append(done[0])
            last = optimizer.param_groups[0]["params"]
            with torch.no_grad():
                if kind == "nan":
                    last[0].fill_(float("nan"))
                elif kind == "black":
                    last[-2].zero_()
                    last[-1].fill_(-9.0)
                else:
                    last[-2].mul_(100.0)

    monkeypatch.setattr(torch.optim.Adam, "step", ruin)
    return ruined


@pytest.mark.parametrize(
    ("kind", "words"),
    [("nan", "the weights are no longer numbers"), ("black", "the pictures are black"), ("loud", "ran away")],
)
def test_a_ruined_network_is_left_behind(
    settings: TrainSettings,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scalars: Callable[..., Any],
    kind: str,
    words: str,
) -> None:
    if kind == "black":
        monkeypatch.setattr(failures, "RISE", 1e9)  # black pictures also cost much
    plant(monkeypatch, kind, at=7)
    notes, seen = [], []
    calls = TrainCallbacks(on_note=notes.append, on_step=lambda progress: seen.append(progress.step))
    result = engine.run_training(settings, photos, tmp_path, callbacks=calls)
    (note,) = [line for line in notes if "going on" in line]
    assert re.search(words, note)
    assert "with 0.5 of the learning rate" in note
    assert "\n" not in note
    assert result.steps == 12
    assert seen[:6] == list(range(1, 7))
    assert seen.count(12) == 1
    assert len(seen) > 12  # some steps were made again
    assert all(torch.isfinite(value).all() for value in result.network.state_dict().values())
    assert result.images == len(seen)  # with other pictures
    assert [step for step, _ in scalars(tmp_path, "train/total")] == list(range(1, 13))


@pytest.mark.parametrize("name", ["total", "content"])
def test_a_loss_that_is_no_number_is_left_behind(
    settings: TrainSettings, photos: Path, tmp_path: Path, on_losses: Callable[..., None], name: str
) -> None:
    calls = itertools.count(1)

    def ruined(_: object, _images: Tensor, _samples: range, losses: Losses) -> Losses:
        if next(calls) == 6:  # the first was to count the arithmetic
            nan = torch.tensor(float("nan"))
            losses = Losses(nan, losses.values) if name == "total" else losses.plus(name, nan, 0.0)
            losses.total.requires_grad_()
        return losses

    on_losses(ruined)
    notes: list[str] = []
    engine.run_training(settings, photos, tmp_path, callbacks=TrainCallbacks(on_note=notes.append))
    assert f"Step 5: the {name} loss is nan; going on from step 2 with 0.5 of the learning rate." in notes


def test_it_is_not_tried_for_ever(
    settings: TrainSettings, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch, "nan", at=3, times=99)
    notes: list[str] = []
    settings = dataclasses.replace(settings, steps=4)
    with pytest.raises(
        DivergedError, match=r"step 1: the weights are no .*, after 3 returns .*--learning-rate"
    ) as caught:
        engine.run_training(settings, photos, tmp_path, callbacks=TrainCallbacks(on_note=notes.append))
    assert "\n" not in str(caught.value)
    assert [line.split(" with ")[1].split(" of ")[0] for line in notes if "going on" in line] == [
        "0.5",
        "0.25",
        "0.125",
    ]


def plant_in_pictures(monkeypatch: pytest.MonkeyPatch, from_step: int, until_rescue: bool = True) -> None:
    """Black squares in the held-out pictures from a step on, until the training has gone back."""
    look = engine.validate

    def spoilt(run: TrainingRun) -> Validation:
        seen = look(run)
        if run.state.step >= from_step and not (until_rescue and run.state.rescues):
            for painted in seen.painted:
                painted[8:48, 8:48] = 0
        return seen

    monkeypatch.setattr(engine, "validate", spoilt)


def test_blobs_that_come_are_left_behind(
    settings: TrainSettings, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant_in_pictures(monkeypatch, from_step=8)
    notes, seen = [], []
    calls = TrainCallbacks(on_note=notes.append, on_step=lambda progress: seen.append(progress.step))
    engine.run_training(settings, photos, tmp_path, callbacks=calls)
    (note,) = [line for line in notes if "blobs" in line]
    assert note.startswith("Step 8: blobs: ")
    assert note.endswith("going on from step 4 with 0.5 of the learning rate.")
    assert seen == [*range(1, 9), *range(5, 13)]


def test_blobs_that_stay_are_said_and_end_no_training(
    settings: TrainSettings, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant_in_pictures(monkeypatch, from_step=0, until_rescue=False)
    notes: list[str] = []
    result = engine.run_training(settings, photos, tmp_path, callbacks=TrainCallbacks(on_note=notes.append))
    assert [line.split(":")[0] for line in notes if "blobs" in line] == ["Step 4"]
    assert result.steps == 12


def test_the_learning_rate_stays_halved_after_a_resume(
    settings: TrainSettings,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    train_until: Callable[..., None],
    scalars: Callable[..., Any],
) -> None:
    constant = dataclasses.replace(settings, lr_schedule="constant")
    with monkeypatch.context() as patch:
        plant(patch, "nan", at=5)
        train_until(constant, tmp_path, at=9)
    engine.run_training(constant, photos, tmp_path, resume=True)
    assert scalars(tmp_path, "train/learning_rate")[-1] == (12, pytest.approx(settings.learning_rate / 2))
