"""WebGPU: on a software adapter, which Debian's Chromium brings, and what is said where there is no GPU."""

import os
import subprocess
import sys
from pathlib import Path

import onnxruntime
import pytest

from fastnst.backends import onnx_device
from fastnst.backends.contract import UnavailableError
from fastnst.backends.onnx_device import prepare

SOFTWARE = Path("/usr/lib/chromium/vk_swiftshader_icd.json")

PAINT = """
import sys
from pathlib import Path
import numpy as np
from fastnst.backends.choosing import NetworkFile, open_backend, test_picture
from fastnst.backends.opening import feeds_of, open_on_cpu
from fastnst.backends.contract import read_contract
from fastnst.io.styles import bundled_styles_folder

for path in [bundled_styles_folder() / f"{name}.onnx" for name in sys.argv[1:]]:
    cpu = open_on_cpu(path, 1)
    contract = read_contract(path, cpu.inputs, cpu.outputs, cpu.metadata)
    feeds = feeds_of(contract, test_picture())
    expected = cpu.run(feeds)
    backend = open_backend(NetworkFile(path, lambda frames: feeds_of(contract, frames), threads=1), "webgpu", expected)
    assert backend.provider == "webgpu"
    print(path.stem, int(np.abs(backend.run(feeds).astype(int) - expected).max()), *backend.on_cpu)
"""


@pytest.mark.slow
@pytest.mark.skipif(not SOFTWARE.is_file(), reason="no software adapter; apt-get install chromium brings one")
def test_a_shipped_network_paints_as_on_the_cpu() -> None:
    # The quickest one: in software, each of the others takes half a minute (all were within 1 level, docs/runtime.md).
    names = ["starry-live"]
    pytest.importorskip("onnxruntime_ep_webgpu", reason="pip install onnxruntime-ep-webgpu")
    software = {
        "VK_DRIVER_FILES": str(SOFTWARE),
        "LD_LIBRARY_PATH": str(SOFTWARE.parent),
        "ORT_WEBGPU_EP_ALLOW_SOFTWARE_ADAPTER": "1",
    }
    painted = subprocess.run(
        [sys.executable, "-c", PAINT, *names], env=os.environ | software, capture_output=True, text=True, check=False
    )
    assert painted.returncode == 0, painted.stderr
    differences = dict(line.split(maxsplit=1) for line in painted.stdout.splitlines())
    assert list(differences) == names
    assert set(differences.values()) <= {"0", "1"}


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_device, "has_webgpu", lambda: False)
    with pytest.raises(UnavailableError, match="pip install onnxruntime-ep-webgpu"):
        prepare("webgpu")


def test_without_a_gpu_it_is_refused_and_not_left_to_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_device, "has_webgpu", lambda: True)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["WebGpuExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "get_ep_devices", list, raising=False)
    with pytest.raises(UnavailableError, match="no GPU was found for it"):
        prepare("webgpu")


def test_an_onnx_runtime_too_old_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(onnxruntime, "register_execution_provider_library", raising=False)
    with pytest.raises(UnavailableError, match="update onnxruntime"):
        onnx_device.register_plugin("fastnst.test", "none.so")
