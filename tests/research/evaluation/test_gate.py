"""The acceptance gate, by hand and for every file in exports/."""

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from fastnst.io.images import read_frame
from fastnst.losses.settings import LossSettings
from fastnst.metrics.yardstick import load_yardstick
from fastnst.research.evaluation.evaluate import choose_evenly, evaluate
from fastnst.research.evaluation.gate import THRESHOLDS, Thresholds, check_gate, style_images
from fastnst.research.evaluation.judge import Judge
from fastnst.research.evaluation.networks import open_network
from fastnst.research.evaluation.rows import MATCHED

ROOT = Path(__file__).parents[3]
SHARED = ROOT.parent / "shared"
OF_EACH = 4
"""Photos for each style of a network that knows several, to save time."""

EXPORTS = sorted((ROOT / "exports").glob("*.onnx"))
PAINTINGS = (SHARED / "styles", ROOT / "data" / "style")

MATCHED_MEANS = {"centred": 1.0}
GOOD = {"content": 0.7, "style": 0.15, "centred": 0.45, "border": 1.1, "grid": 0.01, "blobs": 0.0, "colour": 8.0}


def test_a_good_style_passes() -> None:
    assert check_gate(GOOD, MATCHED_MEANS) == []


def test_limits_themselves_pass() -> None:
    limits = {"content": 0.75, "style": 0.2, "centred": 0.5, "border": 2.0, "grid": 0.02, "blobs": 0.005}
    assert check_gate(limits, MATCHED_MEANS) == []


@pytest.mark.parametrize("measure", ["content", "style", "centred", "border", "grid", "blobs"])
def test_each_threshold_can_be_missed(measure: str) -> None:
    [missed] = check_gate(GOOD | {measure: 3.0}, MATCHED_MEANS)
    assert missed.startswith(f"{measure} 3, at most ")


def test_undefined_figures_do_not_pass() -> None:
    assert check_gate(GOOD | {"style": float("nan")}, MATCHED_MEANS) == ["style nan, at most 0.2"]


def test_centred_is_held_against_the_recoloured_photo() -> None:
    assert check_gate(GOOD, {"centred": 0.8}) == ["centred 0.45, at most 0.4"]
    assert check_gate(GOOD, {"centred": 0.8}, Thresholds(centred_share=0.6)) == []


def test_style_images_are_named_by_the_provenance() -> None:
    metadata = {"style": "starry", "provenance": "trained on starry_night.jpg, 2400 steps of 2, judged by vgg19, caffe"}
    assert style_images(metadata) == {"starry": "starry_night.jpg"}
    several = {"style": "duo", "styles": "red_one,blue", "provenance": "trained on red one.png, blue.png, 4 steps of 2"}
    assert style_images(several) == {"red_one": "red one.png", "blue": "blue.png"}
    assert style_images({"style": "drawn", "provenance": "drawn"}) == {}
    assert style_images({}) == {}


def real_photos() -> list[Path]:
    return choose_evenly(sorted((SHARED / "photos" / "test").glob("*.jpg")), 10)


def sample_pictures() -> list[Path]:
    return sorted(path for path in (ROOT / "data" / "content").glob("*") if path.suffix in {".jpg", ".png"})


def shipped() -> list[tuple[Path, str, str]]:
    """Every style of every file in exports/: the file, the style ("" for the only one) and the name of its picture."""
    found = []
    for export in EXPORTS:
        metadata = {item.key: item.value for item in onnx.load(export, load_external_data=False).metadata_props}
        images = style_images(metadata)
        assert images, f"{export.name} does not say which pictures it was trained on"
        found += [(export, style if len(images) > 1 else "", name) for style, name in images.items()]
    return found


@pytest.mark.real
@pytest.mark.parametrize(("export", "style", "name"), shipped(), ids=lambda value: str(getattr(value, "stem", value)))
@pytest.mark.parametrize("photos", [sample_pictures, real_photos], ids=["samples", "photos"])
def test_every_shipped_style_passes(export: Path, style: str, name: str, photos: Callable[[], list[Path]]) -> None:
    weights, paths = SHARED / "weights" / "vgg19_caffe_features.safetensors", photos()
    paths = choose_evenly(paths, OF_EACH) if style else paths
    painting = next((folder / name for folder in PAINTINGS if (folder / name).is_file()), None)
    if not weights.is_file() or painting is None or not paths:
        pytest.skip(f"needs {weights.name}, {name} and pictures")
    picture = read_frame(painting)
    judge = Judge(picture, load_yardstick(LossSettings(loss_weights=weights))[0], None)
    network = open_network(f"{export}@{style}" if style else export)
    result = evaluate([network], picture, paths, judge, samples=0)
    assert check_gate(result.networks[0].means(), result.row(MATCHED).means(), THRESHOLDS) == []
