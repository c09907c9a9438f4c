"""A step that does not fit into memory is refused before the first one."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from fastnst.errors import SettingError
from fastnst.training import engine, processes
from fastnst.training.settings import TrainSettings


def test_a_step_that_does_not_fit(
    tiny: TrainSettings, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = replace(tiny, batch_size=4, crop_size=512, steps=1)
    monkeypatch.setattr(processes, "available_memory", lambda: 180_000_000)
    with pytest.raises(SettingError, match=r"takes about [\d.]+ GB of memory, 0\.18 GB are free") as caught:
        engine.run_training(large, photos, tmp_path)
    named = re.search(r"--batch-size (\d+) --crop-size (\d+) fits", str(caught.value))
    assert named
    batch, crop = map(int, named.groups())
    assert batch * crop**2 < 4 * 512**2
    # What is named is let through, and the next crop is not.
    monkeypatch.setattr(engine, "train_network", lambda *_: None)
    engine.run_training(replace(large, batch_size=batch, crop_size=crop), photos, tmp_path / "next")
    with pytest.raises(SettingError, match="fits"):
        engine.run_training(replace(large, batch_size=batch, crop_size=crop + 8), photos, tmp_path / "more")
    monkeypatch.setattr(processes, "available_memory", lambda: 151_000_000)
    with pytest.raises(SettingError, match=r"--style-size \d+ fits"):
        engine.run_training(replace(large, style_size=2000), photos, tmp_path / "style")
    monkeypatch.setattr(processes, "available_memory", lambda: 1000)
    with pytest.raises(SettingError, match="beside its steps"):
        engine.run_training(large, photos, tmp_path / "none")
