"""A painting in place of a network: fitted, kept, taken by whatever takes a network."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from fastnst.errors import InputError, SettingError, StyleError
from fastnst.exact.engine import PictureRefiner
from fastnst.inference.effects import Effects
from fastnst.inference.paintings import network_of, with_networks
from fastnst.inference.style_files import read_style, remove_style
from fastnst.inference.stylizer import Stylizer
from fastnst.io.images import Frame
from fastnst.io.styles import bundled_models, installed_styles
from fastnst.losses.perceptual import beside, find_references, mixed, read_references, save_references
from fastnst.models.checkpoint import find_model, load_model
from fastnst.training import painting as painting_module


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache; fitting takes as little as it can."""
    monkeypatch.setattr("fastnst.io.styles.user_cache_path", lambda *_args, **_options: tmp_path / "cache")
    for name, value in {"STEPS": 2, "CROP": 64, "BATCH": 1, "PHOTOS": 1, "PHOTO_SIDE": 64}.items():
        monkeypatch.setattr(painting_module, name, value)
    return tmp_path / "cache"


def waves(seed: int = 0) -> Frame:
    down, across = np.mgrid[:80, :96]
    levels = np.stack([np.sin(down / 3 + seed), np.cos(across / 4), np.sin((down + across) / 5)], axis=-1)
    return (127 + 90 * levels).astype(np.uint8)


@pytest.fixture
def painting(tmp_path: Path) -> Path:
    Image.fromarray(waves()).save(tmp_path / "My waves.png")
    return tmp_path / "My waves.png"


def test_a_painting_is_fitted_once_and_kept(cache: Path, painting: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shares: list[float] = []
    network = network_of(painting, 30.0, lambda _, share: shares.append(share))
    assert shares[-1] == 1.0
    assert shares == sorted(shares)
    monkeypatch.setattr(painting_module, "fit_painting", None)
    assert network_of(painting, 30.0) == network
    assert network.stem.startswith("My_waves-")
    assert installed_styles()[network.stem] == network
    assert read_style(network.stem, network).origin == "fitted"
    with Stylizer(painting, fit=30.0, provider="cpu") as stylizer:
        assert stylizer(waves(1)).shape == (80, 96, 3)
        assert "fitted to My waves.png" in stylizer.metadata["provenance"]

    # Trainings take it: only scales and shifts differ from the gallery's.
    assert find_model(painting) == find_model(Path(network.stem)) == network.with_suffix(".safetensors")
    fitted = load_model(network.with_suffix(".safetensors"))[0].state_dict()
    known = load_model(bundled_models() / "gallery.safetensors")[0].state_dict()
    same = {name for name, value in fitted.items() if value.shape == known[name].shape}
    assert all(torch.equal(fitted[name], known[name]) for name in same)
    assert not any(torch.equal(fitted[name], row) for name in fitted.keys() - same for row in known[name])

    # And so does refining.
    assert set(find_references(network, {"any": 1.0})) == {"relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"}
    remove_style(network.stem)
    assert not list(network.parent.glob("*.onnx")) + list(network.parent.glob("*.safetensors"))


def test_a_mixture_of_the_nearest_styles(cache: Path, painting: Path, tmp_path: Path) -> None:
    network = network_of(painting, 0)
    mixture = load_model(network.with_suffix(".safetensors"))[0].state_dict()
    known = load_model(bundled_models() / "gallery.safetensors")[0].state_dict()
    for name, value in mixture.items():
        rows = known[name] if known[name].ndim > value.ndim else value[None]
        assert (value >= rows.amin(0) - 1e-2).all()
        assert (value <= rows.amax(0) + 1e-2).all()

    # Regions may name paintings, too.
    effects = Effects(mask=tmp_path / "map.png", region=(f"red={painting}", "blue=photo"))
    style, found = with_networks("starry", effects, 0)
    assert style == "starry"
    assert found.region == (f"red={network}", "blue=photo")


@pytest.mark.parametrize(
    ("frame", "words"),
    [(np.zeros((16, 16, 3), np.uint8), "16x16 pixels, too small"), (np.full((99, 99, 3), 9, np.uint8), "of one color")],
)
def test_pictures_without_strokes(cache: Path, tmp_path: Path, frame: Frame, words: str) -> None:
    Image.fromarray(frame).save(tmp_path / "flat.png")
    with pytest.raises(InputError, match=words):
        network_of(tmp_path / "flat.png", 0)
    assert not list(cache.rglob("*.onnx"))


def test_paintings_that_are_not_there_or_not_known_and_no_time(tmp_path: Path, painting: Path) -> None:
    with pytest.raises(StyleError, match="no such file"):
        network_of(tmp_path / "none.jpg")
    with pytest.raises(SettingError, match="--fit is -1"):
        network_of(painting, -1)
    with pytest.raises(StyleError, match="--style-image"):
        find_references(Path("mine.onnx"), {"mine": 1.0})
    assert beside(Path("mine.onnx")) == Path("mine.painting.safetensors")


def test_references_come_back_from_a_file(tmp_path: Path) -> None:
    grams = [torch.tensor([[[4.0, 2.0], [2.0, 9e6]]]), torch.tensor([[[8.0, 0.0], [0.0, 1e6]]])]
    save_references(
        tmp_path / "a.safetensors", {name: {"relu1_1": (gram,)} for name, gram in zip("ab", grams, strict=True)}
    )
    found = read_references(tmp_path / "a.safetensors")
    for name, gram in zip("ab", grams, strict=True):
        torch.testing.assert_close(found[name]["relu1_1"][0], gram, rtol=1e-3, atol=1.0)
    (mean,) = mixed(found, {"a": 0.25, "b": 0.75})["relu1_1"]
    torch.testing.assert_close(mean, 0.25 * grams[0] + 0.75 * grams[1], rtol=1e-3, atol=1.0)


def test_refining_comes_nearer_to_photo_and_painting(painting: Path) -> None:
    given = waves(2)[:64, :64]
    painted = np.full_like(given, 128)
    refined = PictureRefiner(4, waves())(given, painted, Path("none.onnx"), {"none": 1.0})
    far = [float(np.abs(one.astype(int) - given).mean()) for one in (painted, refined)]
    assert refined.shape == given.shape
    assert far[1] < far[0]


def test_shipped_styles_are_known() -> None:
    for name, network in installed_styles().items():
        styles = next((entry.value for entry in onnx.load(network).metadata_props if entry.key == "styles"), name)
        find_references(network, dict.fromkeys(styles.split(","), 1.0))
