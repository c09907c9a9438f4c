"""Parts of a network, made by surgery, in ONNX Runtime."""

import os
from collections.abc import Mapping

import onnxruntime
from onnx import ModelProto

from fastnst.errors import InputError, SettingError
from fastnst.runtime.backend import Array, Provider

_NAMES: dict[Provider, str] = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_FATAL = 4


class Part:
    """A part of a network, opened to run; several threads may run it at once."""

    def __init__(self, model: ModelProto, provider: Provider = "cpu", threads: int = 1) -> None:
        """Open a part.

        Args:
            model: its graph.
            provider: what computes.
            threads: on the CPU, for each call of `run`.

        Raises:
            SettingError: the provider cannot run here.
        """
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _FATAL
        options.intra_op_num_threads = threads
        # An arena keeps the memory of the largest call, rounded up to a power of two.
        options.enable_cpu_mem_arena = False
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
        self._session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=[_NAMES[provider]])
        if self._session.get_providers()[0] != _NAMES[provider]:
            raise SettingError(f"provider {provider} cannot run here; cpu can")
        self._outputs = [node.name for node in self._session.get_outputs()]

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Compute all outputs, by name.

        Raises:
            InputError: ONNX Runtime failed: memory ran out, most likely.
        """
        try:
            values = self._session.run(self._outputs, dict(feeds))
        except Exception as error:  # ONNX Runtime's errors have no common base
            reason = (str(error).splitlines() or [type(error).__name__])[0][:160]
            raise InputError(f"a tile failed ({reason}); if memory ran out, take smaller tiles") from error
        return dict(zip(self._outputs, values, strict=True))


def evaluate(model: ModelProto, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Run a part once, on the CPU; raises InputError."""
    return Part(model).run(feeds)


def count_threads(threads: int | None) -> int:
    """Processors to use: as many as this process may, unless told."""
    if threads is not None:
        return threads
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
