"""All that `fastnst doctor` looks at: packages, providers, cameras, codecs, weights and styles, and what mends each."""

import hashlib
import json
import os
import platform
import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal, TypeAlias

from fastnst.backends.contract import Provider
from fastnst.diagnosis.probes import LATE, Answer, probe
from fastnst.machine import TRAINING_PACKAGES, has_nvidia_driver, install_line

Area: TypeAlias = Literal["versions", "providers", "cameras", "codecs", "weights", "styles"]
Status: TypeAlias = Literal["ok", "absent", "wrong", "broken"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    area: Area
    name: str
    status: Status
    """ok; absent: not there, and need not be; wrong: there, and does not work; broken: wrong, and nothing goes without
    it."""

    detail: str = ""
    """What was found, or what is wrong."""

    mend: str | None = None
    """The one command that fixes or adds it."""


@dataclass(frozen=True)
class Diagnosis:
    """All that was found."""

    findings: tuple[Finding, ...]

    @property
    def wrong(self) -> list[Finding]:
        """What ought to be mended."""
        return [finding for finding in self.findings if finding.status in {"wrong", "broken"}]

    @property
    def works(self) -> bool:
        """Whether all that is needed to paint a picture works."""
        return not any(finding.status == "broken" for finding in self.findings)

    def as_json(self) -> str:
        """For programs, and for reports of errors."""
        content = {"works": self.works, "findings": [asdict(finding) for finding in self.findings]}
        return json.dumps(content, indent=2) + "\n"


PIP = "python -m pip"


@dataclass(frozen=True)
class Package:
    """A package that fastnst uses."""

    module: str
    """What is imported."""

    distributions: tuple[str, ...]
    """What pip calls it; several bring the same module, and overwrite it: then the first is kept."""

    purpose: str
    without: Status
    """How bad it is where it is not installed, or does not load; where it need not be there, only the latter is bad."""

    extra: str = ""
    """Extra of fastnst that brings it with what else is needed; empty: pip installs the distribution alone."""

    @property
    def asked(self) -> str:
        """What fastnst asks pip for: what is called like its module, if there is one."""
        return self.module if self.module in self.distributions else self.distributions[0]


ONNX_RUNTIMES = (
    "onnxruntime-gpu",
    *(f"onnxruntime-{kind}" for kind in ("directml", "openvino", "rocm", "migraphx", "training", "silicon")),
    "ort-nightly",
    "ort-nightly-gpu",
    "ort-nightly-directml",
    "onnxruntime",  # last: what fastnst asks for, and any of the others replaces
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
    Package("onnx", ("onnx",), "large pictures and networks of others", "wrong"),
    *(Package(name, (name,), "training", "absent", "train") for name in TRAINING_PACKAGES),
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
        if set(found) == {"onnxruntime-gpu", "onnxruntime"}:
            findings += _judge_gpu(found, imports[package.module])
        elif len(found) > 1:
            findings.append(_judge_conflict(package, found))
    return findings


def _judge(package: Package, found: Mapping[str, str], imported: Answer) -> Finding:
    name = next(iter(found), package.asked)
    error = imported.first.get("error")
    if error is None:
        device = imported.first.get("device")
        detail = found.get(name, "version unknown") + (f", computes on {device}" if device else "")
        return Finding("versions", name, "ok", detail)
    if not found:
        detail = f"not installed; for {package.purpose}"
        return Finding("versions", name, package.without, detail, _install(package.extra) or f"{PIP} install {name}")
    status: Status = "wrong" if package.without == "absent" else package.without
    if error.startswith(LATE):
        detail = f"{found[name]} {error}, maybe because this computer is busy; for {package.purpose}"
        return Finding("versions", name, status, detail, "fastnst doctor")
    detail = f"{found[name]} does not load ({error}); for {package.purpose}"
    mend = f"{PIP} install --force-reinstall {name}"
    if name.startswith("opencv") and ("libGL" in error or "libgthread" in error):
        mend = "sudo apt-get install -y libgl1 libglib2.0-0"
    return Finding("versions", name, status, detail, mend)


def _judge_gpu(found: Mapping[str, str], imported: Answer) -> list[Finding]:
    """Say where the extra `gpu` has lost its files again: an update of onnxruntime puts its own in their place."""
    if imported.first.get("cuda", True):  # what does not load is a finding already
        return []
    gpu, cpu = found["onnxruntime-gpu"], found["onnxruntime"]
    detail = f"onnxruntime {cpu} was installed over onnxruntime-gpu {gpu}; NVIDIA's GPU is not used"
    return [Finding("versions", "onnxruntime", "wrong", detail, _again(f"onnxruntime-gpu=={gpu}"))]


def _install(extra: str) -> str:
    return f"python -m {install_line(extra)}" if extra else ""


def _again(distribution: str) -> str:
    return f"{PIP} install --force-reinstall --no-deps {distribution}"


def _judge_conflict(package: Package, found: Mapping[str, str]) -> Finding:
    keep, *surplus = found
    names = " and ".join(f"{name} {number}" for name, number in found.items())
    detail = f"{names} overwrite each other's files; remove {' and '.join(surplus)}"
    # What is removed takes files of what is kept along.
    mend = f"{PIP} uninstall -y {' '.join(found)} && {_again(f'{keep}=={found[keep]}')}"
    return Finding("versions", package.module, "wrong", detail, mend)


def providers_of(system: str) -> tuple[Provider, ...]:
    """Return what can compute on a system (sys.platform)."""
    if system == "darwin":
        return ("cpu", "openvino", "coreml", "webgpu")
    return ("cpu", "openvino", "cuda", "tensorrt", *(("directml",) if system == "win32" else ()), "webgpu")


def judge_providers(answers: Mapping[Provider, Answer], *, runtime: str, driver: bool) -> list[Finding]:
    """Judge the providers, from what came of painting on them.

    `runtime` is ONNX Runtime's distribution that is installed; `driver`: NVIDIA's driver is there.
    """
    findings = []
    for provider, answer in answers.items():
        found = answer.first
        error = answer.failure or found.get("error")
        if error is None:
            details = [f"in {found['precision']}"] if found["precision"] != "float32" else []
            details += [f"{', '.join(found['on_cpu'])} on the CPU"] if found["on_cpu"] else []
            findings.append(Finding("providers", provider, "ok", "; ".join(details)))
        else:
            status, mend = _judge_failure(provider, error, runtime, driver)
            findings.append(Finding("providers", provider, status, error, mend))
    return findings


def _judge_failure(provider: Provider, error: str, runtime: str, driver: bool) -> tuple[Status, str | None]:
    """How bad it is that a provider does not run, and what mends it."""
    again = f"{PIP} install --force-reinstall {runtime}"
    if provider == "cpu":
        return "broken", again
    if provider == "openvino":
        there = not error.startswith("not installed")
        return "wrong" if there else "absent", f"{PIP} install {'--force-reinstall ' if there else ''}openvino"
    if provider == "cuda":
        return _judge_cuda(error, runtime) if driver else ("absent", None)
    if provider == "tensorrt":
        return "absent", f"{PIP} install tensorrt" if driver and runtime == "onnxruntime-gpu" else None
    if provider == "webgpu" and "no GPU was found" not in error:
        return "absent", f"{PIP} install onnxruntime-ep-webgpu"
    elsewhere = provider == "directml" and runtime != "onnxruntime-directml"
    return ("absent", None) if elsewhere or provider == "webgpu" else ("wrong", again)


def _judge_cuda(error: str, runtime: str) -> tuple[Status, str]:
    install = _install("gpu")
    if runtime == "onnxruntime":
        return "absent", install  # as `pip install fastnst` leaves it
    if runtime == "onnxruntime-gpu":
        return "wrong", _again(runtime) if "built without" in error else install
    return "wrong", f"{PIP} uninstall -y {runtime} && {install}"


def judge_cameras(answer: Answer) -> list[Finding]:
    """Judge the cameras, from what came of taking a picture with each."""
    findings = []
    for line in answer.lines:
        name = f"camera {line['camera']}"
        error = line.get("error")
        if error is None:
            findings.append(Finding("cameras", name, "ok", line["size"]))
        elif "may not be opened" in error:
            mend = "sudo usermod -aG video $USER  # then log in anew"
            findings.append(Finding("cameras", name, "wrong", error, mend))
    if answer.failure is not None:
        findings.append(Finding("cameras", "search", "wrong", f"looking for cameras {answer.failure}"))
    if not findings:
        findings.append(Finding("cameras", "cameras", "absent", "none was found"))
    return findings


def judge_codecs(answer: Answer) -> list[Finding]:
    """Judge FFmpeg's encoders, from what came of encoding two frames with each."""
    if not answer.lines:
        return [Finding("codecs", "encoders", "absent", f"not tried: {answer.failure or 'no answer'}")]
    findings = []
    working = [line["codec"] for line in answer.lines if line["codec"] and line["error"] is None]
    if working:
        findings.append(Finding("codecs", "encoders", "ok", ", ".join(working)))
    for line in answer.lines:
        if line["codec"] and line["error"] is not None:
            detail = "FFmpeg was built without it" if line["error"] == "missing" else line["error"]
            findings.append(Finding("codecs", line["codec"], "wrong", detail, f"{PIP} install --force-reinstall av"))
    hardware = [line["encoder"] for line in answer.lines if line["codec"] is None and line["error"] is None]
    status: Status = "ok" if hardware else "absent"
    findings.append(Finding("codecs", "hardware", status, ", ".join(hardware) or "none works here"))
    if answer.failure is not None:
        findings.append(Finding("codecs", "encoders", "wrong", f"trying them {answer.failure}"))
    return findings


WEIGHTS_VARIABLE = "FASTNST_LOSS_WEIGHTS"
_HASHED_NAME = re.compile(r"vgg1[69]-([0-9a-f]{8})\.pth")


def hub_folder() -> Path:
    """Where torch keeps weights that it has fetched, as torch.hub.get_dir() says; without torch."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    home = os.environ.get("TORCH_HOME")
    return (Path(home).expanduser() if home else cache / "torch") / "hub" / "checkpoints"


def judge_weights() -> list[Finding]:
    """Look at the loss network's weights: a file that the environment names, and those that torch has fetched."""
    findings = []
    named = os.environ.get(WEIGHTS_VARIABLE)
    if named and not Path(named).is_file():
        forget = f"set {WEIGHTS_VARIABLE}=" if sys.platform == "win32" else f"unset {WEIGHTS_VARIABLE}"
        findings.append(Finding("weights", WEIGHTS_VARIABLE, "wrong", f"{named}: no such file", forget))
    elif named:
        findings.append(Finding("weights", WEIGHTS_VARIABLE, "ok", named))
    findings += [_judge_fetched(path) for path in sorted(hub_folder().glob("vgg1[69]-*.pth"))]
    if not findings:
        detail = f"compact, of the package; --loss-network vgg19 fetches VGG-19 (0.5 GB) into {hub_folder()}"
        findings.append(Finding("weights", "loss network", "absent", detail))
    return findings


def _judge_fetched(path: Path) -> Finding:
    match = _HASHED_NAME.fullmatch(path.name)
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
    except OSError as error:
        return Finding("weights", path.name, "wrong", f"{path}: cannot be read ({error.strerror or error})")
    if match is not None and not digest.hexdigest().startswith(match[1]):
        delete = f'del "{path}"' if sys.platform == "win32" else f"rm {shlex.quote(str(path))}"
        return Finding("weights", path.name, "wrong", f"{path}: is damaged; it is fetched again when needed", delete)
    return Finding("weights", path.name, "ok", str(path))


def judge_styles(answer: Answer) -> list[Finding]:
    """Judge the installed styles, from what came of loading each."""
    findings = []
    for line in answer.lines:
        if line["error"] is None:
            detail = ", ".join(filter(None, (line["network"], line["license"], line["origin"])))
            findings.append(Finding("styles", line["name"], "ok", detail))
        else:
            own = line["origin"] == "yours"
            mend = f"fastnst styles remove {line['name']}" if own else f"{PIP} install --force-reinstall fastnst"
            findings.append(Finding("styles", line["name"], "wrong", line["error"], mend))
    if answer.failure is not None:
        findings.append(Finding("styles", "styles", "wrong", f"loading them {answer.failure}"))
    if not findings:
        findings.append(Finding("styles", "styles", "wrong", "none is installed", "fastnst train --style PAINTING.jpg"))
    return findings


_USUAL_S = 90.0
# Building TensorRT's first engine takes a while even for a tiny network, and torch is the largest thing to load.
_PATIENCE_S = {"tensorrt": 180.0, "torch": 180.0, "torchvision": 180.0}


@contextmanager
def _pool() -> Iterator[ThreadPoolExecutor]:
    """Four at a time. Ctrl-C ends the probes that run, for a terminal tells them too; here it keeps others away."""
    pool = ThreadPoolExecutor(4)
    try:
        yield pool
        pool.shutdown()
    except BaseException:
        pool.shutdown(cancel_futures=True)
        raise


def examine() -> Diagnosis:
    """Try everything, each thing in a process of its own, several at a time."""
    with _pool() as pool:

        def submit(kind: str, name: str) -> Future[Answer]:
            return pool.submit(probe, kind, name, timeout_s=_PATIENCE_S.get(name, _USUAL_S))

        imports = {package.module: submit("import", package.module) for package in PACKAGES}
        providers = {provider: submit("provider", provider) for provider in providers_of(sys.platform)}
        cameras = pool.submit(probe, "cameras", timeout_s=20)
        codecs = pool.submit(probe, "codecs")
        styles = pool.submit(probe, "styles")
        weights = judge_weights()
    imported = {module: answer.result() for module, answer in imports.items()}
    findings = judge_installation(imported)
    # Where a package does not load, that is the finding; what rests on it only repeats it.
    loads = {module: "error" not in answer.first for module, answer in imported.items()}
    if loads["onnxruntime"]:
        runtime = next(iter(installed(ONNX_RUNTIMES)), "onnxruntime")
        tried = {provider: answer.result() for provider, answer in providers.items()}
        findings += judge_providers(tried, runtime=runtime, driver=has_nvidia_driver())
    if loads["cv2"]:
        findings += judge_cameras(cameras.result())
    if loads["av"]:
        findings += judge_codecs(codecs.result())
    findings += weights
    if loads["onnxruntime"]:
        findings += judge_styles(styles.result())
    return Diagnosis(tuple(findings))
