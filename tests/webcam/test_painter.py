"""The painting thread: style, look and size of the moment; networks that fail."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fastnst.backends.contract import Contract
from fastnst.backends.feeds import extra_feeds
from fastnst.backends.mixing import StyleChoice, StyleWeights
from fastnst.errors import InputError, SettingError, StyleError
from fastnst.inference.masks import Mask
from fastnst.io.images import Frame
from fastnst.webcam.capture import Shot
from fastnst.webcam.look import Look
from fastnst.webcam.painter import Painted, Painter
from fastnst.webcam.size import SizeKeeper
from fastnst.webcam.slot import Newest

PHOTO = np.full((48, 64, 3), (100, 120, 140), np.uint8)


class Fill:
    """A network that paints everything in one level, and notes what it was given."""

    def __init__(self, level: int, names: tuple[str, ...] = ("only",), strength: bool = False) -> None:
        self.level, self.style_names, self.takes_strength = level, names, strength
        self.calls: list[tuple[tuple[int, ...], StyleWeights | None, float | None]] = []
        self.closed = False

    def __call__(
        self, frames: Frame, *, style_weights: StyleWeights | None = None, strength: float | None = None
    ) -> Frame:
        if strength is not None and not self.takes_strength:
            raise SettingError("no such input")
        self.calls.append((frames.shape, style_weights, strength))
        return np.full_like(frames, self.level)

    def check(self, style_weights: StyleWeights | None, strength: float | None) -> None:
        names = self.style_names
        told = {"styles": ",".join(names)}
        contract = Contract("nhwc-uint8", len(names) if len(names) > 1 else None, self.takes_strength, told)
        extra_feeds(contract, style_weights, strength)

    def close(self) -> None:
        self.closed = True


class Studio:
    """A painter with styles named a, b, c, fed by hand."""

    def __init__(self, *networks: Fill | StyleError, look: Look | None = None, long_side: int | None = 64) -> None:
        self.networks = dict(zip("abc", networks, strict=False))
        self.shots: Newest[Shot] = Newest()
        self.painter = Painter(
            {name: Path(f"{name}.onnx") for name in self.networks},
            self.load,
            self.shots,
            SizeKeeper(30, long_side=long_side),
            look=look or Look(),
        )

    def load(self, path: Path) -> Fill:
        network = self.networks[path.stem]
        if isinstance(network, StyleError):
            raise network
        return network

    def paint(self, look: Look | None = None) -> Painted:
        if look is not None:
            self.painter.look = look
        self.shots.put(Shot(PHOTO, 0.0, 0))
        painted = self.painter.painted.take(20)
        assert painted is not None
        return painted


@pytest.fixture
def studio() -> "Callable[..., Studio]":
    made: list[Studio] = []

    def make(*networks: Fill | StyleError, look: Look | None = None, long_side: int | None = 64) -> Studio:
        made.append(Studio(*networks, look=look, long_side=long_side))
        made[-1].painter.start()
        return made[-1]

    yield make  # type: ignore[misc]
    for one in made:
        one.painter.stop()


def colour(painted: Painted) -> list[int]:
    return [int(level) for level in painted.picture[40, 60]]


def test_paints_at_the_keepers_size_and_gives_the_cameras(studio: Callable[..., Studio]) -> None:
    network = Fill(200)
    painted = studio(network, long_side=32).paint()
    assert network.calls[-1][0] == (24, 32, 3)
    assert painted.size == (24, 32)
    assert painted.picture.shape == PHOTO.shape
    assert colour(painted) == [200, 200, 200]
    assert (painted.style, painted.mixed) == ("a", ())


def test_the_size_grows_with_room(studio: Callable[..., Studio]) -> None:
    network = Fill(200)
    work = studio(network, long_side=None)
    big = np.zeros((240, 320, 3), np.uint8)
    give_up = time.monotonic() + 60
    while (240, 320, 3) not in [shape for shape, _, _ in network.calls]:
        assert time.monotonic() < give_up
        work.shots.put(Shot(big, 0.0, 0))
        work.painter.painted.take(20)


def test_switching_loads_the_other_style_and_frees_the_first(studio: Callable[..., Studio]) -> None:
    first, second = Fill(10), Fill(20)
    work = studio(first, second)
    assert colour(work.paint()) == [10] * 3
    painted = work.paint(Look(style=1))
    assert colour(painted) == [20] * 3
    assert painted.style == "b"
    assert first.closed
    assert not second.closed


def test_a_style_that_cannot_be_loaded_leaves_the_one_there_is(studio: Callable[..., Studio]) -> None:
    first = Fill(10)
    work = studio(first, StyleError("b.onnx: not a readable ONNX network"))
    painted = work.paint(Look(style=1))
    assert colour(painted) == [10] * 3
    assert painted.style == "a"
    assert work.painter.note == "b.onnx: not a readable ONNX network"
    assert not first.closed
    assert colour(work.paint(Look(style=0))) == [10] * 3
    assert work.painter.note == ""


def test_the_first_style_must_load() -> None:
    with pytest.raises(StyleError, match="not readable"):
        Studio(StyleError("not readable")).painter.start()


def test_strength_without_the_input_is_a_blend_with_the_photo(studio: Callable[..., Studio]) -> None:
    network = Fill(200)
    assert colour(studio(network).paint(Look(strength=0.5))) == [150, 160, 170]
    assert network.calls[-1][2] is None


def test_strength_with_the_input_is_the_networks_affair(studio: Callable[..., Studio]) -> None:
    network = Fill(200, strength=True)
    assert colour(studio(network).paint(Look(strength=0.5))) == [200] * 3
    assert network.calls[-1][2] == 0.5


def test_mixing_goes_to_networks_that_mix(studio: Callable[..., Studio]) -> None:
    plain, mixing = Fill(1), Fill(2, ("ann", "bob", "cy"))
    work = studio(plain, mixing)
    work.paint(Look(mix=1.25))
    assert plain.calls[-1][1] is None
    painted = work.paint(Look(style=1, mix=1.25))
    assert mixing.calls[-1][1] == (0, 0.75, 0.25)
    assert painted.mixed == (("ann", 0), ("bob", 0.75), ("cy", 0.25))
    painted = work.paint(Look(style=1, shares={"cy": 1, "ann": 3}))
    assert mixing.calls[-1][1] == (0.75, 0, 0.25)
    work.paint(Look(style=1))
    assert mixing.calls[-1][1] == pytest.approx((1 / 3,) * 3)


def test_a_mix_for_a_network_of_one_style_is_refused() -> None:
    with pytest.raises(SettingError, match="knows one style"):
        Studio(Fill(1), look=Look(shares={"ann": 1})).painter.start()


def test_keeping_colours(studio: Callable[..., Studio]) -> None:
    # Y of the photo is 116.3, of the painting 150: every channel goes up by 33.7.
    levels = colour(studio(Fill(150)).paint(Look(keep_colors=True)))
    np.testing.assert_allclose(levels, [133.7, 153.7, 173.7], atol=1.5)


def test_split_view(studio: Callable[..., Studio]) -> None:
    picture = studio(Fill(200)).paint(Look(split=True)).picture
    assert picture[5, 5].tolist() == [100, 120, 140]
    assert picture[5, 60].tolist() == [200] * 3


def test_a_network_that_breaks_is_an_error_in_the_taker(studio: Callable[..., Studio]) -> None:
    work = studio(Fill(1))

    def broken(*_arguments: object, **_options: object) -> Frame:
        raise InputError("out of memory")

    work.painter._network = broken  # type: ignore[assignment]
    broken.style_names, broken.takes_strength, broken.close = ("a",), False, lambda: None  # type: ignore[attr-defined]
    work.shots.put(Shot(PHOTO, 0.0, 0))
    with pytest.raises(InputError, match="out of memory"):
        while work.painter.painted.take(20) is None:
            pass


def test_an_end_and_an_error_of_the_camera_are_passed_on(studio: Callable[..., Studio]) -> None:
    work = studio(Fill(1))
    work.shots.close()
    assert work.painter.painted.take(20) is None
    assert work.painter.painted.ended
    other = studio(Fill(1))
    other.shots.close(InputError("film is damaged"))
    with pytest.raises(InputError, match="film is damaged"):
        other.painter.painted.take(20)


def test_stop_frees_the_network() -> None:
    network = Fill(1)
    work = Studio(network)
    work.painter.start()
    work.painter.stop()
    assert network.closed
    assert not any(thread.name == "painter" for thread in threading.enumerate())


def test_more_strength_where_the_network_takes_it(studio: Callable[..., Studio]) -> None:
    strong = Fill(200, strength=True)
    painted = studio(strong, look=Look(strength=1.3)).paint()
    assert strong.calls[-1][2] == 1.3
    assert painted.most == 1.5
    with pytest.raises(SettingError, match=r"strength 1\.3; expected 0 to 1"):
        studio(Fill(200), look=Look(strength=1.3))
    # Chosen by a key later, such a network gives all that it can.
    work = studio(strong, Fill(60), look=Look(strength=1.3))
    assert colour(work.paint(Look(style=1, strength=1.3))) == [60] * 3


def test_a_mask_and_a_style_for_a_region(tmp_path: Path) -> None:
    left, right = np.zeros((2, 48, 64), np.uint8)
    right[:, 32:], left[:, 8:32] = 255, 255
    networks = {"a": Fill(10), "b": Fill(20), "sky": Fill(30, ("ann", "bob"))}
    shots: Newest[Shot] = Newest()
    styles = {name: Path(f"{name}.onnx") for name in "ab"}
    keeper = SizeKeeper(30, long_side=32)
    painter = Painter(
        styles,
        lambda path: networks[path.stem],
        shots,
        keeper,
        look=Look(),
        mask=Mask(tmp_path, [left, right]),
        regional=[StyleChoice(Path("sky.onnx"), "bob")],
    )
    painter.start()
    try:
        for style, level in ((0, 10), (1, 20)):
            painter.look = Look(style=style)
            shots.put(Shot(PHOTO, 0.0, 0))
            painted = painter.painted.take(20)
            assert painted is not None
            np.testing.assert_array_equal(painted.picture[5, [0, 20, 50]], [PHOTO[0, 0], [level] * 3, [30] * 3])
    finally:
        painter.stop()
    assert networks["sky"].calls[-1][1] == {"bob": 1}
    assert networks["sky"].closed
