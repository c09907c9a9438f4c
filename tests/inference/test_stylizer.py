"""Stylizer: any exported network on any frame."""

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastnst.backends import choosing, cpu, onnx_device
from fastnst.backends.contract import Contract, UnavailableError, extra_feeds
from fastnst.backends.trial import try_network
from fastnst.errors import InputError, SettingError, StyleError
from fastnst.inference.effects import Effects
from fastnst.inference.stylizer import Stylizer

FRAME = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)


def test_invert_by_hand(invert: Path) -> None:
    frame = np.array([[[0, 1, 2], [255, 100, 7]]], np.uint8)
    before = frame.copy()
    painted = Stylizer(invert)(frame)
    np.testing.assert_array_equal(painted, [[[255, 254, 253], [0, 155, 248]]])
    assert painted.dtype == np.uint8
    np.testing.assert_array_equal(frame, before)


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (2000, 7), (7, 2000), (479, 641)])
def test_size_is_kept(invert: Path, size: tuple[int, int]) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    np.testing.assert_array_equal(Stylizer(invert, Effects(stroke=1.0), provider="cpu")(frame), 255 - frame)
    assert Stylizer(invert, provider="cpu")(frame).shape == frame.shape


def test_batches_and_views(invert: Path) -> None:
    batch = np.stack([FRAME, FRAME[::-1]])
    np.testing.assert_array_equal(Stylizer(invert, provider="cpu")(batch), 255 - batch)
    np.testing.assert_array_equal(
        Stylizer(invert, provider="cpu")(FRAME[::-1, ::2, ::-1]), 255 - FRAME[::-1, ::2, ::-1]
    )


def test_frames_are_not_copied_and_results_own_their_memory(invert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stylizer = Stylizer(invert, provider="cpu")
    seen: list[np.ndarray] = []
    run = cpu.OnnxBackend.run
    with monkeypatch.context() as patch:
        patch.setattr(cpu.OnnxBackend, "run", lambda self, feeds: (seen.append(feeds["frame"]), run(self, feeds))[1])
        stylizer(FRAME)
    assert np.shares_memory(seen[0], FRAME)
    # Else a small result would keep the network's whole working memory alive.
    painted = Stylizer(invert)(FRAME)
    owner = painted if painted.base is None else painted.base
    assert owner.base is None
    assert owner.flags.owndata


def test_what_the_file_says_of_itself(invert: Path, write_network: Any) -> None:
    stylizer = Stylizer(invert, provider="cpu")
    assert stylizer.style == "inverted"
    assert stylizer.metadata["licence"] == "MIT"
    assert stylizer.path == invert
    assert stylizer.styles == 1
    assert Stylizer(write_network(name="dots.onnx"), provider="cpu").style == "dots"


def test_other_arrays_are_refused_by_name(invert: Path) -> None:
    grey, planes, empty = FRAME[..., 0], FRAME[..., :2], FRAME[:0]
    others: list[Any] = [FRAME.astype(np.float32), FRAME.astype(np.int64), grey, planes, empty, FRAME[None, None]]
    with Stylizer(invert, provider="cpu") as stylizer:
        for frames in (*others, FRAME.tolist()):
            with pytest.raises(InputError, match=r"expected .*uint8 \(H, W, 3\) or \(N, H, W, 3\) RGB"):
                stylizer(frames)


def test_closed_stylizer_says_so(invert: Path) -> None:
    with Stylizer(invert, provider="cpu") as stylizer:
        stylizer(FRAME)
    with pytest.raises(StyleError, match="closed"):
        stylizer(FRAME)
    with Stylizer(invert, provider="cpu") as stylizer:
        stream = stylizer.stream([FRAME, FRAME])
        next(stream)
    with pytest.raises(StyleError, match="closed"):
        next(stream)


# Networks with more inputs


MIX = """
g (float[1] strength, uint8[N, H, W, 3] frame, float[2] style_weights) => (uint8[N, H, W, 3] stylized)
<float[2] levels = {40, 200}> {
    parts = Mul(style_weights, levels)
    mixed = ReduceSumSquare<axes = [0], keepdims = 1>(parts)
    level = Sqrt(mixed)
    added = Mul(level, strength)
    black = Sub(frame, frame)
    zeros = Cast<to = 1>(black)
    sum = Add(zeros, added)
    stylized = Cast<to = 2>(sum)
}"""
"""A flat picture of level strength * sqrt((40 a)^2 + (200 b)^2) for the style weights (a, b)."""


def test_style_weights_and_strength(write_network: Any) -> None:
    stylizer = Stylizer(write_network(MIX), provider="cpu")
    assert stylizer.styles == 2
    assert stylizer.style_names == ("1", "2")
    assert stylizer(FRAME)[0, 0, 0] == 101  # all alike: sqrt(20^2 + 100^2) = 101.98
    assert stylizer(FRAME, style_weights=(1, 0))[0, 0, 0] == 40
    assert stylizer(FRAME, style_weights=[0, 1], strength=0.5)[0, 0, 0] == 100
    assert stylizer(np.stack([FRAME, FRAME]), style_weights=(0, 1))[1, 4, 6, 2] == 200


def test_weights_are_shares_of_their_sum() -> None:
    contract = Contract("nhwc-uint8", 2, True, {"styles": "munch, monet"})
    for weights in ((1, 3), (0.25, 0.75), {"monet": 6, "munch": 2}):
        feeds = extra_feeds(contract, weights, 0.5)  # type: ignore[arg-type]
        np.testing.assert_array_equal(feeds["style_weights"], np.array([0.25, 0.75], np.float32))
        np.testing.assert_array_equal(feeds["strength"], np.array([0.5], np.float32))
        assert {feed.dtype for feed in feeds.values()} == {np.dtype(np.float32)}


def test_styles_by_name(write_network: Any) -> None:
    stylizer = Stylizer(write_network(MIX, styles="munch, monet"), provider="cpu")
    assert stylizer.style_names == ("munch", "monet")
    assert stylizer(FRAME, style_weights={"monet": 5})[0, 0, 0] == 200
    assert stylizer(FRAME, style_weights={"mu": 5})[0, 0, 0] == 40
    with pytest.raises(SettingError, match=r"'m' fits several styles; known: monet, munch"):
        stylizer(FRAME, style_weights={"m": 5})


def test_weights_that_do_not_fit(write_network: Any, invert: Path) -> None:
    stylizer = Stylizer(write_network(MIX, name="mix.onnx"), provider="cpu")
    for weights in ((1, 0, 0), (0, 0), (-1, 2), (float("nan"), 1), (float("inf"), 1)):
        with pytest.raises(SettingError, match="expected 2 numbers from 0 on, not all 0, for 1, 2"):
            stylizer(FRAME, style_weights=weights)
    for strength in (float("nan"), -0.1, 1.6):
        with pytest.raises(SettingError, match=r"expected 0 \(the photo\) to 1 \(the full style\), 1.5 at most"):
            stylizer(FRAME, strength=strength)
    with pytest.raises(SettingError, match="knows one style"):
        Stylizer(invert, provider="cpu")(FRAME, style_weights=(1,))


def test_strength_of_a_network_without_the_input_is_a_blend(invert: Path) -> None:
    stylizer = Stylizer(invert, provider="cpu")
    assert not stylizer.takes_strength
    np.testing.assert_allclose(stylizer(FRAME, strength=0.25), FRAME + 0.25 * (255.0 - 2.0 * FRAME), atol=1)
    np.testing.assert_array_equal(stylizer(FRAME, strength=1), 255 - FRAME)
    for strength in (float("nan"), -0.1, 1.2):
        with pytest.raises(SettingError, match="expected 0 to 1, this network's full style"):
            stylizer(FRAME, strength=strength)


def test_embedders_layout(write_network: Any) -> None:
    graph = """
    g (float[N, 3, H, W] frame) => (float[N, 3, H, W] stylized) <float half = {0.5}, float most = {300}> {
        less = Sub(most, frame)
        stylized = Add(less, half)
    }"""
    frame = np.array([[[44, 45, 47], [254, 253, 255]]], np.uint8)
    # 300.5 - x, rounded to even and clipped: 256.5, 255.5, 253.5; 46.5, 47.5, 45.5
    np.testing.assert_array_equal(
        Stylizer(write_network(graph), provider="cpu")(frame), [[[255, 255, 254], [46, 48, 46]]]
    )


# Files that are no networks of ours


def test_network_of_another_project(write_network: Any) -> None:
    graph = "g (float[1, 3, 224, 224] input1) => (float[1, 3, 224, 224] output1) { output1 = Identity(input1) }"
    frame = np.arange(40 * 50 * 3, dtype=np.uint32).reshape(40, 50, 3).astype(np.uint8)
    with Stylizer(write_network(graph), provider="cpu") as stylizer:
        assert np.array_equal(stylizer(frame), frame)


def test_network_that_pads_and_does_not_crop(write_network: Any) -> None:
    graph = """
    g (uint8[N, H, W, 3] frame) => (uint8[N, V, U, 3] stylized)
    <int64[8] pads = {0, 0, 0, 0, 0, 1, 3, 0}> { stylized = Pad<mode = "edge">(frame, pads) }"""
    with pytest.raises(StyleError, match=r"turns \(1, 67, 65, 3\) into \(1, 68, 68, 3\); expected the same size"):
        Stylizer(write_network(graph), provider="cpu")


FAILS = """
g (uint8[N, H, W, 3] frame) => (uint8[N, H, W, 3] stylized) <int64[4] size = {1, 9, 9, 3}> {
    stylized = Reshape(frame, size)
}"""


def test_network_that_fails_is_found_out_at_once(write_network: Any, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StyleError, match="fails on a test picture") as caught:
        Stylizer(write_network(FAILS), provider="cpu")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_loop_without_end_is_given_up(write_network: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = """
    g (uint8[N, H, W, 3] frame) => (uint8[N, H, W, 3] stylized) <int64 times = {9223372036854775807}, bool go = {1}> {
        stylized = Loop (times, go, frame) <body =
            b (int64 step, bool on, uint8[N, H, W, 3] x) => (bool still, uint8[N, H, W, 3] y) {
                still = Identity(on)
                y = Identity(x)
            }>
    }"""
    monkeypatch.setattr("fastnst.inference.session.try_network", partial(try_network, limit_s=0.5))
    started = time.monotonic()
    with pytest.raises(StyleError, match="has not loaded and stylized a test picture within 0 s"):
        Stylizer(write_network(graph), provider="cpu")
    assert time.monotonic() - started < 60


def test_failure_on_one_size_names_the_size(write_network: Any, capfd: pytest.CaptureFixture[str]) -> None:
    graph = """
    g (uint8[N, H, W, 3] frame) => (uint8[N, H, W, 3] stylized) <int64[1] sixtieth = {60}> {
        row = Gather<axis = 1>(frame, sixtieth)
        none = Sub(row, row)
        stylized = Add(frame, none)
    }"""
    with pytest.raises(InputError, match=r"1 picture\(s\) of 7x5") as caught:
        Stylizer(write_network(graph), provider="cpu")(FRAME)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


# Providers: which is taken is tested in test_choosing.py


def test_auto_says_what_was_skipped_and_why(invert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_gpu(_accelerator: str) -> None:
        raise UnavailableError("no NVIDIA driver was found")

    monkeypatch.setattr(onnx_device, "prepare", no_gpu)
    monkeypatch.setattr(choosing, "candidates", lambda: ("cuda",))
    stylizer = Stylizer(invert)
    assert stylizer.provider == "cpu"
    assert stylizer.skipped == {"cuda": "no NVIDIA driver was found"}
    assert str(stylizer.choice) == "cpu (cuda: no NVIDIA driver was found)"
    np.testing.assert_array_equal(stylizer(FRAME), 255 - FRAME)


def test_looking_for_other_providers_prints_nothing(invert: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Stylizer(invert)
    assert capfd.readouterr() == ("", "")


def test_threads_reach_onnx_runtime(invert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int | None] = []
    opened = cpu.open_session
    monkeypatch.setattr(
        cpu, "open_session", lambda path, entries, threads: (asked.append(threads), opened(path, entries))[1]
    )
    Stylizer(invert, provider="cpu", threads=3)
    assert asked == [3]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("provider", "gpu", "expected one of auto, cpu, cuda, tensorrt"),
        ("threads", 0, "at least 1"),
        ("threads", 99999, "and at most"),
    ],
)
def test_impossible_settings(invert: Path, name: str, value: Any, words: str) -> None:
    with pytest.raises(SettingError, match=words):
        Stylizer(invert, **{name: value})


# Streams


def test_stream_paints_in_order_frames_of_any_size(invert: Path) -> None:
    frames = [FRAME, FRAME[:2], FRAME[::-1]]
    painted = list(Stylizer(invert, provider="cpu").stream(frames))
    assert len(painted) == 3
    for frame, result in zip(frames, painted, strict=True):
        np.testing.assert_array_equal(result, 255 - frame)


def test_stream_takes_a_frame_only_when_a_result_is_asked_for(invert: Path) -> None:
    taken: list[int] = []

    def camera() -> Iterator[np.ndarray]:
        for number in range(100):
            taken.append(number)
            yield FRAME

    stream = Stylizer(invert, provider="cpu").stream(camera())
    assert taken == []
    next(stream)
    next(stream)
    assert taken == [0, 1]


def test_stream_passes_weights_and_strength_on(write_network: Any) -> None:
    stylizer = Stylizer(write_network(MIX), provider="cpu")
    (painted,) = stylizer.stream([FRAME], style_weights=(0, 1), strength=0.5)
    assert painted[0, 0, 0] == 100
