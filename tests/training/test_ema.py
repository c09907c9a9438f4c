import dataclasses
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from fastnst.errors import SettingError
from fastnst.models.checkpoint import read_safetensors
from fastnst.models.network import TransformNet
from fastnst.training import engine
from fastnst.training.checkpoint import CHECKPOINT, start_ema, update_ema
from fastnst.training.settings import TrainSettings


def filled(value: float) -> TransformNet:
    network = TransformNet(2, 1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(value)
    return network


def test_average_by_hand_is_a_copy_that_learns_nothing() -> None:
    average = start_ema(filled(0.0))
    update_ema(average, filled(1.0), 0.9, step=1)  # early: decay 2 / 11
    assert float(next(average.parameters())[0, 0, 0, 0]) == pytest.approx(9 / 11)
    update_ema(average, filled(2.0), 0.9, step=1000)
    assert float(next(average.parameters())[0, 0, 0, 0]) == pytest.approx(0.9 * 9 / 11 + 0.1 * 2)
    network = filled(3.0)
    average = start_ema(network)
    assert not any(parameter.requires_grad for parameter in average.parameters())
    with torch.no_grad():
        next(network.parameters()).zero_()
    assert float(next(average.parameters()).min()) == 3.0


@pytest.fixture
def settings(tiny: TrainSettings) -> TrainSettings:
    return dataclasses.replace(tiny, steps=5, batch_size=1, ema_decay=0.8, learning_rate=1e-2, preview_every=250)


def test_it_is_what_comes_out_and_changes_nothing_in_the_training(
    settings: TrainSettings, photos: Path, tmp_path: Path
) -> None:
    whole = engine.run_training(settings, photos, tmp_path / "a")
    saved, _ = read_safetensors(tmp_path / "a" / CHECKPOINT)
    for name, value in whole.network.state_dict().items():
        assert_close(saved[f"ema.{name}"], value, rtol=0, atol=0)
    assert any(not torch.equal(saved[f"network.{name}"], value) for name, value in whole.network.state_dict().items())

    without = engine.run_training(dataclasses.replace(settings, ema_decay=0.0), photos, tmp_path / "b")
    for name, value in without.network.state_dict().items():
        assert_close(saved[f"network.{name}"], value, rtol=0, atol=0)


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_decay_that_makes_no_sense_is_refused(settings: TrainSettings, decay: float) -> None:
    with pytest.raises(SettingError, match="--ema-decay"):
        dataclasses.replace(settings, ema_decay=decay)
