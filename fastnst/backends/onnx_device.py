"""Accelerators that ONNX Runtime reaches: what each needs, and how it is set up.

Written from ONNX Runtime's documentation; see docs/providers.md for what was run where.
"""

import importlib
import io
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TypeAlias

import onnxruntime
from platformdirs import user_cache_path

from fastnst.backends.contract import OUTPUT, Array, Precision, Provider, UnavailableError
from fastnst.backends.cpu import CPU, ProviderEntry, open_session, placed_operators, plugin_devices, register_plugin
from fastnst.machine import has_nvidia_driver, install_line

Accelerator: TypeAlias = Literal["cuda", "tensorrt", "coreml", "directml", "webgpu"]

ORT_NAMES: dict[Accelerator, str] = {
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
    "webgpu": "WebGpuExecutionProvider",
}

PRECISIONS: dict[Accelerator, tuple[Precision, ...]] = {
    "cuda": ("float32",),
    "tensorrt": ("float16", "float32"),
    "coreml": ("float32",),
    "directml": ("float32",),
    "webgpu": ("float32",),
}
"""What each can compute in, fastest first."""

FIXED_SIZES_ONLY: frozenset[Accelerator] = frozenset({"tensorrt", "coreml"})
"""They compile the network for each size of picture; open sizes they leave to the CPU or compile again and again."""

DEVICE_MEMORY: dict[Accelerator, str] = {"cuda": "cuda", "tensorrt": "cuda"}
"""Where pictures are put for the accelerator, in ONNX Runtime's word. The others fetch them themselves."""

_NOT_BUILT_IN: dict[Accelerator, str] = {
    "cuda": "this ONNX Runtime was built without CUDA; {install} brings the one with it",
    "tensorrt": "this ONNX Runtime was built without TensorRT; {install} brings the one with it",
    "coreml": "this ONNX Runtime was built without Core ML, which exists on macOS only",
    "directml": (
        "this ONNX Runtime was built without DirectML; onnxruntime-directml, on Windows, takes an environment of its "
        "own (docs/providers.md)"
    ),
    "webgpu": "WebGPU is a package of its own; pip install onnxruntime-ep-webgpu brings it",
}

_NOT_LOADED: dict[Accelerator, str] = {
    "cuda": "ONNX Runtime could not load it; its CUDA and cuDNN libraries come with {install}",
    "tensorrt": "ONNX Runtime could not load it; its libraries come with pip install tensorrt",
    "coreml": "ONNX Runtime could not load it",
    "directml": "ONNX Runtime could not load it; it needs a GPU with DirectX 12",
    "webgpu": "no GPU was found for it; it needs one with a driver for Vulkan, DirectX 12 or Metal",
}


def _with_extra(reason: str) -> str:
    return reason.replace("{install}", install_line("gpu"))


def why_not_loaded(accelerator: Accelerator) -> str:
    """The usual reason why a session opens without the accelerator, and what to do."""
    return _with_extra(_NOT_LOADED[accelerator])


def prepare(accelerator: Accelerator) -> None:
    """Load what the accelerator needs. Raises UnavailableError: it cannot run here."""
    if accelerator == "webgpu":
        _prepare_webgpu()
    elif ORT_NAMES[accelerator] not in onnxruntime.get_available_providers():
        raise UnavailableError(_with_extra(_NOT_BUILT_IN[accelerator]))
    if accelerator in {"cuda", "tensorrt"}:
        _prepare_cuda()
    if accelerator == "tensorrt":
        # NVIDIA's Python package loads the libraries when it is imported; without it they may lie on the system.
        with suppress(ImportError):
            importlib.import_module("tensorrt")


def provider_entries(accelerator: Accelerator, precision: Precision, *, fixed: bool) -> Sequence[ProviderEntry]:
    """The execution providers to open a session with. `fixed`: the session is for one size of picture."""
    if accelerator == "tensorrt":
        return [(ORT_NAMES["tensorrt"], _tensorrt_options(precision)), *provider_entries("cuda", "float32", fixed=True)]
    if accelerator == "cuda":
        return [(ORT_NAMES["cuda"], _cuda_options(fixed))]
    if accelerator == "coreml":
        options = {"ModelFormat": "MLProgram", "MLComputeUnits": "ALL", "RequireStaticInputShapes": "1"}
        return [(ORT_NAMES["coreml"], options)]
    return [(ORT_NAMES[accelerator], {})]


def _cuda_options(fixed: bool) -> dict[str, str]:
    # Pictures of changing sizes: an exhaustive search would be made anew for each size (634 ms against 1.9 ms,
    # PaddleX#5057); for one size it pays. Memory grows by what is asked for, not to the next power of two.
    search = "EXHAUSTIVE" if fixed else "HEURISTIC"
    return {"cudnn_conv_algo_search": search, "arena_extend_strategy": "kSameAsRequested"}


def _tensorrt_options(precision: Precision) -> dict[str, str]:
    # Building an engine takes minutes: it is kept for the next time. TensorRT's cache knows network, size and GPU.
    folder = user_cache_path("fastnst", appauthor=False) / "tensorrt"
    folder.mkdir(parents=True, exist_ok=True)
    return {
        "trt_fp16_enable": "1" if precision == "float16" else "0",
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(folder),
    }


def _prepare_cuda() -> None:
    """Load CUDA's libraries; it takes a moment, so not where there can be no GPU."""
    if not has_nvidia_driver():
        raise UnavailableError("no NVIDIA driver was found")
    if hasattr(onnxruntime, "preload_dlls"):  # since 1.21
        # It finds the libraries in nvidia's Python packages, and prints what it does not find.
        with redirect_stdout(io.StringIO()):
            onnxruntime.preload_dlls()


_WEBGPU_PACKAGE = "onnxruntime_ep_webgpu"
_registering = threading.Lock()


def has_webgpu() -> bool:
    """Whether the package with WebGPU is installed; whether there is a GPU for it is another matter."""
    return find_spec(_WEBGPU_PACKAGE) is not None


def _prepare_webgpu() -> None:
    """Let ONNX Runtime load WebGPU, which is no part of it."""
    if not has_webgpu():
        raise UnavailableError(_NOT_BUILT_IN["webgpu"])
    with _registering:
        if ORT_NAMES["webgpu"] not in onnxruntime.get_available_providers():
            register_plugin("fastnst.webgpu", importlib.import_module(_WEBGPU_PACKAGE).get_library_path())
    # Without a GPU, ONNX Runtime would warn and compute on the CPU.
    if not plugin_devices(ORT_NAMES["webgpu"]):
        raise UnavailableError(_NOT_LOADED["webgpu"])


_Sizes: TypeAlias = tuple[tuple[str, tuple[int, ...]], ...]

# The same size for the third time: a film. Opening a session takes as long as some frames.
_REPEATS = 3
# Sessions for one size that are kept; each has memory of its own.
_KEPT = 2

_WORK = frozenset({"Conv", "ConvTranspose", "FusedConv", "NhwcConv", "MatMul", "Gemm"})
_PIXELS = _WORK | {
    "BatchNormalization",
    "GroupNormalization",
    "InstanceNormalization",
    "LayerNormalization",
    "Pad",
    "Relu",
    "Resize",
    "Upsample",
}


class DeviceBackend:
    """A network in ONNX Runtime on CUDA, TensorRT, Core ML, DirectML or WebGPU."""

    def __init__(
        self,
        path: Path,
        accelerator: Accelerator,
        *,
        precision: Precision = "float32",
        threads: int | None = None,
    ) -> None:
        """Open an ONNX file on an accelerator; `threads` are those of what stays on the CPU.

        Raises UnavailableError where it cannot run here, or ONNX Runtime would leave the work to the CPU; and ONNX
        Runtime's own errors.
        """
        prepare(accelerator)
        self.provider: Provider = accelerator
        self.precision: Precision = precision
        self.on_cpu: tuple[str, ...] = ()
        self._path, self._accelerator, self._threads = path, accelerator, threads
        if accelerator in FIXED_SIZES_ONLY:
            self._any_size = None
            self._nodes: Sequence[Any] = open_session(path, [CPU], 1).get_inputs()
        else:
            self._any_size = self._open(None)
            self._nodes = self._any_size.inputs
        self._fixed: OrderedDict[_Sizes, BoundSession] = OrderedDict()
        self._last: _Sizes | None = None
        self._repeats = 0
        # DirectML's sessions run in one thread at a time; bound memory serves one call at a time.
        self._lock = threading.Lock()

    def run(self, feeds: Mapping[str, Array]) -> Array:
        """Compute the output from the named inputs."""
        with self._lock:
            return self._session_for(feeds).run(feeds)

    def _session_for(self, feeds: Mapping[str, Array]) -> "BoundSession":
        sizes = tuple(sorted((name, array.shape) for name, array in feeds.items()))
        self._repeats = self._repeats + 1 if sizes == self._last else 1
        self._last = sizes
        if sizes in self._fixed:
            self._fixed.move_to_end(sizes)
            return self._fixed[sizes]
        if self._any_size is not None and self._repeats < _REPEATS:
            return self._any_size
        if len(self._fixed) >= _KEPT:
            self._fixed.popitem(last=False)
        self._fixed[sizes] = self._open_fixed(feeds)
        return self._fixed[sizes]

    def _open_fixed(self, feeds: Mapping[str, Array]) -> "BoundSession":
        try:
            return self._open(feeds)
        except Exception:  # no memory left for a second session, say
            if self._any_size is None:
                raise
            return self._any_size

    def _open(self, feeds: Mapping[str, Array] | None) -> "BoundSession":
        """Open a session, for the sizes of these feeds or for any, and check that the accelerator got it."""
        entries = provider_entries(self._accelerator, self.precision, fixed=feeds is not None)
        sizes = None if feeds is None else named_sizes(self._nodes, feeds)
        session = open_session(self._path, entries, self._threads, sizes)
        if session.get_providers()[0] != ORT_NAMES[self._accelerator]:
            raise UnavailableError(why_not_loaded(self._accelerator))
        self.on_cpu = left_to_cpu(session, [name for name, _ in entries])
        return BoundSession(session, DEVICE_MEMORY.get(self._accelerator))


def named_sizes(inputs: Sequence[Any], feeds: Mapping[str, Array]) -> dict[str, int]:
    """The sizes that the file leaves open, by the names it gives them (N, H, W), as these feeds have them.

    Open sizes without a name, or with one name for two sizes, stay open.
    """
    found: dict[str, set[int]] = {}
    for node in inputs:
        for name, size in zip(node.shape, feeds[node.name].shape, strict=True):
            if isinstance(name, str):
                found.setdefault(name, set()).add(size)
    return {name: sizes.pop() for name, sizes in found.items() if len(sizes) == 1}


def left_to_cpu(session: onnxruntime.InferenceSession, wanted: Sequence[str]) -> tuple[str, ...]:
    """Kinds of operators on whole pictures that the CPU got, sorted; the arithmetic of shapes is better off there.

    `wanted` are execution providers that are no CPU. Empty also where this ONNX Runtime cannot tell (before 1.24.1).
    Raises UnavailableError where convolutions are on the CPU, or nothing is on the accelerator.
    """
    placed = placed_operators(session)
    if placed is None:
        return ()
    mine = set().union(*(operators for name, operators in placed.items() if name in wanted))
    others = set().union(*(operators for name, operators in placed.items() if name not in wanted))
    if not mine or others & _WORK:
        work = ", ".join(sorted(others & _WORK)) or "everything"
        raise UnavailableError(f"it would leave {work} to the CPU; files of opset 17 or 18 suit it best")
    return tuple(sorted(others & _PIXELS))


class BoundSession:
    """A session whose inputs and output stay in the accelerator's memory from call to call."""

    def __init__(self, session: onnxruntime.InferenceSession, memory: str | None) -> None:
        """Take an open session. `memory`: where arrays are put, as ONNX Runtime calls it; None: where they are."""
        self.inputs: Sequence[Any] = session.get_inputs()
        self._session, self._memory = session, memory
        self._held: dict[str, Any] = {}
        self._binding = session.io_binding() if memory else None

    def run(self, feeds: Mapping[str, Array]) -> Array:
        """Compute the output from the named inputs; the result owns its memory."""
        if self._binding is None:
            plain: Array = self._session.run([OUTPUT], dict(feeds))[0]
            return plain.copy()
        for name, array in feeds.items():
            self._put(name, array)
        # Bound anew: the output may have another size than last time.
        self._binding.bind_output(OUTPUT, self._memory, 0)
        self._session.run_with_iobinding(self._binding)
        result: Array = self._binding.copy_outputs_to_cpu()[0]
        return result.copy()

    def _put(self, name: str, array: Array) -> None:
        assert self._binding is not None
        held = self._held.get(name)
        if held is None or tuple(held.shape()) != array.shape:
            held = onnxruntime.OrtValue.ortvalue_from_shape_and_type(array.shape, array.dtype.type, self._memory, 0)
            self._held[name] = held
        held.update_inplace(array)
        self._binding.bind_ortvalue_input(name, held)
