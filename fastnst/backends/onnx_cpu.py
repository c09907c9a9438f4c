"""A network in ONNX Runtime on the CPU, and how ONNX Runtime's sessions are opened for any provider."""

import math
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnxruntime

from fastnst.backends.backend import MUCH_SMALLER, OUTPUT, Array, Precision, Provider, UnavailableError, first_line
from fastnst.backends.contract import Port
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
        """Open an ONNX file.

        Args:
            path: the file.
            threads: None: one for each physical core that may be used.

        Raises:
            Exception: ONNX Runtime's own, for a file that it cannot read.
        """
        self._session = open_session(path, [CPU], threads)
        self.inputs = tuple(_port(node) for node in self._session.get_inputs())
        self.outputs = tuple(_port(node) for node in self._session.get_outputs())
        self.metadata: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map
        self._largest = 0

    def run(self, feeds: Mapping[str, Array], *, limit_s: float = math.inf) -> Array:
        """Compute the output from the named inputs.

        Args:
            feeds: inputs by name.
            limit_s: seconds after which it is given up, between two operators.

        Raises:
            Exception: ONNX Runtime's own.
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

    Args:
        path: the file.
        providers: what may compute, in this order.
        threads: on the CPU; None: one for each physical core that may be used.
        sizes: open sizes of the inputs, by name (N, H, W), that are fixed for this session.

    Raises:
        Exception: ONNX Runtime's own.
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
