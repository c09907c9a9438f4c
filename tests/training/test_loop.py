import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.testing import assert_close

from fastnst.errors import CheckpointError, OutputError, SettingError
from fastnst.io.files import alone_in
from fastnst.io.styles import bundled_models
from fastnst.losses.settings import FURTHER_TERMS
from fastnst.models.checkpoint import ModelInfo, load_model, read_safetensors, save_model
from fastnst.models.network import TransformNet
from fastnst.training import engine
from fastnst.training.checkpoint import CHECKPOINT, new_state
from fastnst.training.settings import TrainSettings, of_their_time, plain
from fastnst.training.train import train


@pytest.fixture
def settings(tiny: TrainSettings) -> TrainSettings:
    return tiny


def weights(folder: Path) -> dict[str, torch.Tensor]:
    tensors, _ = read_safetensors(folder / CHECKPOINT)
    return {name: value for name, value in tensors.items() if name.startswith("network.")}


def test_the_loss_falls(settings: TrainSettings, photos: Path, tmp_path: Path) -> None:
    seen: list[float] = []
    settings = dataclasses.replace(settings, steps=20, learning_rate=2e-2)
    engine.run_training(settings, photos, tmp_path, on_step=lambda progress: seen.append(progress.losses["total"]))
    assert len(seen) == 20
    assert sum(seen[-5:]) < 0.6 * sum(seen[:5])


@pytest.mark.slow
def test_the_default_loss_falls_and_a_stop_changes_nothing(
    settings: TrainSettings, photos: Path, tmp_path: Path, train_until: Callable[..., None]
) -> None:
    names = ("style_statistic", "style_scales", "statistics_over", "style_weight", *FURTHER_TERMS)
    usual = {name: getattr(TrainSettings(style=settings.style), name) for name in names}
    default = dataclasses.replace(settings, steps=16, learning_rate=1e-2, **usual)
    seen: list[dict[str, float]] = []
    whole = engine.run_training(default, photos, tmp_path / "a", on_step=lambda p: seen.append(p.losses))
    assert {"content", "style", "pattern", "relief", "checkerboard"} < set(seen[0])
    assert sum(losses["total"] for losses in seen[-5:]) < 0.9 * sum(losses["total"] for losses in seen[:5])
    train_until(default, tmp_path / "b", at=9)
    resumed = engine.run_training(default, photos, tmp_path / "b", resume=True)
    for name, value in whole.network.state_dict().items():
        assert torch.equal(resumed.network.state_dict()[name], value), name


def test_resumed_equals_uninterrupted_where_crops_and_batches_change(
    settings: TrainSettings, photos: Path, tmp_path: Path, train_until: Callable[..., None]
) -> None:
    staged = dataclasses.replace(
        settings, crop_size=96, progressive_resizing=0.5, progressive_crop_size=64, progressive_batch_size=3
    )
    whole: dict[int, float] = {}
    engine.run_training(staged, photos, tmp_path / "a", on_step=lambda p: whole.update({p.step: p.losses["total"]}))
    train_until(staged, tmp_path / "b", at=5)
    rest: dict[int, float] = {}
    engine.run_training(
        staged, photos, tmp_path / "b", resume=True, on_step=lambda p: rest.update({p.step: p.losses["total"]})
    )
    assert sorted(rest) == [5, 6]
    assert all(rest[step] == whole[step] for step in rest)
    with safe_open(tmp_path / "b" / CHECKPOINT, framework="pt") as opened:
        assert json.loads(opened.metadata()["progress"])["images"] == 3 * 3 + 3 * 2


def test_resuming_with_another_setting_or_style_is_refused(
    settings: TrainSettings, photos: Path, tmp_path: Path
) -> None:
    engine.run_training(dataclasses.replace(settings, steps=1), photos, tmp_path)
    with pytest.raises(OutputError, match="--resume"):
        engine.run_training(settings, photos, tmp_path)
    with pytest.raises(
        CheckpointError, match="now it is --steps 6 instead of 1; --resume never starts again, --resume"
    ):
        engine.run_training(settings, photos, tmp_path, resume=True)
    other = dataclasses.replace(settings, steps=1, style=photos / "photo0.png")
    with pytest.raises(CheckpointError, match="another style picture"):
        engine.run_training(other, photos, tmp_path, resume=True)


def test_tensorboard_has_scalars_and_pictures(settings: TrainSettings, photos: Path, tmp_path: Path) -> None:
    engine.run_training(settings, photos, tmp_path)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert {"train/total", "train/content", "train/style", "train/learning_rate", "speed/images_per_s"} <= set(
        events.Tags()["scalars"]
    )
    assert [event.step for event in events.Scalars("train/total")] == [1, 2, 3, 4, 5, 6]
    assert [event.step for event in events.Images("held-out")] == [3, 6]
    assert (tmp_path / "preview.png").stat().st_size > 0


def test_tensorboard_has_every_step_once_after_a_resume(
    settings: TrainSettings,
    photos: Path,
    tmp_path: Path,
    train_until: Callable[..., None],
    scalars: Callable[..., Any],
) -> None:
    train_until(settings, tmp_path, at=4)  # after the checkpoint of step 3, and with the event of step 4 written
    engine.run_training(settings, photos, tmp_path, resume=True)
    assert [step for step, _ in scalars(tmp_path, "train/total")] == [1, 2, 3, 4, 5, 6]


def test_a_training_can_start_from_a_trained_network(settings: TrainSettings, photos: Path, tmp_path: Path) -> None:
    torch.manual_seed(5)
    network = TransformNet(width=2, blocks=1)
    spec: dict[str, int | str] = {"kind": "johnson", "width": 2, "blocks": 1}
    save_model(tmp_path / "first.safetensors", network, ModelInfo(style="first", network=spec, provenance="test"))
    started = dataclasses.replace(settings, init_from=tmp_path / "first.safetensors", learning_rate=1e-12, steps=1)
    engine.run_training(started, photos, tmp_path / "a")
    for name, value in weights(tmp_path / "a").items():
        assert_close(value, network.state_dict()[name.removeprefix("network.")], rtol=1e-3, atol=1e-5)
    with pytest.raises(CheckpointError, match=r"width 2 blocks 1 \(first\); asked .* width 2 blocks 3$"):
        engine.run_training(dataclasses.replace(started, blocks=3), photos, tmp_path / "b")


def test_the_lattice_penalty_takes_patterns_away(settings: TrainSettings, photos: Path, tmp_path: Path) -> None:
    last = {}
    for weight in (0.0, 1e4):
        seen: list[float] = []
        strong = dataclasses.replace(
            settings, steps=12, learning_rate=3e-2, checkerboard_weight=weight, upsampling="nearest"
        )
        engine.run_training(
            strong, photos, tmp_path / str(weight), on_step=lambda p, s=seen: s.append(p.losses["checkerboard"])
        )
        last[weight] = sum(seen[-5:])
    assert last[1e4] < 0.5 * last[0.0]


def test_settings_that_make_no_sense_are_refused(settings: TrainSettings) -> None:
    with pytest.raises(SettingError, match="--crop-size is 66"):
        dataclasses.replace(settings, crop_size=66)
    with pytest.raises(SettingError, match="--steps is 0"):
        dataclasses.replace(settings, steps=0)
    with pytest.raises(SettingError, match="--learning-rate is nan"):
        dataclasses.replace(settings, learning_rate=float("nan"))
    with pytest.raises(SettingError, match="--progressive-crop-size is 32"):
        dataclasses.replace(settings, progressive_crop_size=32)
    with pytest.raises(SettingError, match="--progressive-resizing is 2"):
        dataclasses.replace(settings, progressive_resizing=2)


def test_starts_from_the_gallery_where_it_fits(
    settings: TrainSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("gallery").write_bytes(b"another file of that name")
    gallery = bundled_models() / "gallery.safetensors"

    def start(**changes: object) -> Path | None:
        return dataclasses.replace(settings, **{"width": None, "blocks": None, **changes}).init_model  # type: ignore[arg-type]

    assert start() == start(width=16) == start(strength_input=True) == gallery
    assert start(init_from="none") is start(width=32) is start(blocks=3) is start(network="live") is None
    assert start(init_from=Path("starry"), network="live") == Path("starry")
    known, info = load_model(gallery)
    assert (known.width, known.blocks, len(info.styles)) == (16, 5, known.conditions.styles)


def test_a_painting_begins_with_the_gallery_by_default(settings: TrainSettings, photos: Path, tmp_path: Path) -> None:
    begun = dataclasses.replace(
        settings, width=None, blocks=None, steps=1, batch_size=1, learning_rate=1e-12, preview_every=1
    )
    said: list[str] = []
    result = engine.run_training(begun, photos, tmp_path, callbacks=engine.TrainCallbacks(on_note=said.append))
    known, info = load_model(bundled_models() / "gallery.safetensors")
    (nearest,) = (line.split(", the nearest")[0].rpartition(" ")[2] for line in said if "starts from" in line)
    weights = torch.eye(len(info.styles))[info.styles.index(nearest)]
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(result.network.eval()(image), known.eval()(image, weights), rtol=1e-3, atol=1e-3)


def test_settings_of_older_checkpoints_mean_what_they_meant() -> None:
    without = {"style_scales": [1], "statistics_over": "image", **dict.fromkeys(FURTHER_TERMS, 0.0)}
    without |= {"input_noise": 0.0, "upsampling": "nearest"}
    assert of_their_time({"steps": 3}) == {"init_from": "none", "width": 32, "blocks": 5, "steps": 3, **without}
    assert of_their_time({"network": "live-small"})["width"] == 32
    assert of_their_time({"network": "live"})["width"] == 48
    told = plain(TrainSettings(style=(Path("x.png"),)))
    assert (told["width"], told["blocks"], told["init_from"]) == (16, 5, "auto")
    assert of_their_time(told) == told


def test_starts_from_a_style_in_the_package_by_its_name(settings: TrainSettings) -> None:
    begun = new_state(dataclasses.replace(settings, init_from=Path("starry"), width=16, blocks=5), torch.device("cpu"))
    expected, _ = load_model(bundled_models() / "starry.safetensors")
    own = begun.network.state_dict()
    assert all(torch.equal(own[name], value) for name, value in expected.state_dict().items())
    with pytest.raises(CheckpointError, match="nothing: no such file"):
        new_state(dataclasses.replace(settings, init_from=Path("nothing")), torch.device("cpu"))


def test_a_second_training_in_a_folder_and_one_of_nothing_are_refused(
    settings: TrainSettings, photos: Path, tmp_path: Path
) -> None:
    with alone_in(tmp_path), pytest.raises(OutputError, match="another fastnst is writing there"):
        train(settings, tmp_path, content=photos)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(CheckpointError, match="no such file"):
        engine.run_training(settings, photos, tmp_path, resume=True)
