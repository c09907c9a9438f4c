"""Which back-end is taken: stand-ins for what this computer does not have."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastnst.backends import choosing
from fastnst.backends.choosing import Choice, NetworkFile, choose_backend, psnr_db
from fastnst.backends.choosing import test_picture as picture
from fastnst.backends.contract import Array, Backend, Precision, Provider, UnavailableError
from fastnst.errors import SettingError

NETWORK = NetworkFile(Path("a.onnx"), lambda frames: {"frame": frames})


def invert(frames: Array) -> Array:
    return 255 - frames


class Standin:
    """A back-end that paints with a function, and takes its time over large pictures."""

    def __init__(
        self,
        provider: Provider,
        *,
        paint: Callable[[Array], Array] = invert,
        elapsed_s: float = 0.0,
        precision: Precision = "float32",
        on_cpu: tuple[str, ...] = (),
    ) -> None:
        self.provider, self.precision, self.on_cpu = provider, precision, on_cpu
        self._paint, self._elapsed_s = paint, elapsed_s

    def run(self, feeds: Mapping[str, Array]) -> Array:
        time.sleep(self._elapsed_s if feeds["frame"].size > 100_000 else 0)
        return self._paint(feeds["frame"])


def fail(_frames: Array) -> Array:
    raise RuntimeError("CUDNN_STATUS_NOT_SUPPORTED\nat line 7")


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let these back-ends be what can be opened, and `auto` try them in this order."""

    def install(*backends: Backend | tuple[Provider, Exception]) -> None:
        named = [entry if isinstance(entry, tuple) else (entry.provider, entry) for entry in backends]
        monkeypatch.setattr(choosing, "candidates", lambda: tuple(dict.fromkeys(name for name, _ in named)))

        def opened(_network: NetworkFile, provider: Provider) -> Any:
            for name, backend in named:
                if name == provider:
                    if isinstance(backend, Exception):
                        raise backend
                    yield backend

        monkeypatch.setattr(choosing, "_opened", opened)

    return install


def choose(provider: Any = "auto", *, cpu_s: float = 0.02) -> tuple[Backend, Choice]:
    cpu = Standin("cpu", elapsed_s=cpu_s)
    return choose_backend(NETWORK, cpu, invert(picture()), provider)


def test_the_fastest_is_taken(install: Any) -> None:
    fast = Standin("openvino", precision="bfloat16")
    install(Standin("cuda", elapsed_s=0.01), fast)
    backend, choice = choose()
    assert backend is fast
    assert choice.provider == "openvino"
    assert choice.reason.endswith(" ms for a 320x240 picture")
    assert list(choice.skipped) == ["cpu", "cuda"]
    assert all(reason.endswith(" ms") for reason in choice.skipped.values())
    assert str(choice).startswith("openvino in bfloat16 (")
    assert "; cuda: 1" in str(choice)


@pytest.mark.parametrize(("elapsed_s", "taken"), [(0.0185, "cpu"), (0.0175, "openvino")])
def test_the_cpu_is_taken_where_it_is_as_fast(
    install: Any, monkeypatch: pytest.MonkeyPatch, elapsed_s: float, taken: str
) -> None:
    install(Standin("openvino"))
    monkeypatch.setattr(choosing, "_time_all", lambda *_arguments: {"cpu": 0.02, "openvino": elapsed_s})
    backend, choice = choose()
    assert backend.provider == taken
    times = {"cpu": "20 ms", "openvino": f"{elapsed_s * 1e3:.0f} ms"}
    assert choice.reason == f"{times.pop(taken)} for a 320x240 picture"
    assert choice.skipped == times


@pytest.mark.parametrize(
    ("painted", "words"),
    [
        (fail, r"a test picture failed \(CUDNN_STATUS_NOT_SUPPORTED\)"),
        (lambda frames: frames, r"comes out differently than on the CPU \(\d dB PSNR\)"),
        (lambda frames: invert(frames)[:, :-1], r"differently than on the CPU \(-inf dB PSNR\)"),
        (lambda frames: frames * np.float32("nan"), r"differently than on the CPU \(-inf dB PSNR\)"),
    ],
    ids=["fails", "other picture", "other size", "not a number"],
)
def test_one_that_does_not_really_work(install: Any, painted: Any, words: str) -> None:
    install(Standin("cuda", paint=painted))
    backend, choice = choose()
    assert backend.provider == "cpu"
    assert choice.reason == ""
    with pytest.raises(SettingError, match=f"provider cuda cannot run here: .*{words}.*auto takes what can") as caught:
        choose("cuda")
    assert "\n" not in str(caught.value)
    assert choice.skipped == {
        "cuda": str(caught.value).split(": ", 1)[1].removesuffix(". provider auto takes what can")
    }


def test_one_that_cannot_be_opened(install: Any) -> None:
    install(("cuda", UnavailableError("no NVIDIA driver was found")))
    backend, choice = choose()
    assert backend.provider == "cpu"
    assert choice == Choice("cpu", skipped={"cuda": "no NVIDIA driver was found"})
    with pytest.raises(SettingError, match="provider cuda cannot run here: no NVIDIA driver was found"):
        choose("cuda")


def test_one_by_name_is_taken_however_slow_and_the_cpu_without_a_try(install: Any) -> None:
    slow = Standin("directml", elapsed_s=9, on_cpu=("Pad", "Resize"))
    install(slow)
    backend, choice = choose("directml")
    assert backend is slow
    assert str(choice) == "directml (Pad, Resize on the CPU)"
    install(("cuda", AssertionError("was tried")))
    assert choose("cpu")[1] == Choice("cpu")


def test_slightly_different_pictures_are_alright(install: Any) -> None:
    # Off by 4 levels everywhere: 36.1 dB. By 5: 34.2 dB.
    install(Standin("openvino", paint=lambda frames: np.where(frames > 127, invert(frames) + 4, invert(frames) - 4)))
    assert choose("openvino")[0].provider == "openvino"
    install(Standin("openvino", paint=lambda frames: np.where(frames > 127, invert(frames) + 5, invert(frames) - 5)))
    with pytest.raises(SettingError, match=r"differently than on the CPU \(34 dB PSNR\)"):
        choose("openvino")


def test_full_precision_where_the_fast_one_is_too_coarse(install: Any) -> None:
    exact = Standin("openvino")
    install(Standin("openvino", paint=lambda frames: invert(frames) // 64 * 64, precision="bfloat16"), exact)
    assert choose("openvino")[0] is exact


def test_out_of_memory_at_a_larger_size(install: Any) -> None:
    install(Standin("cuda", paint=lambda frames: fail(frames) if frames.size > 100_000 else invert(frames)))
    backend, choice = choose()
    assert backend.provider == "cpu"
    assert choice.skipped == {"cuda": "failed on a larger picture"}


def test_likeness_by_hand() -> None:
    grey = np.full((1, 2, 2, 3), 100, np.uint8)
    assert psnr_db(grey, grey) == np.inf
    # 255^2 / 25 = 2601 = 34.15 dB
    assert psnr_db(grey + 5, grey) == pytest.approx(34.151, abs=0.001)
    assert psnr_db(grey, grey + 5) == psnr_db(grey + 5, grey)
    assert psnr_db(grey[:, :1], grey) == -np.inf


@pytest.mark.parametrize(
    ("platform", "expected"),
    [
        ("linux", ("cuda", "openvino")),
        ("win32", ("cuda", "directml", "openvino")),
        ("darwin", ("coreml", "openvino")),
    ],
)
def test_what_auto_tries(monkeypatch: pytest.MonkeyPatch, platform: str, expected: tuple[str, ...]) -> None:
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setattr(choosing, "has_webgpu", lambda: False)
    assert choosing.candidates() == expected
    monkeypatch.setattr(choosing, "has_webgpu", lambda: True)
    assert choosing.candidates() == (*expected[:-1], "webgpu", expected[-1])


def test_test_pictures_are_of_every_colour() -> None:
    assert picture().shape == (1, 67, 65, 3)
    assert picture().dtype == np.uint8
    np.testing.assert_array_equal(picture(), picture())
    assert all(np.ptp(picture()[..., channel]) > 200 for channel in range(3))
