"""A network in ONNX Runtime on an accelerator: never quietly on the CPU, and at one size of picture as fast as it can.

A session with open sizes serves pictures of changing sizes. When the same size comes again and again, as in films and
from webcams, a session is opened for that size alone: the arithmetic of shapes and paddings disappears from the
graph, and the accelerator may search for its fastest kernels. Core ML and TensorRT get only such sessions.
"""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import onnxruntime

from fastnst.backends.accelerators import (
    DEVICE_MEMORY,
    FIXED_SIZES_ONLY,
    ORT_NAMES,
    Accelerator,
    prepare,
    provider_entries,
    why_not_loaded,
)
from fastnst.backends.backend import Array, Precision, Provider, UnavailableError
from fastnst.backends.onnx_cpu import CPU, open_session, placed_operators

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
    """A network in ONNX Runtime on CUDA, TensorRT, Core ML or DirectML."""

    def __init__(
        self,
        path: Path,
        accelerator: Accelerator,
        *,
        precision: Precision = "float32",
        threads: int | None = None,
        output: str = "stylized",
    ) -> None:
        """Open an ONNX file.

        Args:
            path: the file.
            accelerator: where it is to run.
            precision: what it computes in.
            threads: of what stays on the CPU.
            output: the output that `run` computes.

        Raises:
            UnavailableError: the accelerator cannot run here, or ONNX Runtime would leave the work to the CPU.
            Exception: ONNX Runtime's own.
        """
        prepare(accelerator)
        self.provider: Provider = accelerator
        self.precision: Precision = precision
        self.on_cpu: tuple[str, ...] = ()
        self._path, self._accelerator, self._threads, self._output = path, accelerator, threads, output
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
        return BoundSession(session, self._output, DEVICE_MEMORY.get(self._accelerator))


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
    """Operators on whole pictures that the CPU got; the arithmetic of shapes is better off there and is not listed.

    Args:
        session: an open session.
        wanted: execution providers that are no CPU.

    Returns:
        Kinds of operators, sorted; empty also where this ONNX Runtime cannot tell (before 1.24.1).

    Raises:
        UnavailableError: convolutions are on the CPU, or nothing is on the accelerator.
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

    def __init__(self, session: onnxruntime.InferenceSession, output: str, memory: str | None) -> None:
        """Take an open session. `memory`: where arrays are put, as ONNX Runtime calls it; None: where they are."""
        self.inputs: Sequence[Any] = session.get_inputs()
        self._session, self._output, self._memory = session, output, memory
        self._held: dict[str, Any] = {}
        self._binding = session.io_binding() if memory else None

    def run(self, feeds: Mapping[str, Array]) -> Array:
        """Compute the output from the named inputs; the result owns its memory."""
        if self._binding is None:
            plain: Array = self._session.run([self._output], dict(feeds))[0]
            return plain.copy()
        for name, array in feeds.items():
            self._put(name, array)
        # Bound anew: the output may have another size than last time.
        self._binding.bind_output(self._output, self._memory, 0)
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
