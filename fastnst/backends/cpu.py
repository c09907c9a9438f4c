"""Networks on the processor, by ONNX Runtime or OpenVINO."""

import functools
import importlib
import importlib.util
import math
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
import onnxruntime

from fastnst.backends.contract import (
    MUCH_SMALLER,
    OUTPUT,
    Array,
    Port,
    Precision,
    Provider,
    UnavailableError,
    first_line,
)
from fastnst.machine import default_threads

ProviderEntry: TypeAlias = tuple[str, Mapping[str, str]]
"""An execution provider's name in ONNX Runtime, and its options."""

CPU: ProviderEntry = ("CPUExecutionProvider", {})

_DTYPES = {"float": "float32", "double": "float64", "half": "float16"}
# ONNX Runtime's levels of severity: it writes to stderr itself, past every Python hook.
_WARNING, _FATAL = 2, 4
# How long Ctrl-C waits for the operator that runs.
_LAST_OPERATOR_S = 2.0


class OnnxBackend:
    """A network in ONNX Runtime on the CPU."""

    provider: Provider = "cpu"
    precision: Precision = "float32"
    on_cpu: tuple[str, ...] = ()

    def __init__(self, path: Path, threads: int | None = None) -> None:
        """Open an ONNX file, with a thread for each physical core that may be used where none are given.

        Raises ONNX Runtime's own errors for a file that it cannot read.
        """
        self._session = open_session(path, [CPU], threads)
        self.inputs = tuple(_port(node) for node in self._session.get_inputs())
        self.outputs = tuple(_port(node) for node in self._session.get_outputs())
        self.metadata: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map
        self._largest = 0

    def run(self, feeds: Mapping[str, Array], *, limit_s: float = math.inf) -> Array:
        """Compute the output from the named inputs; given up, between two operators, after `limit_s` seconds.

        Raises ONNX Runtime's own errors.
        """
        size = max(array.size for array in feeds.values())
        options, self._largest = onnxruntime.RunOptions(), max(size, self._largest)
        if size * MUCH_SMALLER < self._largest:
            self._largest = size
            options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        with _ended_after(limit_s, options):
            result = _interruptible(lambda: self._session.run([OUTPUT], dict(feeds), options)[0], options)
        # ONNX Runtime's array lies inside its working memory and keeps all of that alive (3 GB for a 4K picture).
        return result.copy()


def _interruptible(run: Callable[[], Array], options: onnxruntime.RunOptions) -> Array:
    """Run in another thread, so that Ctrl-C does not wait for a large picture; a run goes on to its next operator.

    Only in the main thread, which alone gets Ctrl-C, and only where a new thread takes over how numbers next to zero
    are treated: on POSIX systems it does.
    """
    if os.name != "posix" or threading.current_thread() is not threading.main_thread():
        return run()
    done: Future[Array] = Future()

    def work() -> None:
        try:
            done.set_result(run())
        except BaseException as error:
            done.set_exception(error)

    thread = threading.Thread(target=work, name="network", daemon=True)
    thread.start()
    try:
        return done.result()
    except KeyboardInterrupt:
        options.terminate = True
        thread.join(_LAST_OPERATOR_S)
        raise


@contextmanager
def _ended_after(limit_s: float, options: onnxruntime.RunOptions) -> Iterator[None]:
    """End a run of ONNX Runtime that takes longer, for a file may hold a loop without end; raises TimeoutError."""
    if math.isinf(limit_s):
        yield
        return
    timer = threading.Timer(limit_s, setattr, (options, "terminate", True))
    timer.daemon = True
    timer.start()
    try:
        yield
    except Exception as error:
        if options.terminate:
            raise TimeoutError(f"no result within {limit_s:.0f} s") from error
        raise
    finally:
        timer.cancel()


def denormals_as_zero(options: Any) -> None:
    """Take numbers next to zero, as dark flat areas make them, as zero: they are up to thirty times as slow.

    That is onnxruntime#7448. It holds for the thread that calls, where NumPy before 2.4 warns when it first looks for
    the smallest of them: so it does before.
    """
    for kind in (np.float32, np.float64):
        np.finfo(kind)
    options.add_session_config_entry("session.set_denormal_as_zero", "1")


def open_session(
    path: Path,
    providers: Sequence[ProviderEntry],
    threads: int | None = None,
    sizes: Mapping[str, int] | None = None,
) -> onnxruntime.InferenceSession:
    """Open an ONNX file in ONNX Runtime, which neither prints nor goes on with another provider.

    What may compute stands in order. Threads on the CPU: None is one for each physical core that may be used. `sizes`
    are open sizes of the inputs, by name (N, H, W), that are fixed for this session. Raises ONNX Runtime's own errors.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL
    # Memory laid out anew for each size of picture comes on top of what is there: a third more, and no faster.
    # DirectML demands that it is off.
    options.enable_mem_pattern = False
    options.intra_op_num_threads = default_threads() if threads is None else threads
    denormals_as_zero(options)
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    for name, size in (sizes or {}).items():
        options.add_free_dimension_override_by_name(name, size)
    names = [name for name, _ in providers]
    if plugins := [device for name in names for device in plugin_devices(name)]:
        options.add_provider_for_devices(plugins, dict(providers[0][1]))
    onnxruntime.set_default_logger_severity(_FATAL)
    try:
        if plugins:  # named like the others, it would be left out without a word
            return onnxruntime.InferenceSession(str(path), options, enable_fallback=0)
        # Without enable_fallback=0 ONNX Runtime prints, and goes on with another provider.
        return onnxruntime.InferenceSession(
            str(path), options, providers=[(name, dict(more)) for name, more in providers], enable_fallback=0
        )
    finally:
        onnxruntime.set_default_logger_severity(_WARNING)


def register_plugin(name: str, library: str) -> None:
    """Have ONNX Runtime load an execution provider that is no part of it; raises UnavailableError where it cannot."""
    if not hasattr(onnxruntime, "register_execution_provider_library"):  # new in 1.23
        raise UnavailableError(f"ONNX Runtime {onnxruntime.__version__} loads none; update onnxruntime")
    onnxruntime.set_default_logger_severity(_FATAL)
    try:
        onnxruntime.register_execution_provider_library(name, library)
    except Exception as error:  # ONNX Runtime's errors have no common base
        raise UnavailableError(f"ONNX Runtime could not load it ({first_line(error)})") from error
    finally:
        onnxruntime.set_default_logger_severity(_WARNING)


def plugin_devices(provider: str) -> list[Any]:
    """What a provider that is no part of ONNX Runtime computes on: one device, or none; none for the others."""
    if provider != "WebGpuExecutionProvider" or not hasattr(onnxruntime, "get_ep_devices"):
        return []
    return [device for device in onnxruntime.get_ep_devices() if device.ep_name == provider][:1]


def placed_operators(session: onnxruntime.InferenceSession) -> dict[str, set[str]] | None:
    """Return kinds of operators by the execution provider that got them; None: this ONNX Runtime cannot tell."""
    if not hasattr(session, "get_provider_graph_assignment_info"):  # new in 1.24.1
        return None
    placed: dict[str, set[str]] = {}
    for part in session.get_provider_graph_assignment_info():
        placed.setdefault(part.ep_name, set()).update(node.op_type for node in part.get_nodes())
    return placed


def _port(node: Any) -> Port:
    dtype = node.type.removeprefix("tensor(").removesuffix(")")
    # Open sizes are names or None; a size of -1 in the file means the same.
    shape = tuple(size if isinstance(size, int) and size >= 0 else None for size in node.shape or ())
    return Port(node.name, _DTYPES.get(dtype, dtype), shape)


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
        """Open an ONNX file to compute in a precision; inputs and output are as in the file.

        Threads: None is one for each physical core that may be used. Raises UnavailableError where the package is not
        installed or cannot read this network.
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
