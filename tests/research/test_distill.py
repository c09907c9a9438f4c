import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.testing import assert_close

from fastnst.cli import main
from fastnst.errors import CheckpointError, InputError, OutputError, SettingError
from fastnst.losses import compact
from fastnst.losses.compact import COMPONENTS, SHAPES, CompactFeatures
from fastnst.losses.settings import LossSettings
from fastnst.losses.weights import load_loss_network
from fastnst.models.checkpoint import read_safetensors
from fastnst.research import distill as loop
from fastnst.research import distill_pictures
from fastnst.research.distill import CHECKPOINT, DistillProgress, distill, finish, load_state
from fastnst.research.distill_pictures import Pictures, draw_descent
from fastnst.research.settings import DistillSettings

CPU = torch.device("cpu")
Change = Callable[[dict[str, Tensor], dict[str, str]], Any]

pytestmark = pytest.mark.usefixtures("small_network", "short_descents")


def test_rounds_descents_and_files(settings: DistillSettings, photos: Path, tmp_path: Path) -> None:
    told: list[DistillProgress] = []
    result = distill(settings, photos, tmp_path, on_progress=told.append, device=CPU)
    assert [entry.descents for entry in told if entry.round == 2 and entry.fit is None] == [1, 2]
    assert sum(entry.fit is not None for entry in told) == 2 * len(SHAPES)
    weights = finish(result, settings, tmp_path)
    card = weights.with_suffix(".md").read_text()
    assert "Stands in for vgg19, torchvision normalisation, vgg.safetensors" in card
    assert "| relu4_2 |" in card
    assert str(settings.paintings) not in card + weights.read_bytes()[:3000].decode("latin1")
    network, provenance = load_loss_network(LossSettings(loss_network="compact", loss_weights=weights))
    assert "compact (stands in for vgg19" in provenance
    assert set(network(torch.rand(1, 3, 32, 32))) == set(COMPONENTS)


def test_goes_on_after_the_last_round(settings: DistillSettings, photos: Path, tmp_path: Path) -> None:
    whole = distill(settings, photos, tmp_path / "whole", device=CPU)
    distill(replace(settings, rounds=1), photos, tmp_path / "parts", device=CPU)
    parts = distill(settings, photos, tmp_path / "parts", resume=True, device=CPU)
    for own, other in zip(whole.network.state_dict().values(), parts.network.state_dict().values(), strict=True):
        assert_close(own, other, rtol=2e-2, atol=2e-3)  # descents are kept in float16
    assert load_state(tmp_path / "parts" / CHECKPOINT).round == 2


def test_refuses_what_is_there_and_what_is_not(settings: DistillSettings, photos: Path, tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT).write_text("anything")
    with pytest.raises(OutputError, match="already holds a distillation; resume it with --resume"):
        distill(settings, photos, tmp_path, device=CPU)
    with pytest.raises(CheckpointError, match="not a readable"):
        distill(settings, photos, tmp_path, resume=True, device=CPU)
    with pytest.raises(CheckpointError, match="no distillation to resume"):
        loop.saved_settings(tmp_path / "none")
    with pytest.raises(InputError, match="no pictures in it"):
        distill(settings, tmp_path, tmp_path / "new", device=CPU)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rounds": 0}, "--rounds is 0; expected at least 1"),
        ({"crop_size": 40}, "--crop-size is 40; expected a multiple of 16"),
        ({"seed": -1}, "--seed is -1"),
        ({"refine_crop_size": 100}, "--refine-crop-size is 100; expected a multiple of 16"),
        ({"refine_steps": -1}, "--refine-steps is -1; expected 0 or more"),
        ({"refine_rate": 0.0}, "--refine-rate is 0.0; expected a number between 0 and 1"),
        ({"loss_network": "vgg16"}, "stands in for a VGG-19"),
    ],
)
def test_settings_that_make_no_sense(settings: DistillSettings, change: dict[str, object], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        replace(settings, **change)


def test_a_descent_lowers_the_loss_and_stays_a_picture(
    photos: Path, style_picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distill_pictures, "DESCENT_STEPS", (60, 60))
    torch.manual_seed(0)
    pictures = Pictures(photos, style_picture.parent, 32)
    image = draw_descent(CompactFeatures(), pictures, np.random.default_rng(0), CPU, None)
    assert image.shape == (1, 3, 32, 32)
    assert 0 <= image.min() < image.max() <= 1
    first = pictures.photo(np.random.default_rng(0))
    assert (image - first).abs().mean() > 0.01


def test_pictures_pass_over_broken_files(photos: Path, style_picture: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    Image.open(style_picture).save(tmp_path / "good.png")
    pictures = Pictures(photos, tmp_path, 32)
    for seed in range(20):
        for draw in (pictures.painting, pictures.other, pictures.noise):
            assert draw(np.random.default_rng(seed)).shape == (1, 3, 32, 32)
        assert pictures.style(np.random.default_rng(seed)).shape[1] == 3
    (tmp_path / "good.png").unlink()
    with pytest.raises(InputError, match="in a row cannot be used"):
        pictures.painting(np.random.default_rng(0))


def test_the_command(
    settings: DistillSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("fastnst.research.fitting.BASIS_PICTURES", 6)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("images-per-round = 3\nrounds = 1\ncrop-size = 32\nrefine-steps = 2\nrefine-crop-size = 32\n")
    folder = tmp_path / "out"
    options = ["--content", settings.content, "--paintings", str(settings.paintings)]
    options += ["--loss-weights", str(settings.loss_weights)]
    with pytest.raises(SystemExit, match="0"):
        main(["research", "distill", "--recipe", str(recipe), *options, "-o", str(folder)])
    said = capsys.readouterr().err
    assert "step 2: misses of responses, changes, style: relu1_1 " in said
    assert "relu5_1 misses" in said
    assert set(load_file(folder / "compact.safetensors")) == set(compact.CompactFeatures().state_dict())
    with pytest.raises(SystemExit, match="1"):
        main(["research", "distill", *options, "-o", str(folder)])
    assert "--resume never starts again" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="0"):
        main(["research", "distill", "--recipe", str(recipe), *options, "-o", str(folder)])
    assert f"{folder}: going on with the distillation that it holds" in capsys.readouterr().err


def test_the_recipe_is_understood(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = Path(__file__).parents[2] / "train" / "compact.toml"
    with pytest.raises(SystemExit, match="1"):
        main(["research", "distill", "--recipe", str(recipe), "--content", str(photos), "--paintings", "missing"])
    assert "missing: not there; expected a folder" in capsys.readouterr().err


def progress(**values: object) -> Change:
    return lambda _, metadata: metadata.update(progress=json.dumps(json.loads(metadata["progress"]) | values))


DAMAGE: dict[str, Change] = {
    "no progress": lambda _, metadata: metadata.pop("progress"),
    "progress that is a list": lambda _, metadata: metadata.update(progress="[]"),
    "progress that is deep": lambda _, metadata: metadata.update(progress="[" * 100_000),
    "a round that is text": progress(round="1"),
    "a round below 0": progress(round=-1),
    "an unknown entry": progress(network="mine"),
    "fits that are numbers": progress(fits=[1]),
    "fits of another kind": progress(fits=[{"layer": "conv1_1"}]),
    "errors that are a number": progress(missed={"relu1_1": 3}),
    "errors of text": progress(missed={"relu1_1": ["a"]}),
    "no network": lambda tensors, _: tensors.pop(min(name for name in tensors if name.startswith("network"))),
    "a network of another shape": lambda tensors, _: tensors.update(
        {min(name for name in tensors if name.startswith("network")): torch.zeros(2)}
    ),
    "a picture that is missing": lambda tensors, _: tensors.update({"descents.7": torch.zeros(1, 3, 8, 8)}),
    "a picture that is flat": lambda tensors, _: tensors.update({"descents.0": torch.zeros(9)}),
    "a picture of four colors": lambda tensors, _: tensors.update({"descents.0": torch.zeros(1, 4, 8, 8)}),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_one_line(damage: str, settings: DistillSettings, tmp_path: Path) -> None:
    path = tmp_path / CHECKPOINT
    loop.save_state(path, loop.DistillState(CompactFeatures()), settings)
    load_state(path)
    tensors, metadata = read_safetensors(path)
    DAMAGE[damage](tensors, metadata)
    save_file({name: value.contiguous() for name, value in tensors.items()}, path, metadata)
    with pytest.raises(CheckpointError) as caught:
        load_state(path)
    assert str(caught.value).startswith(f"{path}: damaged, or of another version of fastnst (")


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "{", "[" * 100_000, '{"rounds": "many"}', '{"rounds": []}', '{"a": 1}']
)
def test_damaged_settings_are_one_line(text: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / CHECKPOINT, {"format": loop.FORMAT, "settings": text})
    with pytest.raises(SystemExit) as ended:
        main(["research", "distill", "--resume", str(tmp_path), "--content", "missing", "--paintings", "missing"])
    assert ended.value.code in (1, 2)
    said = capfd.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert said[0].startswith("fastnst: ")
