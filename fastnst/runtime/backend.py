"""What runs a network: one protocol, and ONNX Runtime as the first to keep it."""

import io
import os
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

import numpy.typing as npt
import onnxruntime

from fastnst.runtime.contract import Port

Provider: TypeAlias = Literal["cpu", "cuda"]
Array: TypeAlias = npt.NDArray[Any]

_ORT_NAMES: dict[Provider, str] = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_PROVIDER_OPTIONS: dict[Provider, dict[str, str]] = {
    "cpu": {},
    # Pictures of changing sizes: an exhaustive search would be made anew for each size. Memory grows by what is asked
    # for, not to the next power of two.
    "cuda": {"cudnn_conv_algo_search": "HEURISTIC", "arena_extend_strategy": "kSameAsRequested"},
}
_DTYPES = {"float": "float32", "double": "float64", "half": "float16"}
# ONNX Runtime's levels of severity: it writes to stderr itself, past every Python hook.
_WARNING, _FATAL = 2, 4


class UnavailableError(Exception):
    """A provider that cannot run here; the message is the reason, without a full stop."""


class Backend(Protocol):
    """A network file, opened to run."""

    provider: Provider
    """What really runs it."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    metadata: Mapping[str, str]

    def run(self, feeds: Mapping[str, Array]) -> Array:
        """Compute the output `stylized` from the named inputs."""
        ...


class OnnxBackend:
    """A network in ONNX Runtime."""

    def __init__(self, path: Path, provider: Provider, threads: int | None = None) -> None:
        """Open an ONNX file.

        Raises:
            UnavailableError: the provider cannot run here.
            Exception: ONNX Runtime's own, for a file that it cannot read.
        """
        if provider == "cuda":
            _prepare_cuda()
        self._session = _open(path, provider, threads)
        ran = self._session.get_providers()[0]
        if ran != _ORT_NAMES[provider]:
            raise UnavailableError(
                "ONNX Runtime could not load it; its CUDA and cuDNN libraries come with "
                "pip install 'onnxruntime-gpu[cuda,cudnn]'"
            )
        self.provider: Provider = provider
        self.inputs = tuple(_port(node) for node in self._session.get_inputs())
        self.outputs = tuple(_port(node) for node in self._session.get_outputs())
        self.metadata: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map

    def run(self, feeds: Mapping[str, Array]) -> Array:
        """Compute the output `stylized` from the named inputs."""
        result: Array = self._session.run(["stylized"], dict(feeds))[0]
        # ONNX Runtime's array lies inside its working memory and keeps all of that alive (3 GB for a 4K picture).
        return result.copy()


def _open(path: Path, provider: Provider, threads: int | None) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL
    # Memory laid out anew for each size of picture comes on top of what is there: a third more, and no faster.
    options.enable_mem_pattern = False
    options.intra_op_num_threads = _default_threads() if threads is None else threads
    # Numbers next to zero, as dark flat areas make them, slow some processors down thirty times (onnxruntime#7448).
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    providers = [(_ORT_NAMES[provider], _PROVIDER_OPTIONS[provider])]
    onnxruntime.set_default_logger_severity(_FATAL)
    try:
        # Without enable_fallback=0 ONNX Runtime prints, and goes on with another provider.
        return onnxruntime.InferenceSession(str(path), options, providers=providers, enable_fallback=0)
    finally:
        onnxruntime.set_default_logger_severity(_WARNING)


def _prepare_cuda() -> None:
    """Load what the CUDA provider needs; it takes a moment, so not where there can be no GPU."""
    if _ORT_NAMES["cuda"] not in onnxruntime.get_available_providers():
        raise UnavailableError("this ONNX Runtime was built without CUDA")
    if not _has_driver():
        raise UnavailableError("no NVIDIA driver was found")
    if hasattr(onnxruntime, "preload_dlls"):  # since 1.21
        # It finds the libraries in nvidia's Python packages, and prints what it does not find.
        with redirect_stdout(io.StringIO()):
            onnxruntime.preload_dlls()


def _has_driver() -> bool:
    import ctypes  # noqa: PLC0415 - only where a GPU is looked for

    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def _default_threads() -> int:
    """The processors that this process may use where they are fewer than the machine has; 0: ONNX Runtime chooses.

    It takes one thread a physical core, which is best, but does not see that a container or taskset allows less.
    """
    if not hasattr(os, "sched_getaffinity"):
        return 0
    allowed = len(os.sched_getaffinity(0))
    return allowed if allowed < (os.cpu_count() or allowed) else 0


def _port(node: Any) -> Port:
    dtype = node.type.removeprefix("tensor(").removesuffix(")")
    # Open sizes are names or None; a size of -1 in the file means the same.
    shape = tuple(size if isinstance(size, int) and size >= 0 else None for size in node.shape or ())
    return Port(node.name, _DTYPES.get(dtype, dtype), shape)
