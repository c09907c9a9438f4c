"""Packages: which are there, which load, and which overwrite each other."""

import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from fastnst.diagnosis.findings import Finding, Status
from fastnst.diagnosis.probing import LATE, Answer

PIP = "python -m pip"


@dataclass(frozen=True)
class Package:
    """A package that fastnst uses."""

    module: str
    """What is imported."""

    distributions: tuple[str, ...]
    """What pip calls it, the one that fastnst asks for first. Several bring the same module, and overwrite it."""

    purpose: str
    without: Status
    """How bad it is where it does not load."""


ONNX_RUNTIMES = (
    "onnxruntime-gpu",
    "onnxruntime",
    "onnxruntime-directml",
    "onnxruntime-openvino",
    "onnxruntime-rocm",
    "onnxruntime-migraphx",
    "onnxruntime-training",
    "onnxruntime-silicon",
    "ort-nightly",
    "ort-nightly-gpu",
    "ort-nightly-directml",
)

PACKAGES = (
    Package("numpy", ("numpy",), "everything", "broken"),
    Package("PIL", ("pillow",), "pictures", "broken"),
    Package("onnxruntime", ONNX_RUNTIMES, "painting", "broken"),
    Package("openvino", ("openvino",), "painting faster on the CPU", "absent"),
    Package("av", ("av",), "films", "wrong"),
    Package(
        "cv2",
        ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless"),
        "webcams and steadiness",
        "wrong",
    ),
    Package("onnx", ("onnx",), "export and large pictures", "wrong"),
    Package("torch", ("torch",), "training and the exact method", "wrong"),
    Package("torchvision", ("torchvision",), "training and the exact method", "wrong"),
)


def installed(distributions: Iterable[str]) -> dict[str, str]:
    """Return the versions of those distributions that are installed."""
    found = {}
    for name in distributions:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def judge_installation(imports: Mapping[str, Answer]) -> list[Finding]:
    """Judge Python and the packages, from what came of importing them."""
    findings = [
        Finding("versions", "Python", "ok", f"{platform.python_version()} on {platform.platform()}"),
        Finding("versions", "fastnst", "ok", installed(["fastnst"]).get("fastnst", "not installed, from a checkout")),
    ]
    for package in PACKAGES:
        found = installed(package.distributions)
        findings.append(_judge(package, found, imports[package.module]))
        if len(found) > 1:
            findings.append(_judge_conflict(package, found))
    return findings


def _judge(package: Package, found: Mapping[str, str], imported: Answer) -> Finding:
    name = next(iter(found), package.distributions[0])
    error = imported.first.get("error")
    if error is None:
        device = imported.first.get("device")
        detail = found.get(name, "version unknown") + (f", computes on {device}" if device else "")
        return Finding("versions", name, "ok", detail)
    if not found:
        detail = f"not installed; for {package.purpose}"
        return Finding("versions", name, package.without, detail, f"{PIP} install {name}")
    status: Status = "wrong" if package.without == "absent" else package.without
    if error.startswith(LATE):
        detail = f"{found[name]} {error}, maybe because this computer is busy; for {package.purpose}"
        return Finding("versions", name, status, detail, "fastnst doctor")
    detail = f"{found[name]} does not load ({error}); for {package.purpose}"
    return Finding("versions", name, status, detail, _mend_import(name, error))


def _mend_import(name: str, error: str) -> str:
    if name.startswith("opencv") and ("libGL" in error or "libgthread" in error):
        return "sudo apt-get install -y libgl1 libglib2.0-0"
    return f"{PIP} install --force-reinstall {name}"


def _judge_conflict(package: Package, found: Mapping[str, str]) -> Finding:
    keep, *surplus = found
    names = " and ".join(f"{name} {number}" for name, number in found.items())
    detail = f"{names} overwrite each other's files; remove {' and '.join(surplus)}"
    # What is removed takes files of what is kept along.
    mend = f"{PIP} uninstall -y {' '.join(found)} && {PIP} install --force-reinstall --no-deps {keep}=={found[keep]}"
    return Finding("versions", package.module, "wrong", detail, mend)
