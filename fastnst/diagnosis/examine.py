"""All that `fastnst doctor` looks at."""

import sys
from concurrent.futures import ThreadPoolExecutor

from fastnst.diagnosis.devices import judge_cameras, judge_codecs, judge_providers, providers_of
from fastnst.diagnosis.files import judge_styles, judge_weights
from fastnst.diagnosis.findings import Report
from fastnst.diagnosis.installation import ONNX_RUNTIMES, PACKAGES, installed, judge_installation
from fastnst.diagnosis.probing import probe
from fastnst.runtime.nvidia import has_nvidia_driver

# Building TensorRT's first engine takes a while even for a tiny network.
_PATIENCE_S = {"tensorrt": 180}


def examine() -> Report:
    """Try everything, each thing in a process of its own, several at a time."""
    with ThreadPoolExecutor(4) as pool:
        imports = {package.module: pool.submit(probe, "import", package.module) for package in PACKAGES}
        providers = {
            provider: pool.submit(probe, "provider", provider, timeout_s=_PATIENCE_S.get(provider, 90))
            for provider in providers_of(sys.platform)
        }
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
    return Report(tuple(findings))
