"""The inference thread: style, controls and size of the moment; networks that fail."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from fastnst.errors import InputError, SettingError, StyleError
from fastnst.inference.effects import PLAIN, Effects
from fastnst.inference.pipeline import StylePipeline
from fastnst.io.images import Frame
from fastnst.io.styles import StyleChoice
from fastnst.webcam.capture import Capture, Newest, Shot
from fastnst.webcam.films import FilmPlayer
from fastnst.webcam.inference_thread import InferenceThread, Size, SizeKeeper, StylizedShot, sizes_below
from fastnst.webcam.settings import Controls

PHOTO = np.full((48, 64, 3), (100, 120, 140), np.uint8)
Session = Any
Fill = Callable[..., Session]
MakeStudio = Callable[..., "Studio"]


@pytest.fixture
def fill(fake_session: type) -> Fill:
    """Make a network that paints everything in one level."""

    def make(level: int, *names: str, strength: bool = False) -> Session:
        return fake_session(lambda frame: np.full_like(frame, level), names or ("only",), strength=strength)

    return make


class Studio:
    """A thread with styles named a, b, c and more, fed by hand."""

    def __init__(
        self,
        folder: Path,
        networks: dict[str, Session | StyleError],
        *,
        effects: Effects = PLAIN,
        controls: Controls | None = None,
        long_side: int | None = 64,
    ) -> None:
        self.networks = networks
        for name in networks:
            (folder / f"{name}.onnx").touch()
        self.shots: Newest[Shot] = Newest()
        styles = {name: StyleChoice(folder / f"{name}.onnx") for name in networks}
        first = str(styles["a"].path)
        self.pipeline = StylePipeline(first, effects, provider="cpu", open_session=self.open)  # type: ignore[arg-type]
        self.thread = InferenceThread(
            self.pipeline,
            styles,
            self.shots,
            SizeKeeper(30, long_side=long_side),
            controls=controls or Controls(strength=effects.strength, preserve_color=effects.preserve_color),
        )
        self.thread.start()

    def open(self, path: Path, **_options: object) -> Session:
        network = self.networks[path.stem]
        if isinstance(network, StyleError):
            raise network
        network.path = path
        return network

    def paint(self, controls: Controls | None = None, photo: Frame = PHOTO) -> StylizedShot:
        if controls is not None:
            self.thread.controls = controls
        self.shots.put(Shot(photo, 0.0, 0))
        stylized = self.thread.stylized.take(20)
        assert stylized is not None
        return stylized

    def stop(self) -> None:
        self.thread.stop()
        self.pipeline.close()


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[MakeStudio]:
    made: list[Studio] = []

    def make(*networks: Session | StyleError, **options: Any) -> Studio:
        made.append(Studio(tmp_path, dict(zip("abc", networks, strict=False)), **options))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def colour(painted: StylizedShot) -> list[int]:
    return [int(level) for level in painted.picture[40, 60]]


def test_paints_at_the_keepers_size_and_gives_the_cameras(studio: MakeStudio, fill: Fill) -> None:
    network = fill(200)
    painted = studio(network, long_side=32).paint()
    assert network.calls[-1][0] == (24, 32, 3)
    assert painted.size == (24, 32)
    assert painted.picture.shape == PHOTO.shape
    assert colour(painted) == [200, 200, 200]
    assert (painted.style, painted.mixed) == ("a", ())


def test_the_size_grows_with_room(studio: MakeStudio, fill: Fill) -> None:
    network = fill(200)
    work = studio(network, long_side=None)
    big = np.zeros((240, 320, 3), np.uint8)
    give_up = time.monotonic() + 60
    while (240, 320, 3) not in [shape for shape, _, _ in network.calls]:
        assert time.monotonic() < give_up
        work.shots.put(Shot(big, 0.0, 0))
        work.thread.stylized.take(20)


def test_switching_loads_the_other_style_and_frees_the_first(studio: MakeStudio, fill: Fill) -> None:
    first, second = fill(10), fill(20)
    work = studio(first, second)
    assert colour(work.paint()) == [10] * 3
    painted = work.paint(Controls(style=1))
    assert colour(painted) == [20] * 3
    assert painted.style == "b"
    assert first.closed
    assert not second.closed


def test_a_style_that_cannot_be_loaded_leaves_the_one_there_is(studio: MakeStudio, fill: Fill) -> None:
    first = fill(10)
    work = studio(first, StyleError("b.onnx: not a readable ONNX network"))
    painted = work.paint(Controls(style=1))
    assert colour(painted) == [10] * 3
    assert painted.style == "a"
    assert work.thread.note == "b.onnx: not a readable ONNX network"
    assert not first.closed
    assert colour(work.paint(Controls(style=0))) == [10] * 3
    assert work.thread.note == ""


def test_strength_with_the_input_is_the_networks_affair(studio: MakeStudio, fill: Fill) -> None:
    network = fill(200, strength=True)
    assert colour(studio(network).paint(Controls(strength=0.5))) == [200] * 3
    assert network.calls[-1][2] == 0.5


def test_mixing_goes_to_networks_that_mix(studio: MakeStudio, fill: Fill) -> None:
    plain, mixing = fill(1), fill(2, "ann", "bob", "cy")
    work = studio(plain, mixing)
    work.paint(Controls(mix=1.25))
    assert plain.calls[-1][1] is None
    painted = work.paint(Controls(style=1, mix=1.25))
    assert mixing.calls[-1][1] == (0, 0.75, 0.25)
    assert painted.mixed == (("ann", 0), ("bob", 0.75), ("cy", 0.25))
    work.paint(Controls(style=1))
    assert mixing.calls[-1][1] == pytest.approx((1 / 3,) * 3)


def test_styles_of_one_network_follow_each_other_without_loading(tmp_path: Path, fake_session: Any) -> None:
    path = tmp_path / "duo.onnx"
    path.touch()
    session = fake_session(lambda frame: frame, ("ann", "bob"), path=path)
    shots: Newest[Shot] = Newest()
    opened: list[Path] = []

    def open_session(path: Path, **_options: object) -> Any:
        opened.append(path)
        return session

    with StylePipeline(f"{path}@bob", PLAIN, open_session=open_session) as pipeline:
        styles = {name: StyleChoice(path, name) for name in ("ann", "bob")}
        thread = InferenceThread(pipeline, styles, shots, SizeKeeper(30, long_side=64), controls=Controls(style=1))
        thread.start()
        for style in (1, 0):
            thread.controls = Controls(style=style)
            shots.put(Shot(PHOTO, 0.0, 0))
            assert thread.stylized.take(20) is not None
        thread.stop()
    assert [weights for _, weights, _ in session.calls] == [(0, 1), (1, 0)]
    assert opened == [path]


def test_a_network_that_breaks_is_an_error_in_the_taker(studio: MakeStudio, fake_session: type) -> None:
    def breaks(_frame: Frame) -> Frame:
        raise InputError("out of memory")

    work = studio(fake_session(breaks))
    work.shots.put(Shot(PHOTO, 0.0, 0))
    with pytest.raises(InputError, match="out of memory"):
        while work.thread.stylized.take(20) is None:
            pass


def test_an_end_and_an_error_of_the_camera_are_passed_on(studio: MakeStudio, fill: Fill) -> None:
    work = studio(fill(1))
    work.shots.close()
    assert work.thread.stylized.take(20) is None
    assert work.thread.stylized.ended
    other = studio(fill(1))
    other.shots.close(InputError("film is damaged"))
    with pytest.raises(InputError, match="film is damaged"):
        other.thread.stylized.take(20)


def test_stop_ends_the_thread(studio: MakeStudio, fill: Fill) -> None:
    work = studio(fill(1))
    work.stop()
    assert work.networks["a"].closed
    assert not any(thread.name == "inference" for thread in threading.enumerate())


def test_more_strength_where_the_network_takes_it(studio: MakeStudio, fill: Fill) -> None:
    strong = fill(200, strength=True)
    work = studio(strong, fill(60), effects=Effects(strength=1.3))
    painted = work.paint()
    assert strong.calls[-1][2] == 1.3
    assert painted.most == 1.5
    # Chosen by a key later, a network without the input gives all that it can.
    assert colour(work.paint(Controls(style=1, strength=1.3))) == [60] * 3
    with pytest.raises(SettingError, match=r"strength 1\.3; expected 0 to 1"):
        studio(fill(200), effects=Effects(strength=1.3))


def test_a_mask_and_a_style_for_a_region(tmp_path: Path, fill: Fill) -> None:
    regions = np.zeros((48, 64, 3), np.uint8)
    regions[:, 8:32, 0], regions[:, 32:, 2] = 255, 255
    Image.fromarray(regions).save(tmp_path / "map.png")
    networks = {"a": fill(10), "b": fill(20), "sky": fill(30, "ann", "bob")}
    effects = Effects(mask=tmp_path / "map.png", region=("black=photo", f"blue={tmp_path / 'sky.onnx'}@bob"))
    (tmp_path / "sky.onnx").touch()
    work = Studio(tmp_path, networks, effects=effects, long_side=32)
    for style, level in ((0, 10), (1, 20)):
        painted = work.paint(Controls(style=style))
        np.testing.assert_array_equal(painted.picture[5, [0, 20, 50]], [PHOTO[0, 0], [level] * 3, [30] * 3])
    work.stop()
    assert networks["sky"].calls[-1][1] == {"bob": 1}
    assert networks["sky"].closed


def test_frames_that_are_held_keep_their_paint_until_the_style_changes(
    studio: MakeStudio, fill: Fill, fake_session: type
) -> None:
    levels = iter((100, 200, 200))
    rng = np.random.default_rng(0)
    photo = rng.integers(60, 200, (48, 64, 3), np.uint8)
    work = studio(fake_session(lambda frame: np.full_like(frame, next(levels))), fill(40))
    work.pipeline.steady(0.75)
    assert colour(work.paint(photo=photo)) == [100] * 3
    # Three quarters of 100 and one of 200; then of 125 and 200.
    np.testing.assert_allclose(colour(work.paint(photo=photo)), 125, atol=1)
    np.testing.assert_allclose(colour(work.paint(photo=photo)), 144, atol=1)
    assert colour(work.paint(Controls(style=1), photo)) == [40] * 3


def test_a_film_as_the_camera_is_stylized_as_by_the_pipeline(tmp_path: Path, invert: Path) -> None:
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (48, 64, 3), np.uint8) for _ in range(8)]
    with av.open(str(tmp_path / "film.mkv"), "w") as film:
        stream = film.add_stream("ffv1", rate=Fraction(10), width=64, height=48, pix_fmt="bgr0")
        for frame in frames:
            film.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        film.mux(stream.encode(None))
    effects, size = Effects(strength=0.6, preserve_color=True), (24, 32)
    controls = Controls(strength=0.6, preserve_color=True)
    capture = Capture(lambda: FilmPlayer(tmp_path / "film.mkv"))
    shown: list[StylizedShot] = []
    with StylePipeline(str(invert), effects, provider="cpu") as pipeline:
        keeper = SizeKeeper(30, long_side=32)
        thread = InferenceThread(pipeline, {"invert": StyleChoice(invert)}, capture.newest, keeper, controls=controls)
        thread.start()
        capture.start()
        while not thread.stylized.ended:
            stylized = thread.stylized.take(0.2)
            shown += [] if stylized is None else [stylized]
        thread.stop()
        assert len(shown) > 1
        # On a busy machine frames are left out: the others are known again.
        numbers = [next(n for n, frame in enumerate(frames) if (frame == each.shot.frame).all()) for each in shown]
        assert numbers == sorted(set(numbers))
        for each, number in zip(shown, numbers, strict=True):
            np.testing.assert_array_equal(each.picture, pipeline(frames[number], size=size))


# The size that holds the frame rate, with painting times made up.

CAMERA = (720, 1280)


def run(keeper: SizeKeeper, seconds: float, ms_per_megapixel: float, *, begin_s: float = 0, fps: float = 30) -> list:
    """Paint for a while in a time that goes by the number of pixels; gives (time, size) at each change."""
    now_s, changes = begin_s, []
    while now_s < begin_s + seconds:
        size = keeper.size
        elapsed_ms = ms_per_megapixel * size[0] * size[1] / 1e6
        now_s += max(elapsed_ms / 1000, 1 / fps)
        keeper.note(elapsed_ms, now_s)
        if keeper.size != size:
            changes.append((now_s, keeper.size))
    return changes


def keeper(camera: Size = CAMERA, fps: float = 30, long_side: int | None = None) -> SizeKeeper:
    made = SizeKeeper(fps, long_side=long_side)
    made.fit(camera)
    return made


def test_sizes_by_hand() -> None:
    # 16:9: 160 x 90 -> 96; 176 x 99 -> 96; 192 x 108 -> 112. The camera's own size is last, whatever it is.
    assert sizes_below((117, 208)) == [(96, 160), (96, 176), (112, 192), (117, 208)]
    assert sizes_below((208, 117))[:2] == [(160, 96), (176, 96)]
    assert sizes_below((100, 120)) == [(100, 120)]
    assert all(side % 16 == 0 for size in sizes_below(CAMERA)[:-1] for side in size)


def test_networks_are_given_what_they_can_paint_in_time() -> None:
    sizes = keeper()
    changes = run(sizes, 1, ms_per_megapixel=15)
    assert sizes.size == CAMERA
    assert len(changes) == 1
    sizes = keeper()
    run(sizes, 10, ms_per_megapixel=300)
    painted_ms = 300 * sizes.size[0] * sizes.size[1] / 1e6
    assert 0.6 * 30 < painted_ms <= 30
    sizes = keeper()
    run(sizes, 5, ms_per_megapixel=300)
    assert run(sizes, 100, ms_per_megapixel=300, begin_s=5) == []


def test_the_size_falls_quickly_and_grows_again_when_there_is_room() -> None:
    sizes = keeper()
    run(sizes, 5, ms_per_megapixel=100)
    before = sizes.size
    falls = run(sizes, 3, ms_per_megapixel=400, begin_s=5)
    assert falls[0][0] < 5.5
    fallen = sizes.size
    assert fallen < before
    grows = run(sizes, 10, ms_per_megapixel=100, begin_s=8)
    assert fallen < grows[0][1]
    assert sizes.size == before


def test_just_over_the_budget_falls_by_a_step_and_just_under_stays() -> None:
    sizes = keeper((480, 640))
    sizes.size = (480, 640)
    for number in range(20):
        sizes.note(29.9, number / 30)  # the budget is 0.9 / 30 s = 30 ms
    assert sizes.size == (480, 640)
    for number in range(20):
        sizes.note(30.1, 1 + number / 30)
    assert sizes.size < (480, 640)


def test_single_slow_pictures_change_nothing_but_three_in_a_row_do() -> None:
    sizes = keeper((480, 640))
    sizes.size = (480, 640)
    for number in range(60):
        sizes.note(200.0 if number % 5 == 0 else 25.0, number / 30)
    assert sizes.size == (480, 640)
    sizes = keeper((480, 640))
    sizes.size = (480, 640)
    for number in range(3):
        sizes.note(200.0, number / 5)
    assert sizes.size == (480, 640)
    sizes.note(200.0, 1)
    assert sizes.size < (480, 640)


def test_sizes_end_at_the_smallest_at_the_camera_and_where_they_are_fixed() -> None:
    slow, quick = keeper(), keeper()
    run(slow, 20, ms_per_megapixel=100_000)
    assert slow.size == (96, 160)
    run(quick, 20, ms_per_megapixel=0.001)
    assert quick.size == CAMERA
    sizes = keeper(long_side=320)
    assert sizes.size == (180, 320)
    run(sizes, 5, ms_per_megapixel=100_000)
    assert sizes.size == (180, 320)
    assert keeper((100, 120), long_side=320).size == (100, 120)
    sizes = keeper()
    run(sizes, 5, ms_per_megapixel=100)
    sizes.fit((480, 640))
    assert max(sizes.size) <= 640
    assert sizes.size in sizes_below((480, 640))
    sizes.fit((480, 640))


def test_growing_that_had_to_be_taken_back_is_tried_less_and_less_often() -> None:
    # Four times as slow above 640 pixels: larger sizes look affordable from below and are not.
    sizes, now_s, grown = keeper(), 0.0, []
    while now_s < 120:
        before = sizes.size
        elapsed_ms = before[0] * before[1] / 1e6 * (80 if max(before) <= 640 else 320)
        now_s += max(elapsed_ms / 1000, 1 / 30)
        sizes.note(elapsed_ms, now_s)
        if sizes.size > before:
            grown.append(now_s)
    pauses = [later - earlier for earlier, later in itertools.pairwise(grown)]
    assert len(grown) < 10
    assert pauses[-1] > 2 * pauses[1]


@pytest.mark.parametrize("restart", [True, False])
def test_another_network_may_grow_at_once(restart: bool) -> None:
    sizes = keeper()
    run(sizes, 10, ms_per_megapixel=3000)
    sizes._may_grow_s = 1000.0
    if restart:
        sizes.restart()
    changes = run(sizes, 1, ms_per_megapixel=10, begin_s=10)
    assert bool(changes) is restart
