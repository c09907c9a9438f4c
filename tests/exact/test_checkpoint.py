"""An optimisation's checkpoint: what changes comes back, and whatever is wrong with one is one line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from fastnst.errors import CheckpointError
from fastnst.exact.checkpoint import check_sizes, load_checkpoint, read_asked, save_checkpoint
from fastnst.exact.optimizers import new_descent
from fastnst.exact.pyramid import plan_levels
from fastnst.exact.result import OptimizationRun, Step, Trace
from fastnst.exact.settings import OptimizeSettings
from fastnst.models.checkpoint import read_safetensors

CPU = torch.device("cpu")
Change = Callable[[dict[str, Tensor], dict[str, str]], object]


def begun(optimizer: str) -> tuple[OptimizeSettings, OptimizationRun]:
    """A run after two steps on an image of 16 x 12 pixels."""
    settings = OptimizeSettings(steps=4, size=16, optimizer=optimizer)  # type: ignore[arg-type]
    run = OptimizationRun(plan_levels(settings), new_descent(settings))
    torch.manual_seed(0)
    image = torch.rand(1, 3, 12, 16)
    for number in (1, 2):
        image = run.descent.propose(image, 3.0 - number, torch.rand(1, 3, 12, 16))
    history = [Step(number, 1.0, 2.0, 3.0, 0.0, 0.1, 16) for number in (1, 2)]
    run.trace, run.done, run.image = Trace(history, image), 2, image
    return settings, run


def progress(**values: Any) -> Change:
    return lambda _, metadata: metadata.update(progress=json.dumps(json.loads(metadata["progress"]) | values))


def tensor(name: str, value: Tensor) -> Change:
    return lambda tensors, _: tensors.update({name: value})


DAMAGE: dict[str, tuple[str, Change]] = {
    "no progress": ("adam", lambda _, metadata: metadata.pop("progress")),
    "progress that is a list": ("adam", lambda _, metadata: metadata.update(progress="[]")),
    "no best image": ("adam", lambda tensors, _: tensors.pop("best_image")),
    "a level beyond the last": ("adam", progress(level=99)),
    "a level that is text": ("adam", progress(level="0")),
    "more steps than there are": ("adam", progress(done=99)),
    "no steps": ("adam", progress(history=[])),
    "a step of text": ("adam", progress(history=[["1", 1, 1, 1, 1, 1, 16]])),
    "a step that is cut": ("adam", progress(history=[[1, 1.0]])),
    "a step of another size": ("adam", progress(history=[[1, 1.0, 1.0, 1.0, 0.0, 0.1, 99]])),
    "terms that are a list": ("adam", progress(history=[[1, 1.0, 1.0, 1.0, 0.0, 0.1, 16, False, [1]]])),
    "an image that is flat": ("adam", tensor("image", torch.rand(9))),
    "an image of halves": ("adam", tensor("image", torch.rand(1, 12, 16, 3).half())),
    "an image of four colors": ("adam", tensor("image", torch.rand(1, 12, 16, 4))),
    "moments of another size": ("adam", tensor("descent.mean", torch.rand(1, 4, 4, 3))),
    "moments that are flat": ("adam", tensor("descent.mean", torch.rand(9))),
    "counts below 0": ("adam", tensor("descent.counts", torch.tensor([-1, -1]))),
    "counts of another shape": ("adam", tensor("descent.counts", torch.tensor(3))),
    "no halvings": ("lbfgs", lambda tensors, _: tensors.pop("descent.halvings")),
    "two numbers of halvings": ("lbfgs", tensor("descent.halvings", torch.zeros(2))),
    "more curvatures than changes": ("lbfgs", tensor("descent.curvatures", torch.ones(9))),
    "a change that is flat": ("lbfgs", tensor("descent.change.0", torch.rand(9))),
    "a gradient of another size": ("lbfgs", tensor("descent.gradient", torch.rand(1, 4, 4, 3))),
    "a spectrum of another shape": ("lbfgs", tensor("descent.spectrum.moved", torch.rand(7))),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_one_line(damage: str, tmp_path: Path) -> None:
    optimizer, change = DAMAGE[damage]
    settings, run = begun(optimizer)
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, run, {"settings": {}})
    load_checkpoint(path, run.levels, new_descent(settings), CPU)
    tensors, metadata = read_safetensors(path)
    change(tensors, metadata)
    save_file(tensors, path, metadata)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path, run.levels, new_descent(settings), CPU)
    assert str(caught.value).startswith(f"{path}: damaged, or of another version of fastnst (")
    assert str(caught.value).endswith("; start again")


@pytest.mark.parametrize("asked", ["", "[]", "{}", '{"settings": 3}', "[" * 100_000])
def test_what_was_asked_for_may_be_damaged_too(asked: str, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    save_file({"a": torch.zeros(1)}, path, {"format": "fastnst optimisation 1", "asked": asked})
    with pytest.raises(CheckpointError, match="damaged, or of another version"):
        read_asked(path)


def test_an_image_of_another_photo_is_one_line(tmp_path: Path) -> None:
    _, run = begun("adam")
    check_sizes(tmp_path, run, lambda long_side: (12, long_side))
    with pytest.raises(CheckpointError, match="holds an image of 16x12 pixels; start again"):
        check_sizes(tmp_path, run, lambda long_side: (9, long_side))


@pytest.mark.parametrize("halvings", [1, 3])
def test_how_often_a_step_was_halved_is_kept(halvings: int, tmp_path: Path) -> None:
    settings, run = begun("lbfgs")
    image, gradient = torch.rand(1, 3, 12, 16), torch.rand(1, 3, 12, 16)
    for number in range(halvings):  # each time the loss has risen
        image = run.descent.propose(image, 10.0 + number, gradient)
    run.image = image
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, run, {"settings": {}})
    resumed = load_checkpoint(path, run.levels, new_descent(settings), CPU)
    # Up to the fifth time the way back is halved; then all is forgotten.
    for number in range(6):
        assert resumed.image is not None
        expected = run.descent.propose(image, 20.0 + number, gradient)
        found = resumed.descent.propose(resumed.image, 20.0 + number, gradient)
        assert torch.equal(found, expected), f"{number} after {halvings}"
        image, resumed.image = expected, found
