"""A network in OpenVINO on the CPU: faster than ONNX Runtime there, twice so where the CPU computes in bfloat16."""

import functools
import importlib
import importlib.util
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from fastnst.backends.backend import MUCH_SMALLER, OUTPUT, Array, Precision, Provider, UnavailableError, first_line
from fastnst.machine import default_threads

# OpenVINO's words for what the CPU can do, and for what a network is to compute in.
_CAPABILITIES: dict[str, Precision] = {"BF16": "bfloat16", "FP16": "float16"}
# What OpenVINO keeps prepared, for each layer and size of picture, least recently used first out; its own limit is
# 5000. After 400 sizes up to 240x240 starry-live has grown by 67 MB with this one and by 115 MB with that.
_KEPT_PREPARED = 512
_HINTS: dict[Precision, str] = {"bfloat16": "bf16", "float16": "f16", "float32": "f32"}


class OpenVinoBackend:
    """A network in OpenVINO."""

    provider: Provider = "openvino"
    on_cpu: tuple[str, ...] = ()

    def __init__(self, path: Path, *, precision: Precision = "float32", threads: int | None = None) -> None:
        """Open an ONNX file.

        Args:
            path: the file.
            precision: what it computes in; inputs and output are as in the file.
            threads: None: one for each physical core that may be used.

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
            "CPU_RUNTIME_CACHE_CAPACITY": str(_KEPT_PREPARED),
        }
        try:
            compiled = core.compile_model(_settle_layouts(core.read_model(path)), "CPU", settings)
            self._output = compiled.output(OUTPUT)
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


def _settle_layouts(model: Any) -> Any:
    """Let what scales and shifts channels, (1, C, 1, 1), come out of convolutions with ones where it is an input's.

    OpenVINO keeps pictures with the channels innermost, as its convolutions give them; but where a factor is no
    constant it turns the picture round before the product and back after it, which takes longer than a convolution.
    A factor that a convolution gives has the right layout already.
    """
    if len(model.inputs) == 1:
        return model
    operators = importlib.import_module("openvino.opset13")
    depends: dict[str, set[str]] = {}
    for node in model.get_ordered_ops():
        sources = [given.get_source_output() for given in node.inputs()]
        # A Reshape's second input is but a shape, often the picture's.
        names = [source.get_node().get_friendly_name() for source in sources][: 1 if _kind(node) == "Reshape" else None]
        depends[node.get_friendly_name()] = set().union(*(depends[name] for name in names))
        if _kind(node) == "Parameter":
            depends[node.get_friendly_name()] = set(node.output(0).get_names())
        for given, source in zip(node.inputs(), sources, strict=True):
            needed = depends[source.get_node().get_friendly_name()]
            if _kind(node) in {"Add", "Multiply"} and _per_channel(source) and needed and "frame" not in needed:
                ones = operators.constant(np.ones((source.get_shape()[1], 1, 1, 1, 1), np.float32))
                same = operators.group_convolution(source, ones, [1, 1], [0, 0], [0, 0], [1, 1])
                given.replace_source_output(same.output(0))
    return model


def _kind(node: Any) -> str:
    return str(node.get_type_name())


def _per_channel(value: Any) -> bool:
    if not value.get_partial_shape().is_static:
        return False
    shape = list(value.get_shape())
    return len(shape) == 4 and shape[1] > 1 and shape == [1, shape[1], 1, 1]


def openvino_precisions() -> tuple[Precision, ...]:
    """What this CPU computes in, fastest first; raises UnavailableError where OpenVINO is not installed."""
    found = _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return (*(precision for word, precision in _CAPABILITIES.items() if word in found), "float32")


def _core() -> Any:
    if importlib.util.find_spec("openvino") is None:
        raise UnavailableError("not installed; pip install openvino")
    try:
        return _core_of(import_openvino())
    except Exception as error:  # a library of the system that is missing, or another one of the same name
        raise UnavailableError(f"the openvino package does not load ({first_line(error)})") from error


def import_openvino() -> ModuleType:
    """Import OpenVINO without its reports to its makers: they are a package of their own, and it does without."""
    name = "openvino_telemetry"
    if name in sys.modules or "openvino" in sys.modules:  # somebody else's choice
        return importlib.import_module("openvino")
    sys.modules[name] = None  # type: ignore[assignment]  # how Python marks a module that cannot be imported
    try:
        return importlib.import_module("openvino")
    finally:
        sys.modules.pop(name, None)


@functools.cache
def _core_of(openvino: ModuleType) -> Any:
    """One core, kept until the process ends.

    With a core OpenVINO (2026.4) gives the thread that makes it a stack for signals, and takes the memory back with the
    core; where another thread lets go of it, the next Ctrl-C would crash the first one.
    """
    return openvino.Core()
