"""Accelerators that ONNX Runtime reaches: what each needs, and how it is set up.

Written from ONNX Runtime's documentation; see docs/runtime.md for what was run where.
"""

import importlib
import io
from collections.abc import Sequence
from contextlib import redirect_stdout, suppress
from typing import Literal, TypeAlias

import onnxruntime
from platformdirs import user_cache_path

from fastnst.backends.backend import Precision, UnavailableError
from fastnst.backends.onnx_cpu import ProviderEntry
from fastnst.machine.resources import has_nvidia_driver

Accelerator: TypeAlias = Literal["cuda", "tensorrt", "coreml", "directml"]

ORT_NAMES: dict[Accelerator, str] = {
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
}

PRECISIONS: dict[Accelerator, tuple[Precision, ...]] = {
    "cuda": ("float32",),
    "tensorrt": ("float16", "float32"),
    "coreml": ("float32",),
    "directml": ("float32",),
}
"""What each can compute in, fastest first."""

FIXED_SIZES_ONLY: frozenset[Accelerator] = frozenset({"tensorrt", "coreml"})
"""They compile the network for each size of picture; open sizes they leave to the CPU or compile again and again."""

DEVICE_MEMORY: dict[Accelerator, str] = {"cuda": "cuda", "tensorrt": "cuda"}
"""Where pictures are put for the accelerator, in ONNX Runtime's word. The others fetch them themselves."""

_NOT_BUILT_IN: dict[Accelerator, str] = {
    "cuda": "this ONNX Runtime was built without CUDA; pip install onnxruntime-gpu is the one with it",
    "tensorrt": "this ONNX Runtime was built without TensorRT; pip install onnxruntime-gpu is the one with it",
    "coreml": "this ONNX Runtime was built without Core ML, which exists on macOS only",
    "directml": (
        "this ONNX Runtime was built without DirectML; onnxruntime-directml, on Windows, takes an environment of its "
        "own (docs/runtime.md)"
    ),
}

_NOT_LOADED: dict[Accelerator, str] = {
    "cuda": (
        "ONNX Runtime could not load it; its CUDA and cuDNN libraries come with "
        "pip install 'onnxruntime-gpu[cuda,cudnn]'"
    ),
    "tensorrt": "ONNX Runtime could not load it; its libraries come with pip install tensorrt",
    "coreml": "ONNX Runtime could not load it",
    "directml": "ONNX Runtime could not load it; it needs a GPU with DirectX 12",
}


def why_not_loaded(accelerator: Accelerator) -> str:
    """The usual reason why a session opens without the accelerator, and what to do."""
    return _NOT_LOADED[accelerator]


def prepare(accelerator: Accelerator) -> None:
    """Load what the accelerator needs.

    Raises:
        UnavailableError: it cannot run here.
    """
    if ORT_NAMES[accelerator] not in onnxruntime.get_available_providers():
        raise UnavailableError(_NOT_BUILT_IN[accelerator])
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
    return [(ORT_NAMES["directml"], {})]


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
