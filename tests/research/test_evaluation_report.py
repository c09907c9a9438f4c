"""The acceptance gate, by hand and for every file in exports/."""

import dataclasses
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import onnx
import pytest

from fastnst.io.images import Frame, read_frame
from fastnst.losses.settings import LossSettings
from fastnst.metrics.perceptual import STYLE_SIZE, PerceptualMetrics, load_perceptual_metrics
from fastnst.research.evaluate import MATCHED, choose_evenly, evaluate
from fastnst.research.evaluation_report import Thresholds, check_appearance, check_gate
from fastnst.research.judge import APPEARANCE, Judge, Photo, open_network

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"
OF_EACH = 4
"""Photos for each style of a network that knows several, to save time."""
SAMPLED_PHOTOS = 2
"""Photos for the one style of each file that every run of the tests looks at."""

LIVE = ("style", "centred", "contrast", "chroma", "pattern", "tones", *(f"octave_{px}" for px in (2, 4, 8, 16, 32)))
EXCUSED: Mapping[str, tuple[str, ...]] = {
    # Still in training, and soft (models/gallery-live.md).
    "gallery-live": LIVE,
    # Still in training (models/gallery.md has its figures): it must not be pale, striped, embossed or without tones.
    "gallery": ("style", "centred", "grid", "blobs", "chroma", "octave_2", "octave_8", "octave_16", "octave_32"),
    "starry": ("grid",),  # the gallery's, too
}
"""Measures whose limits a network in the package may miss for now."""

STROKES: Mapping[str, int] = {"gallery": 1024, "gallery-live": 1024, "starry": 1024}
"""Long side of the style image that a network was trained for, pixels, where it is not 512: there appearances are
compared."""

# What fastnst export took out of gallery-live paints as that does.
EXPORTS = sorted(path for path in (ROOT / "exports").glob("*.onnx") if path.stem != "starry-live")
PAINTINGS = (SHARED / "styles", ROOT / "data" / "style")

MATCHED_MEANS = {"centred": 1.0}
LOOKS = dict.fromkeys(APPEARANCE, 1.0) | {"relief": 0.0}
GOOD = LOOKS | {
    "content": 0.8,
    "style": 0.15,
    "centred": 0.45,
    "border": 1.1,
    "grid": 0.01,
    "blobs": 0.0,
    "color": 8.0,
}


def test_a_good_style_passes() -> None:
    assert check_gate(GOOD, MATCHED_MEANS) == []


def test_limits_themselves_pass() -> None:
    limits = LOOKS | {"style": 0.2, "centred": 0.5, "border": 2.0, "grid": 0.02, "blobs": 0.005}
    limits |= {"contrast": 0.85, "chroma": 1.2, "octave_2": 0.8, "octave_32": 1.25}
    limits |= {"pattern": 3.0, "tones": 0.7, "relief": 0.002}
    assert check_gate(limits, MATCHED_MEANS) == []
    assert check_gate(limits | {"contrast": 1.15, "chroma": 0.85}, MATCHED_MEANS) == []


@pytest.mark.parametrize("measure", ["style", "centred", "border", "grid", "blobs"])
def test_each_threshold_can_be_missed(measure: str) -> None:
    [missed] = check_gate(GOOD | {measure: 3.0}, MATCHED_MEANS)
    assert missed.startswith(f"{measure} 3, at most ")


@pytest.mark.parametrize(
    ("measure", "low", "high"),
    [("contrast", 0.85, 1.15), ("chroma", 0.85, 1.2), ("octave_2", 0.8, 1.25), ("octave_32", 0.8, 1.25)],
)
def test_the_appearance_can_miss_on_either_side(measure: str, low: float, high: float) -> None:
    for value in (low - 0.01, high + 0.01):
        missed = [f"{measure} {value:.4g}, {low:g} to {high:g}"]
        assert check_gate(GOOD | {measure: value}, MATCHED_MEANS) == missed
        assert check_appearance(GOOD | {measure: value}) == missed


def test_patterns_relief_and_lost_tones_are_limited_and_the_coarsest_octave_and_content_are_not() -> None:
    assert check_appearance(GOOD | {"pattern": 3.2}) == ["pattern 3.2, at most 3"]
    assert check_appearance(GOOD | {"relief": 0.003}) == ["relief 0.003, at most 0.002"]
    assert check_appearance(GOOD | {"tones": 0.6}) == ["tones 0.6, at least 0.7"]
    assert check_gate(GOOD | {"octave_64": 0.5, "content": 2.0}, MATCHED_MEANS) == []


def test_undefined_figures_do_not_pass() -> None:
    assert check_gate(GOOD | {"style": float("nan")}, MATCHED_MEANS) == ["style nan, at most 0.2"]
    assert check_appearance(GOOD | {"chroma": float("nan")}) == ["chroma nan, 0.85 to 1.2"]


def test_centred_is_held_against_the_recolored_photo() -> None:
    assert check_gate(GOOD, {"centred": 0.8}) == ["centred 0.45, at most 0.4"]
    assert check_gate(GOOD, {"centred": 0.8}, Thresholds(centred_share=0.6)) == []


def style_images(metadata: Mapping[str, str]) -> dict[str, str]:
    """File names of the pictures that a network was trained on, by style, from its metadata's provenance."""
    styles = metadata.get("styles", metadata.get("style", "")).split(",")
    provenance = metadata.get("provenance", "")
    names = provenance.removeprefix("trained on ").split(", ") if provenance.startswith("trained on ") else []
    return dict(zip(styles, names, strict=False))


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


def of_all_pictures() -> list[object]:
    """Every style with real photographs; networks of one style with the pictures that the project drew as well."""
    cases = [(*each, real_photos) for each in shipped()]
    cases += [(*each, sample_pictures) for each in shipped() if not each[1]]
    return [pytest.param(*case, id=f"{case[0].stem}-{case[1]}-{case[3].__name__}") for case in cases]


@cache
def metrics_by(weights: Path) -> PerceptualMetrics:
    return load_perceptual_metrics(LossSettings(loss_weights=weights))[0]


MEASURED: dict[bytes, Photo] = {}


class GateJudge(Judge):
    """Measures a photo once for all styles."""

    def measure_photo(self, frame: Frame) -> Photo:
        key = frame.tobytes()
        if key not in MEASURED:
            MEASURED[key] = super().measure_photo(frame)
        # The plain photo, a row of its own, is known by being this very frame.
        return dataclasses.replace(MEASURED[key], frame=frame)


def missed_by(export: Path, style: str, name: str, photos: list[Path]) -> list[str]:
    """What a shipped style misses of the gate and is not excused; skips without pictures and weights."""
    weights = SHARED / "weights" / "vgg19_caffe_features.safetensors"
    painting = next((folder / name for folder in PAINTINGS if (folder / name).is_file()), None)
    if not weights.is_file() or painting is None or not photos:
        pytest.skip(f"needs {weights.name}, {name} and pictures")
    picture = read_frame(painting)
    judge = GateJudge(picture, metrics_by(weights), None, STROKES.get(export.stem, STYLE_SIZE))
    network = open_network(f"{export}@{style}" if style else export)
    result = evaluate([network], picture, photos, judge, samples=0)
    missed = check_gate(result.networks[0].means(), result.row(MATCHED).means())
    return [line for line in missed if line.split()[0] not in EXCUSED[export.stem]]


@pytest.mark.real
@pytest.mark.gate
@pytest.mark.slow
@pytest.mark.parametrize(("export", "style", "name", "photos"), of_all_pictures())
def test_every_shipped_style_passes(export: Path, style: str, name: str, photos: Callable[[], list[Path]]) -> None:
    paths = photos()
    assert missed_by(export, style, name, choose_evenly(paths, OF_EACH) if style else paths) == []


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize("export", EXPORTS, ids=lambda path: str(path.stem))
def test_a_style_of_each_shipped_file_passes(export: Path) -> None:
    style, name = next((style, name) for file, style, name in shipped() if file == export)
    assert missed_by(export, style, name, choose_evenly(real_photos(), SAMPLED_PHOTOS)) == []
