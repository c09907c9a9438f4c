import hashlib
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.testing import assert_close
from torchvision import models

from fastnst.errors import WeightsError
from fastnst.losses.settings import LossSettings
from fastnst.losses.vgg import VGGFeatures
from fastnst.losses.weights import (
    ENVIRONMENT_VARIABLE,
    SOURCES,
    Source,
    chosen_network,
    fetch_weights,
    find_weights,
    load_loss_network,
)


@pytest.fixture(autouse=True)
def _nothing_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))


@pytest.fixture
def state() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(64, 3, 3, 3, generator=generator)
    return {"features.0.weight": weight, "features.0.bias": torch.randn(64, generator=generator)}


def upload(server: Any, state: dict[str, Tensor], folder: Path, digest: str | None = None) -> str:
    """Put weights on the server; returns their address, which ends with their hash or the given one."""
    torch.save(state, folder / "weights.pth")
    server.content = (folder / "weights.pth").read_bytes()
    digest = digest or hashlib.sha256(server.content).hexdigest()[:8]
    return f"http://127.0.0.1:{server.server_port}/vgg19-{digest}.pth"


def publish(monkeypatch: pytest.MonkeyPatch, url: str, *, blue_first: bool = False) -> None:
    normalization = "caffe" if blue_first else "torchvision"
    monkeypatch.setitem(SOURCES, "vgg19", Source("vgg19", url, normalization, blue_first))


def test_download_with_the_right_hash(
    state: dict[str, Tensor], server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = upload(server, state, tmp_path)
    publish(monkeypatch, url)
    found = find_weights("vgg19")
    assert_close(dict(found.state), state)
    assert found.architecture == "vgg19"
    assert found.provenance == f"vgg19, torchvision normalisation, {url.rsplit('/', 1)[1]}"
    find_weights("vgg19")
    assert server.asked == [None]  # once


def test_a_download_that_is_cut_off_goes_on_where_it_stopped(
    state: dict[str, Tensor], server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(monkeypatch, upload(server, state, tmp_path))
    monkeypatch.setattr("fastnst.io.addresses.PAUSES_S", (0.0,))
    server.drops = [1000]
    said, done = [], []
    file = fetch_weights("vgg19", announce=said.append, progress=lambda *bytes_: done.append(bytes_))
    assert file == tmp_path / "hub" / "checkpoints" / SOURCES["vgg19"].url.rsplit("/", 1)[1]
    assert file.read_bytes() == server.content
    assert server.asked == [None, "bytes=1000-"]
    assert done[-1] == (len(server.content), len(server.content))
    assert "interrupted" in said[1]
    assert_close(dict(find_weights("vgg19").state), state)


def test_download_with_a_wrong_hash(
    state: dict[str, Tensor], server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(monkeypatch, upload(server, state, tmp_path, digest="0123abcd"))
    with pytest.raises(WeightsError, match=r"its SHA-256 begins with .*, expected 0123abcd; removed it"):
        find_weights("vgg19")
    assert not list((tmp_path / "hub").rglob("*.pth*[!k]"))


def test_no_network_and_no_file_names_both_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastnst.io.addresses.PAUSES_S", ())
    publish(monkeypatch, "http://127.0.0.1:9/vgg19-0123abcd.pth")
    with pytest.raises(WeightsError) as caught:
        find_weights("vgg19")
    message = str(caught.value)
    assert "connect" in message
    assert "--loss-weights FILE" in message
    assert "FASTNST_LOSS_WEIGHTS=FILE" in message
    assert "\n" not in message


def test_caffe_download_is_turned_from_blue_first(
    state: dict[str, Tensor], server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(monkeypatch, upload(server, state, tmp_path), blue_first=True)
    found = find_weights("vgg19")
    assert_close(found.state["features.0.weight"][:, 0], state["features.0.weight"][:, 2])
    assert_close(found.state["features.0.weight"][:, 1], state["features.0.weight"][:, 1])
    assert_close(found.state["features.0.bias"], state["features.0.bias"])


def test_turned_caffe_weights_answer_to_red_as_the_originals_to_bgr(
    state: dict[str, Tensor], server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(monkeypatch, upload(server, state, tmp_path), blue_first=True)
    settings = LossSettings(content_layers=("conv1_1",), style_layers=())
    network, _ = load_loss_network(settings)
    image = torch.rand(1, 3, 5, 6, generator=torch.Generator().manual_seed(1))
    blue_green_red = image.flip(1) * 255 - torch.tensor([103.939, 116.779, 123.68]).view(3, 1, 1)
    expected = torch.conv2d(blue_green_red, state["features.0.weight"], state["features.0.bias"], padding=1)
    assert_close(network(image)["conv1_1"], expected, rtol=1e-4, atol=1e-2)


def test_which_published_weights_are_blue_first() -> None:
    assert {name: (source.normalization, source.blue_first) for name, source in SOURCES.items()} == {
        "vgg19": ("torchvision", False),
        "vgg16": ("torchvision", False),
        "vgg19-caffe": ("caffe", True),
        "vgg16-caffe": ("caffe", True),
    }


@pytest.mark.parametrize(("name", "enumeration"), [("vgg19", "VGG19_Weights"), ("vgg16", "VGG16_Weights")])
def test_addresses_are_torchvisions(name: str, enumeration: str) -> None:
    assert SOURCES[name].url == getattr(models, enumeration).IMAGENET1K_V1.url


def test_local_pth(state: dict[str, Tensor], tmp_path: Path) -> None:
    file = tmp_path / "mine.pth"
    torch.save(state, file)
    found = find_weights("vgg19", file)
    assert_close(dict(found.state), state)
    assert found.normalization == "torchvision"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()[:8]
    assert found.provenance == f"vgg19, torchvision normalisation, mine.pth (sha256 {digest})"


def test_local_caffe_pth_is_blue_first(state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(state, tmp_path / "mine.pth")
    found = find_weights("vgg19-caffe", tmp_path / "mine.pth")
    assert found.normalization == "caffe"
    assert_close(found.state["features.0.weight"], state["features.0.weight"].flip(1))


@pytest.mark.parametrize(("name", "stated"), [("vgg19", "caffe"), ("vgg19-caffe", "torchvision")])
def test_safetensors_states_its_normalization(name: str, stated: str, state: dict[str, Tensor], tmp_path: Path) -> None:
    file = tmp_path / "mine.safetensors"
    half = {key: value.half() for key, value in state.items()}
    save_file(half, file, metadata={"normalization": stated})
    found = find_weights(name, file)
    assert found.normalization == stated
    assert stated in found.provenance
    # Red first whatever the name of the network, and float32 whatever the file holds.
    assert_close(dict(found.state), {key: value.float() for key, value in half.items()})


def test_safetensors_that_states_nothing_is_as_the_networks_name_says(state: dict[str, Tensor], tmp_path: Path) -> None:
    save_file(state, tmp_path / "mine.safetensors")
    assert find_weights("vgg19", tmp_path / "mine.safetensors").normalization == "torchvision"
    assert find_weights("vgg19-caffe", tmp_path / "mine.safetensors").normalization == "caffe"


def test_unknown_normalization(state: dict[str, Tensor], tmp_path: Path) -> None:
    save_file(state, tmp_path / "mine.safetensors", metadata={"normalization": "keras"})
    with pytest.raises(WeightsError, match="states normalization 'keras'; expected torchvision or caffe"):
        find_weights("vgg19", tmp_path / "mine.safetensors")


def test_environment_names_the_file_and_an_argument_comes_first(
    state: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("theirs", "mine"):
        save_file(state, tmp_path / f"{name}.safetensors")
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(tmp_path / "theirs.safetensors"))
    assert "theirs.safetensors" in find_weights("vgg19").provenance
    assert "mine.safetensors" in find_weights("vgg19", tmp_path / "mine.safetensors").provenance


@pytest.mark.parametrize("name", ["gone.pth", "gone.safetensors"])
def test_missing_file(name: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=f"{name}: no such file; expected the weights of vgg19"):
        find_weights("vgg19", tmp_path / name)


@pytest.mark.parametrize("name", ["noise.pth", "noise.safetensors"])
def test_damaged_file(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"no weights at all")
    with pytest.raises(WeightsError, match=f"{name}: not a readable") as caught:
        find_weights("vgg19", tmp_path / name)
    assert "\n" not in str(caught.value)


def test_cut_short_file(state: dict[str, Tensor], tmp_path: Path) -> None:
    for name, save in (("cut.pth", torch.save), ("cut.safetensors", save_file)):
        save(state, tmp_path / name)
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-1000])
        with pytest.raises(WeightsError, match=f"{name}: not a readable"):
            find_weights("vgg19", tmp_path / name)


class Malicious:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("save", [torch.save, lambda given, file: file.write_bytes(pickle.dumps(given))])
def test_pickle_that_runs_code_is_refused(save: object, tmp_path: Path) -> None:
    mark, file = tmp_path / "mark", tmp_path / "evil.pth"
    save({"features.0.weight": Malicious(mark)}, file)
    with pytest.raises(WeightsError, match=r"evil\.pth: not a readable file of weights alone"):
        find_weights("vgg19", file)
    assert not mark.exists()


def test_a_pickle_of_another_version_is_refused_in_one_line(tmp_path: Path) -> None:
    # torch warns of its version, and advises to load it all the same.
    (tmp_path / "other.pth").write_bytes(pickle.dumps({"a": Path()}, protocol=4))
    with pytest.raises(WeightsError) as caught:
        find_weights("vgg19", tmp_path / "other.pth")
    assert "expected .safetensors, or .pth with tensors" in str(caught.value)
    assert "weights_only" not in str(caught.value)


def test_blue_first_weights_of_another_shape(state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(state | {"features.0.weight": torch.zeros(64)}, tmp_path / "mine.pth")
    settings = LossSettings(loss_network="vgg19-caffe", loss_weights=tmp_path / "mine.pth")
    with pytest.raises(WeightsError, match=r"features.0.weight \(conv1_1\) has shape \(64,\)"):
        load_loss_network(settings)


def test_pth_without_a_dictionary_of_tensors(tmp_path: Path) -> None:
    for content in ([torch.zeros(2)], {"epoch": 3}):
        torch.save(content, tmp_path / "other.pth")
        with pytest.raises(WeightsError, match="expected a dictionary of tensors under torchvision's names"):
            find_weights("vgg19", tmp_path / "other.pth")


def test_load_loss_network_is_deep_enough_and_no_deeper(loss_weights: Path) -> None:
    settings = LossSettings(
        content_layers=("relu1_2",), style_layers=("relu1_1", "conv2_1"), loss_weights=loss_weights, pool="max"
    )
    network, provenance = load_loss_network(settings)
    assert isinstance(network, VGGFeatures)
    assert network.layers == ("relu1_1", "relu1_2", "conv2_1")
    assert network.path[-1] == "conv2_1"
    assert network.pooling == "max"
    assert provenance.startswith("vgg19, torchvision normalisation, tiny.safetensors (sha256 ")


def test_load_loss_network_of_another_depth_than_the_file(loss_weights: Path) -> None:
    settings = LossSettings(content_layers=("relu3_1",), style_layers=(), loss_weights=loss_weights)
    with pytest.raises(WeightsError, match="weights do not fit vgg19"):
        load_loss_network(settings)


def test_nothing_is_fetched_where_the_loss_network_is_not_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("fastnst.io.addresses.urlopen", lambda *_, **__: pytest.fail("a download"))
    assert chosen_network(LossSettings()).loss_network == "compact"
    network, provenance = load_loss_network(LossSettings())
    assert provenance.startswith("compact (stands in for vgg19")
    assert network.layers == ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu4_2", "relu5_1")


@pytest.mark.parametrize("name", ["vgg19", "vgg19-caffe"])
def test_a_vgg_that_was_fetched_before_is_taken(name: str, tmp_path: Path) -> None:
    fetched = tmp_path / "hub" / "checkpoints" / SOURCES[name].url.rsplit("/", 1)[1]
    fetched.parent.mkdir(parents=True)
    fetched.touch()
    assert chosen_network(LossSettings()).loss_network == name


def test_a_file_of_weights_is_vggs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert chosen_network(LossSettings(loss_weights=tmp_path / "vgg.pth")).loss_network == "vgg19"
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "vgg.pth")
    assert chosen_network(LossSettings()).loss_network == "vgg19"


@pytest.mark.parametrize(
    "asked",
    [{"pool": "max"}, {"normalization": "paper"}, {"style_layers": ("relu3_3",)}, {"content_layers": ("conv4_2",)}],
)
def test_what_compact_does_not_have_takes_vgg(asked: dict[str, object]) -> None:
    assert chosen_network(LossSettings(**asked)).loss_network == "vgg19"


def test_a_named_loss_network_stays(tmp_path: Path) -> None:
    for settings in (LossSettings(loss_network="vgg16"), LossSettings(loss_network="compact", loss_weights=tmp_path)):
        assert chosen_network(settings) is settings
