"""All that `fastnst doctor` looks at."""

import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from fastnst.diagnosis.devices import judge_cameras, judge_codecs, judge_providers, providers_of
from fastnst.diagnosis.files import judge_styles, judge_weights
from fastnst.diagnosis.findings import Diagnosis
from fastnst.diagnosis.installation import ONNX_RUNTIMES, PACKAGES, installed, judge_installation
from fastnst.diagnosis.probing import Answer, probe
from fastnst.machine.resources import has_nvidia_driver

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
