"""Providers, cameras and encoders: what really works."""

from collections.abc import Mapping

from fastnst.backends.backend import Provider
from fastnst.diagnosis.findings import Finding, Status
from fastnst.diagnosis.installation import PIP
from fastnst.diagnosis.probing import Answer


def providers_of(system: str) -> tuple[Provider, ...]:
    """Return what can compute on a system (sys.platform)."""
    if system == "darwin":
        return ("cpu", "openvino", "coreml")
    return ("cpu", "openvino", "cuda", "tensorrt", *(("directml",) if system == "win32" else ()))


def judge_providers(answers: Mapping[Provider, Answer], *, runtime: str, driver: bool) -> list[Finding]:
    """Judge the providers, from what came of painting on them.

    Args:
        answers: what came of it.
        runtime: which of ONNX Runtime's distributions is installed.
        driver: NVIDIA's driver is there.
    """
    return [_judge_provider(provider, answer, runtime, driver) for provider, answer in answers.items()]


def _judge_provider(provider: Provider, answer: Answer, runtime: str, driver: bool) -> Finding:
    found = answer.first
    error = answer.failure or found.get("error")
    if error is None:
        details = [f"in {found['precision']}"] if found["precision"] != "float32" else []
        details += [f"{', '.join(found['on_cpu'])} on the CPU"] if found["on_cpu"] else []
        return Finding("providers", provider, "ok", "; ".join(details))
    status, mend = _judge_failure(provider, error, runtime, driver)
    return Finding("providers", provider, status, error, mend)


def _judge_failure(provider: Provider, error: str, runtime: str, driver: bool) -> tuple[Status, str | None]:
    """How bad it is that a provider does not run, and what mends it."""
    again = f"{PIP} install --force-reinstall {runtime}"
    if provider == "cpu":
        return "broken", again
    if provider == "openvino":
        there = not error.startswith("not installed")
        return (
            ("wrong", f"{PIP} install --force-reinstall openvino") if there else ("absent", f"{PIP} install openvino")
        )
    if provider == "cuda":
        return ("wrong", _mend_cuda(runtime)) if driver else ("absent", None)
    if provider == "tensorrt":
        return "absent", f"{PIP} install tensorrt" if driver and runtime == "onnxruntime-gpu" else None
    if provider == "directml":
        return ("wrong", again) if runtime == "onnxruntime-directml" else ("absent", None)
    return "wrong", again


def _mend_cuda(runtime: str) -> str:
    install = f'{PIP} install "onnxruntime-gpu[cuda,cudnn]"'
    return install if runtime == "onnxruntime-gpu" else f"{PIP} uninstall -y {runtime} && {install}"


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
