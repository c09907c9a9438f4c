"""How `fastnst doctor` judges what its probes say."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from fastnst.diagnosis import examine
from fastnst.diagnosis.examine import (
    PACKAGES,
    Diagnosis,
    Finding,
    judge_cameras,
    judge_codecs,
    judge_installation,
    judge_providers,
    judge_styles,
    judge_weights,
    providers_of,
)
from fastnst.diagnosis.probes import Answer
from fastnst.inference.style_files import StyleFile
from fastnst.machine import install_line

FINE = {package.module: Answer([{"imported": package.module}]) for package in PACKAGES}
VERSIONS = {
    "numpy": "2.1",
    "pillow": "11.0",
    "onnxruntime": "1.24",
    "openvino": "2026.1",
    "av": "14.0",
    "opencv-python": "5.0",
    "onnx": "1.20",
    "torch": "2.11",
    "torchvision": "0.26",
    "onnxscript": "0.5",
    "tensorboard": "2.17",
    "matplotlib": "3.9",
}


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What pip has installed; tests change it."""
    found = dict(VERSIONS)
    monkeypatch.setattr(examine, "installed", lambda names: {name: found[name] for name in names if name in found})
    return found


def only(findings: list[Finding], name: str) -> Finding:
    (found,) = (finding for finding in findings if finding.name == name)
    return found


# Packages


def test_packages_that_load_do_not_or_take_too_long(versions: dict[str, str]) -> None:
    findings = judge_installation(FINE | {"torch": Answer([{"imported": "torch", "device": "H200"}])})
    assert {finding.status for finding in findings} == {"ok"}
    assert only(findings, "torch").detail == "2.11, computes on H200"
    assert [finding.name for finding in findings] == ["Python", "fastnst", *VERSIONS]
    found = only(judge_installation(FINE | {"torch": Answer([{"error": "OSError: libcudart"}])}), "torch")
    assert (found.status, found.mend) == ("wrong", "python -m pip install --force-reinstall torch")
    found = only(judge_installation(FINE | {"onnx": Answer([], "gave no answer in 90 s")}), "onnx")
    assert found.status == "wrong"
    assert "gave no answer in 90 s, maybe because this computer is busy; for large pictures" in found.detail
    assert found.mend == "fastnst doctor"


def test_packages_that_are_not_there(versions: dict[str, str]) -> None:
    missing = {"error": "ModuleNotFoundError: No module named 'x'"}
    versions.clear()
    findings = judge_installation({module: Answer([missing]) for module in FINE})
    assert only(findings, "onnxruntime").status == "broken"
    assert only(findings, "onnxruntime").mend == "python -m pip install onnxruntime"
    assert only(findings, "openvino") == Finding(
        *("versions", "openvino", "absent", "not installed; for painting faster on the CPU"),
        "python -m pip install openvino",
    )
    assert only(findings, "av").status == "wrong"
    for name in ("torch", "torchvision", "onnxscript", "tensorboard", "matplotlib"):
        assert only(findings, name) == Finding(
            *("versions", name, "absent", "not installed; for training"), f"python -m {install_line('train')}"
        )


def test_a_package_that_does_not_load(versions: dict[str, str]) -> None:
    findings = judge_installation(
        FINE
        | {
            "cv2": Answer([{"error": "ImportError: libGL.so.1: cannot open shared object file"}]),
            "onnxruntime": Answer([], "crashed (signal 11)"),
            "openvino": Answer([{"error": "ImportError: libtbb"}]),
        }
    )
    opencv = only(findings, "opencv-python")
    assert opencv.status == "wrong"
    assert opencv.detail.startswith("5.0 does not load (ImportError: libGL.so.1")
    assert opencv.mend == "sudo apt-get install -y libgl1 libglib2.0-0"
    runtime = only(findings, "onnxruntime")
    assert (runtime.status, runtime.detail) == ("broken", "1.24 does not load (crashed (signal 11)); for painting")
    assert runtime.mend == "python -m pip install --force-reinstall onnxruntime"
    assert only(findings, "openvino").status == "wrong"


@pytest.mark.parametrize("cuda", [True, False])
def test_the_extra_gpu_is_fine_until_its_files_are_replaced(versions: dict[str, str], cuda: bool) -> None:
    versions |= {"onnxruntime-gpu": "1.23.2", "onnxruntime": "1.24.1"}
    answer = Answer([{"imported": "onnxruntime", "cuda": cuda}])
    findings = judge_installation(FINE | {"onnxruntime": answer})
    assert only(findings, "onnxruntime-gpu") == Finding("versions", "onnxruntime-gpu", "ok", "1.23.2")
    assert [finding for finding in findings if finding.status != "ok"] == (
        []
        if cuda
        else [
            Finding(
                *("versions", "onnxruntime", "wrong"),
                "onnxruntime 1.24.1 was installed over onnxruntime-gpu 1.23.2; NVIDIA's GPU is not used",
                "python -m pip install --force-reinstall --no-deps onnxruntime-gpu==1.23.2",
            )
        ]
    )


def test_two_onnx_runtimes_side_by_side(versions: dict[str, str]) -> None:
    versions |= {"onnxruntime-openvino": "1.23", "onnxruntime": "1.24.1"}
    found = only(judge_installation(FINE), "onnxruntime")
    assert found.status == "wrong"
    assert found.detail == (
        "onnxruntime-openvino 1.23 and onnxruntime 1.24.1 overwrite each other's files; remove onnxruntime"
    )
    assert found.mend == (
        "python -m pip uninstall -y onnxruntime-openvino onnxruntime && "
        "python -m pip install --force-reinstall --no-deps onnxruntime-openvino==1.23"
    )


def test_two_opencvs_side_by_side(versions: dict[str, str]) -> None:
    versions["opencv-python-headless"] = "4.9"
    assert "remove opencv-python-headless" in only(judge_installation(FINE), "cv2").detail


def test_versions_as_pip_says() -> None:
    found = examine.installed(["numpy", "nonsuch-package"])
    assert list(found) == ["numpy"]
    assert found["numpy"][0].isdecimal()


def test_two_onnx_runtimes_as_pip_leaves_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("onnxruntime_directml-1.23.0", "onnxruntime_openvino-1.23.0"):
        (tmp_path / f"{name}.dist-info").mkdir()
        text = "Metadata-Version: 2.1\nName: {}\nVersion: {}\n".format(*name.split("-"))
        (tmp_path / f"{name}.dist-info" / "METADATA").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    found = examine.installed(examine.ONNX_RUNTIMES)
    assert {"onnxruntime-directml", "onnxruntime-openvino"} <= found.keys()
    (conflict,) = (finding for finding in judge_installation(FINE) if "overwrite" in finding.detail)
    assert "onnxruntime-openvino" in conflict.detail


# Providers


RUNS = Answer([{"precision": "float32", "on_cpu": []}])


def provider(name: Any, answer: Answer, runtime: str = "onnxruntime-gpu", driver: bool = False) -> Finding:
    (finding,) = judge_providers({name: answer}, runtime=runtime, driver=driver)
    return finding


def fails(error: str) -> Answer:
    return Answer([{"error": error}])


def test_providers_that_run_crash_or_hang_and_are_those_of_the_system() -> None:
    assert provider("cpu", RUNS) == Finding("providers", "cpu", "ok")
    coarse = Answer([{"precision": "bfloat16", "on_cpu": ["Pad", "Resize"]}])
    assert provider("openvino", coarse).detail == "in bfloat16; Pad, Resize on the CPU"
    assert provider("cuda", Answer([], "crashed (signal 11)"), driver=True).detail == "crashed (signal 11)"
    # It answered, and then fell over: nothing to rely on.
    assert provider("openvino", Answer(RUNS.lines, "gave no answer in 90 s")).status == "wrong"
    assert providers_of("linux") == ("cpu", "openvino", "cuda", "tensorrt", "webgpu")
    assert providers_of("win32") == ("cpu", "openvino", "cuda", "tensorrt", "directml", "webgpu")
    assert providers_of("darwin") == ("cpu", "openvino", "coreml", "webgpu")


@pytest.mark.parametrize(
    ("name", "error", "runtime", "driver", "status", "mend"),
    [
        ("cpu", "x", "onnxruntime", False, "broken", "install --force-reinstall onnxruntime"),
        ("openvino", "not installed; pip install openvino", "onnxruntime", False, "absent", "install openvino"),
        ("openvino", "a test picture", "onnxruntime", False, "wrong", "install --force-reinstall openvino"),
        ("cuda", "no NVIDIA driver was found", "onnxruntime-gpu", False, "absent", None),
        ("cuda", "could not load", "onnxruntime-gpu", True, "wrong", install_line("gpu")[4:]),
        ("cuda", "built without CUDA", "onnxruntime", True, "absent", install_line("gpu")[4:]),
        (
            *("cuda", "built without CUDA", "onnxruntime-gpu", True, "wrong"),
            "install --force-reinstall --no-deps onnxruntime-gpu",
        ),
        (
            *("cuda", "built without CUDA", "onnxruntime-directml", True, "wrong"),
            f"uninstall -y onnxruntime-directml && python -m {install_line('gpu')}",
        ),
        ("tensorrt", "no NVIDIA driver was found", "onnxruntime-gpu", False, "absent", None),
        ("tensorrt", "could not load", "onnxruntime-gpu", True, "absent", "install tensorrt"),
        ("tensorrt", "built without TensorRT", "onnxruntime", True, "absent", None),
        ("webgpu", "no GPU was found for it", "onnxruntime-gpu", False, "absent", None),
        ("webgpu", "is a package of its own", "onnxruntime", False, "absent", "install onnxruntime-ep-webgpu"),
        ("directml", "built without DirectML", "onnxruntime-gpu", False, "absent", None),
        (
            *("directml", "could not load", "onnxruntime-directml", False, "wrong"),
            "install --force-reinstall onnxruntime-directml",
        ),
        ("coreml", "a test picture", "onnxruntime", False, "wrong", "install --force-reinstall onnxruntime"),
    ],
)
def test_providers_that_do_not(
    name: str, error: str, runtime: str, driver: bool, status: str, mend: str | None
) -> None:
    finding = provider(name, fails(error), runtime, driver)
    assert (finding.status, finding.detail) == (status, error)
    assert finding.mend == (None if mend is None else f"python -m pip {mend}")


# Cameras and codecs


def test_cameras() -> None:
    found = judge_cameras(
        Answer(
            [
                {"camera": 0, "size": "1280x720"},
                {"camera": 1, "error": "gives no picture"},
                {"camera": 2, "error": "/dev/video2 may not be opened by this user"},
            ]
        )
    )
    assert found == [
        Finding("cameras", "camera 0", "ok", "1280x720"),
        Finding(
            *("cameras", "camera 2", "wrong", "/dev/video2 may not be opened by this user"),
            "sudo usermod -aG video $USER  # then log in anew",
        ),
    ]
    assert judge_cameras(Answer()) == [Finding("cameras", "cameras", "absent", "none was found")]
    assert judge_cameras(Answer([{"camera": 1, "error": "gives no picture"}]))[0].status == "absent"
    (found,) = judge_cameras(Answer([], "gave no answer in 20 s"))
    assert (found.status, found.detail) == ("wrong", "looking for cameras gave no answer in 20 s")


def test_codecs() -> None:
    found = judge_codecs(
        Answer(
            [
                {"encoder": "libx264", "codec": "h264", "error": None},
                {"encoder": "libsvtav1", "codec": "av1", "error": "missing"},
                {"encoder": "ffv1", "codec": "ffv1", "error": None},
                {"encoder": "h264_qsv", "codec": None, "error": "no device"},
                {"encoder": "h264_nvenc", "codec": None, "error": None},
            ]
        )
    )
    assert found == [
        Finding("codecs", "encoders", "ok", "h264, ffv1"),
        Finding(
            *("codecs", "av1", "wrong", "FFmpeg was built without it"), "python -m pip install --force-reinstall av"
        ),
        Finding("codecs", "hardware", "ok", "h264_nvenc"),
    ]
    found = judge_codecs(Answer([{"encoder": "libx264", "codec": "h264", "error": None}], "crashed (signal 11)"))
    assert found[0] == Finding("codecs", "encoders", "ok", "h264")
    assert found[-1] == Finding("codecs", "encoders", "wrong", "trying them crashed (signal 11)")


# Weights and styles


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(examine.WEIGHTS_VARIABLE, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def test_no_weights_yet_and_those_of_the_environment(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = judge_weights()
    assert (found.status, found.mend) == ("absent", None)
    assert str(hub) in found.detail
    monkeypatch.setenv(examine.WEIGHTS_VARIABLE, str(hub / "a.pth"))
    (found,) = judge_weights()
    assert (found.status, found.detail) == ("wrong", f"{hub / 'a.pth'}: no such file")
    (hub / "a.pth").touch()
    assert judge_weights() == [Finding("weights", examine.WEIGHTS_VARIABLE, "ok", str(hub / "a.pth"))]


def test_weights_that_torch_has_fetched(hub: Path) -> None:
    digest = hashlib.sha256(b"weights").hexdigest()[:8]
    good, bad = hub / f"vgg19-{digest}.pth", hub / "vgg16-397923af.pth"
    for path in (good, bad):
        path.write_bytes(b"weights")
    damaged, whole = judge_weights()
    assert whole == Finding("weights", good.name, "ok", str(good))
    assert (damaged.name, damaged.status) == (bad.name, "wrong")
    assert "is damaged" in damaged.detail
    assert damaged.mend is not None
    assert str(bad) in damaged.mend


def test_where_torch_keeps_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pytest.importorskip("torch.hub")
    monkeypatch.delenv("TORCH_HOME", raising=False)
    assert examine.hub_folder() == Path(hub.get_dir()) / "checkpoints"
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert examine.hub_folder() == Path(hub.get_dir()) / "checkpoints"
    monkeypatch.setenv("TORCH_HOME", "~/torch")
    assert examine.hub_folder() == Path(hub.get_dir()).expanduser() / "checkpoints"


def test_styles() -> None:
    read = StyleFile("starry", Path("starry.onnx"), 1, "bundled", network="johnson 16 5", license="CC0-1.0")
    words = asdict(read)  # as the probe gives it
    found = judge_styles(
        Answer(
            [
                words,
                words | {"name": "own", "origin": "yours", "error": "own.onnx: not readable"},
                words | {"name": "wave", "error": "wave.onnx: not readable"},
            ]
        )
    )
    assert found == [
        Finding("styles", "starry", "ok", "johnson 16 5, CC0-1.0, bundled"),
        Finding("styles", "own", "wrong", "own.onnx: not readable", "fastnst styles remove own"),
        Finding(
            *("styles", "wave", "wrong", "wave.onnx: not readable"), "python -m pip install --force-reinstall fastnst"
        ),
    ]
    (found,) = judge_styles(Answer())
    assert (found.status, found.mend) == ("wrong", "fastnst train --style PAINTING.jpg")
    assert [finding.detail for finding in judge_styles(Answer([], "crashed (signal 11)"))] == [
        "loading them crashed (signal 11)"
    ]


# Reports


def test_only_what_is_broken_stops_everything_also_as_json() -> None:
    fine = Finding("providers", "cpu", "ok")
    wrong, broken = Finding("codecs", "av1", "wrong"), Finding("providers", "cpu", "broken")
    absent = Finding("cameras", "cameras", "absent")
    assert Diagnosis((fine, absent, wrong)).works
    assert Diagnosis((fine, absent, wrong)).wrong == [wrong]
    assert not Diagnosis((wrong, broken)).works
    assert Diagnosis((wrong, broken)).wrong == [wrong, broken]
    read = json.loads(Diagnosis((Finding("providers", "cpu", "broken", "x", "y"),)).as_json())
    assert read == {
        "works": False,
        "findings": [{"area": "providers", "name": "cpu", "status": "broken", "detail": "x", "mend": "y"}],
    }
