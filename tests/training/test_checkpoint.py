"""A training's checkpoint: all of it comes back, and whatever is wrong with one is one line."""

import dataclasses
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.testing import assert_close

from fastnst.errors import CheckpointError, OutputError, SettingError
from fastnst.models.checkpoint import load_model, read_safetensors
from fastnst.training.checkpoint import TrainState, load_checkpoint, new_state, save_checkpoint, saved_settings
from fastnst.training.settings import TrainSettings, plain
from fastnst.training.train import train

Tensors = dict[str, Tensor]
Change = Callable[[Tensors, dict[str, str]], object]


def stepped(settings: TrainSettings) -> TrainState:
    """A state after one update."""
    state = new_state(settings, torch.device("cpu"))
    for parameter in state.network.parameters():
        parameter.grad = torch.randn_like(parameter)
    state.optimizer.step()
    state.step, state.images, state.elapsed_s = 1, 2, 3.5
    state.losses, state.skipped = [{"step": 1, "content": 0.5}], {"a.jpg": "damaged"}
    return state


@pytest.fixture
def path(tiny: TrainSettings, tmp_path: Path) -> Path:
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, stepped(tiny), plain(tiny), "abc")
    return path


def test_all_of_a_state_comes_back(tiny: TrainSettings, tmp_path: Path) -> None:
    state, path = stepped(tiny), tmp_path / "checkpoint.safetensors"
    random = torch.get_rng_state()
    save_checkpoint(path, state, plain(tiny), "abc")
    drawn = torch.rand(3)
    found = new_state(tiny, torch.device("cpu"))
    torch.manual_seed(12345)
    settings, style = load_checkpoint(path, found)
    assert (settings, style) == (plain(tiny), "abc")
    assert torch.equal(torch.get_rng_state(), random)
    assert_close(torch.rand(3), drawn, rtol=0, atol=0)
    for name in ("step", "images", "elapsed_s", "losses", "skipped", "style_weight", "rate_factor"):
        assert getattr(found, name) == getattr(state, name)
    for own, given in zip(found.network.parameters(), state.network.parameters(), strict=True):
        assert_close(own, given, rtol=0, atol=0)
        for kind, value in found.optimizer.state[own].items():
            assert_close(value, state.optimizer.state[given][kind], rtol=0, atol=0)


def progress(**values: Any) -> Change:
    return lambda _, metadata: metadata.update(progress=json.dumps(json.loads(metadata["progress"]) | values))


def settings_are(text: str) -> Change:
    return lambda _, metadata: metadata.update(settings=text)


DAMAGE: dict[str, Change] = {
    "no random state": lambda tensors, _: tensors.pop("random.torch"),
    "a short random state": lambda tensors, _: tensors.update({"random.torch": torch.zeros(3, dtype=torch.uint8)}),
    "a random state of floats": lambda tensors, _: tensors.update({"random.torch": torch.zeros(5056)}),
    "no hash": lambda _, metadata: metadata.pop("style_sha256"),
    "no progress": lambda _, metadata: metadata.pop("progress"),
    "no settings": lambda _, metadata: metadata.pop("settings"),
    "settings that are no JSON": settings_are("{"),
    "settings that are a list": settings_are("[]"),
    "settings that are deep": settings_are("[" * 100_000),
    "settings that are null": settings_are("null"),
    "progress that is a number": lambda _, metadata: metadata.update(progress="3"),
    "a step that is text": progress(step="3"),
    "a step below 0": progress(step=-1),
    "a step that is no number": progress(step=float("nan")),
    "losses that are text": progress(losses="abc"),
    "losses of text": progress(losses=[{"step": "a"}]),
    "losses without a step": progress(losses=[{"content": 1.0}]),
    "reasons that are numbers": progress(skipped={"a": 1}),
    "a network in the progress": progress(network="mine"),
    "an unknown entry": progress(validated_step=3),
    "no network": lambda tensors, _: tensors.pop(min(tensors)),
    "a network of another shape": lambda tensors, _: tensors.update({"network.body.0.0.1.weight": torch.zeros(2)}),
    "moments of another shape": lambda tensors, _: tensors.update({"optimizer.0.exp_avg": torch.zeros(3)}),
    "squares of another shape": lambda tensors, _: tensors.update({"optimizer.0.exp_avg_sq": torch.zeros(1, 1)}),
    "no squares": lambda tensors, _: tensors.pop("optimizer.0.exp_avg_sq"),
    "a count of another shape": lambda tensors, _: tensors.update({"optimizer.0.step": torch.zeros(2)}),
    "moments of nothing": lambda tensors, _: tensors.update({"optimizer.99.exp_avg": torch.zeros(2)}),
    "moments without a number": lambda tensors, _: tensors.update({"optimizer.x.exp_avg": torch.zeros(2)}),
    "moments without a kind": lambda tensors, _: tensors.update({"optimizer.0": torch.zeros(2)}),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_one_line(damage: str, path: Path, tiny: TrainSettings) -> None:
    tensors, metadata = read_safetensors(path)
    DAMAGE[damage](tensors, metadata)
    save_file(tensors, path, metadata)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path, new_state(tiny, torch.device("cpu")))
    assert str(caught.value).startswith(f"{path}: damaged, or of another version of fastnst (")
    assert str(caught.value).endswith("; train anew with another -o")


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '{"network": "cathedral"}', '{"network": []}', "[" * 100_000])
@pytest.mark.parametrize("name", ["checkpoint.safetensors", "teacher/student.json"])
def test_damaged_settings_are_one_line(text: str, name: str, path: Path) -> None:
    tensors, metadata = read_safetensors(path)
    save_file(tensors, path, metadata | {"settings": text})
    if name != path.name:
        path.unlink()
        (path.parent / "teacher").mkdir()
        (path.parent / name).write_text(text)
    with pytest.raises(CheckpointError, match="damaged, or of another version"):
        saved_settings(path.parent)


@pytest.mark.parametrize(
    "wrong",
    [{"workers": -1}, {"seed": -1}, {"seed": 1 << 64}, {"checkpoint_every_s": float("nan")}, {"early_export_s": -1}],
)
def test_settings_of_the_course_that_cannot_be(wrong: dict[str, Any], tiny: TrainSettings) -> None:
    with pytest.raises(SettingError, match="; expected "):
        dataclasses.replace(tiny, **wrong)


@pytest.mark.skipif(sys.platform != "linux", reason="needs names that are bytes")
def test_a_painting_whose_name_is_no_text(
    tiny: TrainSettings, style_picture: Path, photos: Path, tmp_path: Path
) -> None:
    painting = tmp_path / "caf\udce9.png"
    shutil.copyfile(style_picture, painting)
    done = train(dataclasses.replace(tiny, style=(painting,), steps=1), tmp_path / "run", content=photos)
    assert done.files is not None
    assert "trained on caf\\udce9.png" in done.files.card.read_text(encoding="utf-8").lower()
    assert load_model(done.files.model)[1].style == "caf_"
    with pytest.raises(OutputError, match="its name is no text in UTF-8; choose another folder"):
        train(tiny, tmp_path / "r\udcff", content=photos)
