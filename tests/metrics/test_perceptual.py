"""Content, style and centred, SSIM and the measures on AlexNet: by hand and against other implementations."""

import warnings
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from fastnst.errors import InputError, WeightsError
from fastnst.io.images import Frame
from fastnst.io.tensors import to_image
from fastnst.losses.settings import LossSettings
from fastnst.losses.vgg import Features
from fastnst.metrics import perceptual as module
from fastnst.metrics.perceptual import (
    ALEXNET_LAYERS,
    STYLE_LAYERS,
    AlexNetFeatures,
    AlexNetMetrics,
    PerceptualMetrics,
    load_alexnet,
    load_alexnet_metrics,
    load_perceptual_metrics,
    ssim,
)
from fastnst.research.evaluate import read_sized


def red_green_and_blue(image: Tensor) -> Features:
    """Two layers with unequal channels and sizes: red and green of all pixels, blue of the first row."""
    return {"first": image[:, :2], "second": image[:, 2:, :1]}


def frame(red: list[int], green: list[int], blue: list[int]) -> Frame:
    """One column of pixels, colors 0 or 1."""
    return np.array([red, green, blue], np.uint8).T[:, None] * np.uint8(255)


METRICS = PerceptualMetrics(red_green_and_blue, "first", ["first", "second"])
STYLIZED = frame(red=[1, 1], green=[0, 1], blue=[1, 0])
PHOTO = frame(red=[1, 0], green=[0, 1], blue=[0, 0])
STYLE = frame(red=[0, 1], green=[1, 0], blue=[1, 1])


def test_figures_by_hand() -> None:
    figures = METRICS.compare(METRICS.measure(STYLIZED), METRICS.measure(PHOTO), METRICS.measure(STYLE))
    # Content: (1 1 0 1) - (1 0 0 1) = (0 1 0 0), 1 over the photo's 2.
    assert figures.content == pytest.approx(1 / 2)
    # Grams of the first layer: (1 .5; .5 .5) and (.5 0; 0 .5), so (.25 + .25 + .25 + 0) / .5; of the second: 1 and 1.
    assert figures.style == pytest.approx((1.5 + 0) / 2)
    # Covariances: (0 0; 0 .25) and (.25 -.25; -.25 .25), so 3 * .0625 / .25; the second has one pixel.
    assert figures.centred == pytest.approx((0.75 + 0) / 2)


def test_photo_and_style_image_are_no_distance_from_themselves() -> None:
    photo = METRICS.measure(PHOTO)
    assert METRICS.compare(photo, photo, METRICS.measure(STYLE)).content == 0
    figures = METRICS.compare(METRICS.measure(STYLE), METRICS.measure(PHOTO), METRICS.measure(STYLE))
    assert (figures.style, figures.centred) == (0, 0)


def test_centred_does_not_see_a_shift_of_all_colors() -> None:
    rng = np.random.default_rng(0)
    dark = rng.integers(0, 100, (6, 5, 3), np.uint8)
    figures = METRICS.compare(*map(METRICS.measure, (dark + np.uint8(100), dark, dark)))
    assert figures.style > 1
    assert figures.centred == pytest.approx(0, abs=1e-6)


def test_style_image_is_measured_at_512() -> None:
    seen = []

    def network(image: Tensor) -> Features:
        seen.append(tuple(image.shape))
        return red_green_and_blue(image)

    measured = PerceptualMetrics(network, "first", ["first"]).measure_style(np.zeros((30, 60, 3), np.uint8))
    assert seen == [(1, 3, 256, 512)]
    assert measured.content.numel() == 0


def test_the_metrics_are_those_of_the_docs(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load(settings: LossSettings) -> tuple[object, str]:
        asked.append(settings)
        return torch.nn.Identity(), "which weights"

    monkeypatch.setattr(module, "load_loss_network", load)
    _, provenance = load_perceptual_metrics(
        LossSettings(loss_network="vgg19-caffe", pool="max", content_layers=("relu1_1",))
    )
    assert provenance == "which weights"
    assert (asked[0].loss_network, asked[0].pool, asked[0].content_layers) == ("vgg19-caffe", "average", ("relu4_2",))
    assert asked[0].style_layers == STYLE_LAYERS == ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")


ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "data" / "content"
REAL_WEIGHTS = ROOT.parent / "shared" / "weights" / "lpips_alex_v0.1.safetensors"
RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (40, 47, 3), np.uint8)
OTHER = np.clip(PICTURE.astype(int) + RNG.integers(-60, 60, PICTURE.shape), 0, 255).astype(np.uint8)


def random_state() -> dict[str, torch.Tensor]:
    """Random weights under torchvision's and LPIPS' names."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    sizes = {0: (3, 64, 11), 3: (64, 192, 5), 6: (192, 384, 3), 8: (384, 256, 3), 10: (256, 256, 3)}
    for index, (number, (inputs, outputs, kernel)) in enumerate(sizes.items()):
        scale = (2 / (inputs * kernel**2)) ** 0.5
        state[f"features.{number}.weight"] = scale * torch.randn(outputs, inputs, kernel, kernel, generator=generator)
        state[f"features.{number}.bias"] = 0.1 * torch.randn(outputs, generator=generator)
        state[f"lin{index}.model.1.weight"] = torch.rand(1, outputs, 1, 1, generator=generator)
    return state


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "alexnet.safetensors"
    save_file(random_state(), path)
    return path


@pytest.fixture(scope="module")
def network() -> AlexNetFeatures:
    built = AlexNetFeatures()
    built.load(random_state())
    return built


def test_ssim_by_hand() -> None:
    a, b = np.full((12, 12, 3), 100, np.uint8), np.full((12, 12, 3), 50, np.uint8)
    # No variance: only luminance counts, (2 a b + C1) / (a^2 + b^2 + C1) with C1 = 2.55^2.
    assert ssim(a, b) == pytest.approx((2 * 100 * 50 + 2.55**2) / (100**2 + 50**2 + 2.55**2))
    assert ssim(PICTURE, PICTURE) == pytest.approx(1)


def test_ssim_is_that_of_scikit_image() -> None:
    metrics = pytest.importorskip("skimage.metrics")
    grey, other = (picture @ np.array([0.299, 0.587, 0.114]) for picture in (PICTURE, OTHER))
    expected = metrics.structural_similarity(
        grey, other, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert ssim(PICTURE, OTHER) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("shape", [(40, 46, 3), (10, 47, 3)])
def test_ssim_says_which_sizes_it_takes(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="expected equal sizes of at least 11 px"):
        ssim(np.zeros(shape, np.uint8), PICTURE[: shape[0]])


def test_features_are_those_of_torchvision(network: AlexNetFeatures) -> None:
    models = pytest.importorskip("torchvision.models")
    reference = models.alexnet(weights=None).features
    reference.load_state_dict(
        {key.removeprefix("features."): value for key, value in random_state().items() if key.startswith("features.")}
    )
    image = to_image(PICTURE)
    x = (image - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    features = network(image)
    expected = []
    for layer in reference[:12]:
        x = layer(x)
        if isinstance(layer, torch.nn.ReLU):
            expected.append(x.clone())
    assert len(expected) == len(ALEXNET_LAYERS)
    for name, value in zip(ALEXNET_LAYERS, expected, strict=True):
        torch.testing.assert_close(features[name], value)


def test_lpips_by_hand() -> None:
    network = AlexNetFeatures()
    with torch.no_grad():
        for head in network.heads:
            head.zero_()
        network.heads[0][:2] = torch.tensor([2.0, 4.0])
        network.heads[1][0] = 10.0
    zeros = {name: torch.zeros(1, len(head), 1, 2) for name, head in zip(ALEXNET_LAYERS, network.heads, strict=True)}
    given = {name: value.clone() for name, value in zeros.items()}
    reference = {name: value.clone() for name, value in zeros.items()}
    # First layer, pixel 0: directions (.6, .8) and (1, 0), so 2 * .16 + 4 * .64 = 2.88; pixel 1: equal; mean 1.44.
    given["relu1"][0, :2] = torch.tensor([[[3.0, 1.0]], [[4.0, 1.0]]])
    reference["relu1"][0, :2] = torch.tensor([[[7.0, 2.0]], [[0.0, 2.0]]])
    # Second layer: directions 1 and 0 at both pixels: 10.
    given["relu2"][0, 0] = 5.0
    assert network.lpips(given, reference).item() == pytest.approx(1.44 + 10)


def test_lpips_is_that_of_its_authors(network: AlexNetFeatures) -> None:
    lpips = pytest.importorskip("lpips")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it calls torchvision as of old
        reference = lpips.LPIPS(net="alex", pretrained=False, pnet_rand=True, verbose=False)
    state = random_state()
    own = reference.state_dict()
    for key in own:
        # Its slices keep torchvision's numbers: net.slice2.3.weight is features.3.weight.
        source = "features." + key.split(".", 2)[2] if key.startswith("net.slice") else key
        if source.startswith("lins."):
            source = f"lin{source[5:]}"
        if source in state:
            own[key] = state[source]
    reference.load_state_dict(own)
    metrics = AlexNetMetrics(network)
    with torch.no_grad():
        expected = reference(to_image(OTHER), to_image(PICTURE), normalize=True).item()
    assert metrics.lpips(metrics.measure(OTHER), metrics.measure(PICTURE)) == pytest.approx(expected, rel=1e-4)
    assert expected > 0.01


# By the authors' package (lpips 0.1.4, its own heads, torchvision's AlexNet in float16): a picture and its mirror image
# at long side 256.
EXAMPLES = {"harbour": 0.49368, "valley": 0.45377, "still_life": 0.61597}


@pytest.mark.real
@pytest.mark.parametrize(("name", "expected"), EXAMPLES.items())
def test_lpips_of_example_pictures(name: str, expected: float) -> None:
    if not REAL_WEIGHTS.is_file():
        pytest.skip(f"needs {REAL_WEIGHTS}")
    metrics, _ = load_alexnet_metrics(REAL_WEIGHTS)
    picture = read_sized(SAMPLES / f"{name}.jpg", 256)
    mirrored = np.ascontiguousarray(picture[:, ::-1])
    assert metrics.lpips(metrics.measure(mirrored), metrics.measure(picture)) == pytest.approx(expected, abs=2e-4)


def test_figures_on_alexnet_are_zero_where_they_should_be(network: AlexNetFeatures) -> None:
    metrics = AlexNetMetrics(network)
    photo, style = metrics.measure(PICTURE), metrics.measure(OTHER)
    assert metrics.figures(photo, photo, style).content == 0
    assert metrics.figures(style, photo, style).style == 0
    assert metrics.figures(photo, photo, style).centred > 0
    assert metrics.lpips(photo, photo) == 0


def test_weights_come_from_a_file_or_the_environment(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, provenance = load_alexnet(weights)
    assert "alexnet.safetensors (sha256 " in provenance
    monkeypatch.setenv("FASTNST_LPIPS_WEIGHTS", str(weights))
    assert load_alexnet_metrics()[1] == provenance


def test_weights_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none.safetensors: no such file; expected AlexNet and LPIPS"):
        load_alexnet(tmp_path / "none.safetensors")
    path = tmp_path / "text.safetensors"
    path.write_text("no weights")
    with pytest.raises(WeightsError, match=r"text.safetensors: not a readable safetensors file"):
        load_alexnet(path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("features.3.weight", None, r"features.3.weight is missing, expected \(192, 64, 5, 5\)"),
        ("lin2.model.1.weight", torch.ones(1, 3, 1, 1), r"lin2.model.1.weight has shape \(1, 3, 1, 1\), expected"),
    ],
)
def test_weights_that_do_not_fit(key: str, value: torch.Tensor | None, message: str) -> None:
    state = random_state()
    del state[key]
    if value is not None:
        state[key] = value
    with pytest.raises(WeightsError, match=message):
        AlexNetFeatures().load(state)


def test_downloads_are_checked_by_their_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []
    state = random_state()

    def fetch(url: str, **options: Any) -> dict[str, torch.Tensor]:
        asked.append({"url": url, **options})
        heads = url.endswith("alex.pth")
        return {key: value for key, value in state.items() if key.startswith("lin") == heads}

    monkeypatch.delenv("FASTNST_LPIPS_WEIGHTS", raising=False)
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fetch)
    network, provenance = load_alexnet()
    torch.testing.assert_close(network.heads[4].detach(), state["lin4.model.1.weight"].flatten())
    assert provenance == "AlexNet and LPIPS v0.1, alexnet-owt-7be5be79.pth and lpips_alex_v0.1-df73285e35b22355.pth"
    assert [request["check_hash"] for request in asked] == [True, True]
    # torch.hub finds the hash between the last hyphen and .pth.
    assert asked[1]["file_name"].endswith("-df73285e35b22355.pth")


def test_a_failed_download_says_what_else_can_be_done(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise URLError("no route")

    monkeypatch.delenv("FASTNST_LPIPS_WEIGHTS", raising=False)
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fail)
    with pytest.raises(WeightsError, match=r"could not be fetched .*no route.* --lpips-weights FILE"):
        load_alexnet()
