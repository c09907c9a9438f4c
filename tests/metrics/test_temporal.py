"""Steadiness on video: hand-worked errors, the floor, what is masked, and that grey pictures gain nothing."""

import math
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from fastnst.errors import InputError, StyleError
from fastnst.io.images import Frame, Picture, write_picture
from fastnst.metrics.scenes import (
    Scene,
    estimated_scene,
    exact_scene,
    moving_scenes,
    noisy_scene,
    read_clip,
    read_flow_scenes,
    still,
)
from fastnst.research.video_report import Steadiness, evaluate_video, gather_scenes, measure, static_parts, warp_error


def soft(height: int, width: int, seed: int = 0) -> Frame:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 6 + 2, width // 6 + 2, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def identity(frame: Frame) -> Frame:
    return frame


def noisy_painter(levels: float) -> Callable[[Frame], Frame]:
    """A stylizer that adds new noise to each frame."""
    rng = np.random.default_rng(7)

    def paint(frame: Frame) -> Frame:
        return np.rint(frame / 2 + 64 + rng.normal(0, levels, frame.shape)).clip(0, 255).astype(np.uint8)

    return paint


def grey(height: int, width: int, value: int = 128) -> Frame:
    return np.full((height, width, 3), value, np.uint8)


def panned(height: int = 60, width: int = 80) -> Scene:
    """Two frames, the content 4 px to the right and 2 down in the second."""
    wide = soft(height + 2, width + 4)
    flow = np.full((height, width, 2), (4, 2), np.float32)
    return exact_scene("pan", "synthetic motion", [wide[2:, 4:], wide[:height, :width]], [flow])


# The error


def test_warp_error_by_hand() -> None:
    # Two pixels, three colors. The first differs by 51 = 0.2 * 255 in red, the second is masked: 0.04 / 3.
    first, second = grey(1, 2, 100), grey(1, 2, 100)
    second[0, 0, 0], second[0, 1] = 151, 255
    visible = np.array([[True, False]])
    assert warp_error(first, second, still(1, 2), visible) == pytest.approx(0.04 / 3)
    # The second frame's (20, 40, 60) come from one pixel to the right; the last pixel leaves the frame.
    first, second = grey(1, 3), grey(1, 3)
    first[0, :, 0], second[0, :, 0] = (20, 40, 60), (99, 20, 40)
    flow = np.full((1, 3, 2), (1, 0), np.float32)
    assert warp_error(first, second, flow, np.ones((1, 3), bool)) == 0
    assert math.isnan(warp_error(grey(2, 2), grey(2, 2), still(2, 2), np.zeros((2, 2), bool)))


def test_error_and_variance_within_frames_by_hand() -> None:
    # Frames of red 0, 51, 153 and half the pixels 0 in green and blue of the last: steps of 0.2 and 0.4 in one
    # color of three; the variance is 0 in each frame, for each has one color only.
    frames = [grey(2, 2, 0) for _ in range(3)]
    frames[1][..., 0], frames[2][..., 0] = 51, 153
    scene = exact_scene("steps", "clip", frames, [still(2, 2)] * 2)
    error, variance = measure(scene, frames)
    assert error == pytest.approx((0.04 + 0.16) / 2 / 3)
    assert variance == 0
    # Green is 0 and 255 in equal parts: variance 1/4 in one color of three; the other frame is flat.
    striped = grey(2, 2, 0)
    striped[0, :, 1] = 255
    scene = exact_scene("stripes", "clip", [striped, grey(2, 2)], [still(2, 2)])
    assert measure(scene, scene.frames)[1] == pytest.approx(0.25 / 3 / 2)


# Networks


def test_the_identity_has_exactly_the_floor() -> None:
    scenes = [*moving_scenes([("soft", soft(120, 150))], frames=3, long_side=100), estimated_scene("clip", film(4))]
    rows = evaluate_video({"identity": identity}, scenes)
    assert len(rows) >= 5
    for row in rows:
        assert (row.error, row.variance) == (row.floor_error, row.floor_variance)
        assert row.excess == 0


def test_a_whole_shift_costs_a_steady_painter_nothing() -> None:
    (row,) = evaluate_video({"inverted": lambda frame: 255 - frame}, [panned()])
    assert row.error == row.floor_error == 0
    assert row.variance == pytest.approx(row.floor_variance)
    assert row.share == pytest.approx(76 * 58 / (80 * 60))


def test_independent_noise_has_twice_its_variance_as_error() -> None:
    # On a whole shift nothing is interpolated: E = 2 (6^2 + 1/12) / 255^2.
    (row,) = evaluate_video({"noisy": noisy_painter(6)}, [panned(150, 200)])
    assert row.error == pytest.approx(2 * (36 + 1 / 12) / 255**2, rel=0.03)
    assert row.excess == pytest.approx(row.error / row.variance)


def test_unrelated_frames_have_a_relative_error_of_two() -> None:
    rng = np.random.default_rng(0)
    scene = noisy_scene("grey", grey(120, 160), frames=3, long_side=160)
    (row,) = evaluate_video({"chaos": lambda f: rng.integers(0, 256, f.shape, dtype=np.uint8)}, [scene])
    assert row.relative == pytest.approx(2, rel=0.02)


def test_sensor_noise_on_a_still_picture_has_a_known_floor() -> None:
    scene = noisy_scene("soft", (soft(120, 160) // 2 + 60).astype(np.uint8), frames=4, long_side=160)
    (row,) = evaluate_video({"identity": identity}, [scene])
    assert row.kind == "noise"
    assert row.floor_error == pytest.approx(2 * (4 + 1 / 12) / 255**2, rel=0.03)


def test_less_contrast_is_not_more_steadiness() -> None:
    flickering, scene = noisy_painter(12), panned(150, 200)

    def faded(frame: Frame) -> Frame:
        return np.rint(128 + (flickering(frame) - 128.0) / 2).astype(np.uint8)

    strong, weak = evaluate_video({"strong": flickering, "weak": faded}, [scene])
    assert weak.error == pytest.approx(strong.error / 4, rel=0.1)
    assert weak.excess == pytest.approx(strong.excess, rel=0.1)


def test_what_is_covered_does_not_count() -> None:
    scene = panned()
    dirty = [scene.frames[0], scene.frames[1].copy()]
    dirty[1][20:30, 30:40] = 255  # something new lies over it
    visible = scene.visible[0].copy()
    visible[18:28, 26:36] = False
    clean = Scene("covered", "true flow", dirty, scene.flows, [visible])
    open_ = Scene("open", "true flow", dirty, scene.flows, scene.visible)
    assert evaluate_video({"identity": identity}, [clean])[0].error == 0
    assert evaluate_video({"identity": identity}, [open_])[0].error > 0


def test_pairs_that_cannot_be_compared_are_left_out_of_the_mean() -> None:
    frames = [grey(2, 2, 0), grey(2, 2, 51), grey(2, 2, 255)]
    nothing = np.zeros((2, 2), bool)
    scene = Scene("cut", "clip", frames, [still(2, 2)] * 2, [~nothing, nothing])
    assert measure(scene, frames)[0] == pytest.approx(0.04)


def test_a_flat_painting_has_no_relative_error() -> None:
    (row,) = evaluate_video({"flat": lambda frame: grey(*frame.shape[:2])}, [panned()])
    assert row.error == 0
    assert math.isnan(row.relative)


def test_rows_name_network_scene_and_kind_and_progress_counts_frames() -> None:
    seen: list[tuple[int, int]] = []
    networks = {"a": identity, "b": lambda frame: 255 - frame}
    scenes = [panned(), noisy_scene("still", soft(40, 50), frames=3, long_side=50)]
    rows = evaluate_video(networks, scenes, progress=lambda done, total: seen.append((done, total)))
    assert [(row.network, row.scene, row.kind) for row in rows] == [
        ("a", "pan", "synthetic motion"),
        ("b", "pan", "synthetic motion"),
        ("a", "still", "noise"),
        ("b", "still", "noise"),
    ]
    assert seen == [(done, 10) for done in range(1, 11)]


def test_a_network_that_changes_the_size_is_named() -> None:
    with pytest.raises(StyleError, match=r"half: turns a frame of \(60, 80, 3\) into \(30, 40, 3\)"):
        evaluate_video({"half": lambda frame: frame[::2, ::2]}, [panned()])


def test_steadiness_by_hand() -> None:
    row = Steadiness("n", "s", "clip", error=0.03, variance=0.1, floor_error=0.01, floor_variance=0.05, share=0.9)
    assert row.relative == pytest.approx(0.3)
    assert row.excess == pytest.approx(0.3 - 0.2)


# A camera that stands still


def film(frames: int, moving: int = 12) -> list[Frame]:
    """A square of `moving` pixels crosses a picture that stands still."""
    background, thing = soft(64, 96), soft(moving, moving, seed=5)
    shown = []
    for step in range(frames):
        frame = background.copy()
        frame[20 : 20 + moving, 10 + 3 * step : 10 + 3 * step + moving] = thing
        shown.append(frame)
    return shown


def test_a_clip_of_a_static_camera_is_also_measured_without_warping() -> None:
    rows = evaluate_video({"noisy": noisy_painter(5)}, [estimated_scene("room", film(3))])
    assert [row.kind for row in rows] == ["clip", "static camera"]
    # Flicker of independent noise on the pixels that stand still, and a floor of nothing.
    assert rows[1].error == pytest.approx(2 * (25 + 1 / 12) / 255**2, rel=0.06)
    assert rows[1].floor_error < 1e-4
    assert 0.5 < rows[1].share < 1


def test_a_moving_camera_has_no_static_part() -> None:
    wide = soft(70, 140)
    assert static_parts(estimated_scene("pan", [wide[:, 5 * step : 5 * step + 100] for step in range(3)])) == []


# Reading scenes


def write_frame(path: Path, frame: Frame) -> None:
    write_picture(path, Picture(frame=frame))


def write_pair(folder: Path, names: tuple[str, str, str], shape: tuple[int, int] = (40, 60)) -> None:
    scene = panned(*shape)
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in zip(names[:2], scene.frames, strict=True):
        write_frame(folder / name, frame)
    cv2.writeOpticalFlow(str(folder / names[2]), scene.flows[0])


def test_flow_pairs_are_found_by_the_names_of_their_data_sets(tmp_path: Path) -> None:
    write_pair(tmp_path / "chairs", ("7-img0.png", "7-img1.png", "7-gt.flo"))
    write_pair(tmp_path / "chairs", ("8_img1.png", "8_img2.png", "8_flow.flo"))
    write_pair(tmp_path / "Whale", ("frame09.png", "frame10.png", "flow09.flo"))
    scenes = read_flow_scenes(tmp_path)
    assert [scene.name for scene in scenes] == ["Whale", "chairs 7", "chairs 8"]
    assert {scene.kind for scene in scenes} == {"true flow"}
    for scene in scenes:
        assert measure(scene, scene.frames)[0] == 0
        assert scene.visible[0].mean() > 0.7


def test_flows_that_do_not_fit_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no .flo file"):
        read_flow_scenes(tmp_path)
    write_pair(tmp_path, ("7-img0.png", "7-img2.png", "7-gt.flo"))
    with pytest.raises(InputError, match=r"7-gt.flo: its frames are not beside it"):
        read_flow_scenes(tmp_path)
    write_pair(tmp_path, ("7-img0.png", "7-img1.png", "7-gt.flo"))
    cv2.writeOpticalFlow(str(tmp_path / "7-gt.flo"), still(40, 61))
    with pytest.raises(InputError, match=r"7-gt.flo: its size"):
        read_flow_scenes(tmp_path)


def test_a_clip_of_pictures_is_read_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    frames = film(4)
    for number, frame in zip((9, 10, 11, 100), frames, strict=True):
        write_frame(tmp_path / "clip" / f"{number}.png", frame)
    (tmp_path / "clip" / "notes.txt").write_text("not a frame")
    scene = read_clip(tmp_path / "clip", frames=3, long_side=96)
    assert (scene.name, scene.kind, len(scene.frames), len(scene.flows)) == ("clip", "clip", 3, 2)
    for read, drawn in zip(scene.frames, frames, strict=False):
        np.testing.assert_array_equal(read, drawn)


def test_a_clip_is_reduced(tmp_path: Path) -> None:
    frames = film(5)
    for number, frame in enumerate(frames):
        write_frame(tmp_path / f"{number}.png", frame)
    scene = read_clip(tmp_path, frames=9, long_side=48)
    assert [frame.shape for frame in scene.frames] == [(32, 48, 3)] * 5


def test_a_film_is_read_in_red_green_blue(tmp_path: Path) -> None:
    path = str(tmp_path / "film.avi")
    writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for level in (0, 40, 80):
        writer.write(np.full((48, 64, 3), (0, level, 200), np.uint8))
    writer.release()
    scene = read_clip(path, frames=2, long_side=64)
    assert len(scene.frames) == 2
    assert np.abs(scene.frames[1].mean(axis=(0, 1)) - (200, 40, 0)).max() < 6


def test_scenes_are_gathered_from_flows_clips_and_pictures(tmp_path: Path) -> None:
    write_pair(tmp_path / "flows" / "Whale", ("frame09.png", "frame10.png", "flow09.flo"))
    for number, frame in enumerate(film(5)):
        write_frame(tmp_path / "clip" / f"{number}.png", frame)
    scenes = gather_scenes(
        [tmp_path / "flows", tmp_path / "clip"], [("photo", soft(120, 150))], frames=5, long_side=100
    )
    assert [scene.kind for scene in scenes] == ["true flow", "clip", *["synthetic motion"] * 3, "noise"]
    assert [len(scene.frames) for scene in scenes] == [2, 5, 4, 4, 4, 4]
    with pytest.raises(InputError, match="none: no such film or folder"):
        gather_scenes([tmp_path / "none"])


@pytest.mark.parametrize("kind", ["missing", "text", "single", "mixed"])
def test_what_is_no_clip_is_named(tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    given = tmp_path / "given"
    words = {
        "missing": "no such film",
        "text": "0 frame.*takes at least 2",
        "single": "1 frame",
        "mixed": "different sizes",
    }
    if kind == "text":
        given.write_text("no film")
    elif kind != "missing":
        write_frame(given / "1.png", soft(20, 30))
    if kind == "mixed":
        write_frame(given / "2.png", soft(20, 31))
    with pytest.raises(InputError, match=f"given: .*{words[kind]}"):
        read_clip(given, frames=5, long_side=64)
    assert capfd.readouterr() == ("", "")
