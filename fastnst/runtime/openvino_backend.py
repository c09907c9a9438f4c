"""A network in OpenVINO on the CPU: faster than ONNX Runtime there, twice so where the CPU computes in bfloat16."""

import importlib
import importlib.util
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastnst.runtime.backend import MUCH_SMALLER, Array, Precision, Provider, UnavailableError, first_line
from fastnst.runtime.cores import default_threads

# OpenVINO's words for what the CPU can do, and for what a network is to compute in.
_CAPABILITIES: dict[str, Precision] = {"BF16": "bfloat16", "FP16": "float16"}
_HINTS: dict[Precision, str] = {"bfloat16": "bf16", "float16": "f16", "float32": "f32"}


class OpenVinoBackend:
    """A network in OpenVINO."""

    provider: Provider = "openvino"
    on_cpu: tuple[str, ...] = ()

    def __init__(
        self, path: Path, *, precision: Precision = "float32", threads: int | None = None, output: str = "stylized"
    ) -> None:
        """Open an ONNX file.

        Args:
            path: the file.
            precision: what it computes in; inputs and output are as in the file.
            threads: None: one for each physical core that may be used.
            output: the output that `run` computes.

        Raises:
            UnavailableError: the package is not installed, or cannot read this network.
        """
        core = _core()
        settings: dict[str, object] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
            "INFERENCE_NUM_THREADS": default_threads() if threads is None else threads,
            # Beside a decoder, an encoder or a camera, a thread bound to a core waits for it though others are free.
            "ENABLE_CPU_PINNING": False,
            # Numbers next to zero, as dark flat areas make them, slow some processors down thirty times.
            "CPU_DENORMALS_OPTIMIZATION": True,
        }
        try:
            compiled = core.compile_model(core.read_model(path), "CPU", settings)
            self._output = compiled.output(output)
        except Exception as error:  # OpenVINO's errors are RuntimeErrors of many kinds
            raise UnavailableError(f"OpenVINO cannot read this network ({first_line(error)})") from error
        self.precision: Precision = precision
        self._compiled, self._request = compiled, compiled.create_infer_request()
        self._largest = 0
        # A request serves one call at a time, and takes all threads anyway.
        self._lock = threading.Lock()

    def run(self, feeds: Mapping[str, Array]) -> Array:
        """Compute the output from the named inputs."""
        size = max(array.size for array in feeds.values())
        with self._lock:
            if size * MUCH_SMALLER < self._largest:
                self._compiled.release_memory()
                self._largest = 0
            self._largest = max(size, self._largest)
            results = self._request.infer(dict(feeds), share_inputs=True, share_outputs=True)
            result: Array = results[self._output]
            return result.copy()


def openvino_precisions() -> tuple[Precision, ...]:
    """What this CPU computes in, fastest first; raises UnavailableError where OpenVINO is not installed."""
    found = _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return (*(precision for word, precision in _CAPABILITIES.items() if word in found), "float32")


def _core() -> Any:
    if importlib.util.find_spec("openvino") is None:
        raise UnavailableError("not installed; pip install openvino")
    try:
        return importlib.import_module("openvino").Core()
    except Exception as error:  # a library of the system that is missing, or another one of the same name
        raise UnavailableError(f"the openvino package does not load ({first_line(error)})") from error
