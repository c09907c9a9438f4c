"""Parts of a network, made by surgery, in ONNX Runtime."""

import os
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import numpy as np
import onnxruntime
from onnx import ModelProto

from fastnst.backends.accelerators import Accelerator, prepare, provider_entries, why_not_loaded
from fastnst.backends.backend import Array, UnavailableError, first_line
from fastnst.backends.onnx_cpu import CPU, ProviderEntry
from fastnst.errors import InputError, SettingError, StyleError
from fastnst.machine.resources import check_threads, default_threads

TileProvider: TypeAlias = Literal["cpu", "cuda"]

_FATAL = 4


class Part:
    """A part of a network, opened to run; several threads may run it at once."""

    def __init__(self, model: ModelProto, provider: TileProvider = "cpu", threads: int = 1) -> None:
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
        options.enable_mem_pattern = False
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
        entries = [CPU] if provider == "cpu" else [*_entries(provider), CPU]
        self._session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=entries)
        if self._session.get_providers()[0] != entries[0][0]:
            raise SettingError(f"provider {provider} cannot run here: {why_not_loaded('cuda')}")
        self._outputs = [node.name for node in self._session.get_outputs()]

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Compute all outputs, by name.

        Raises:
            InputError: ONNX Runtime failed: memory ran out, most likely.
            StyleError: it gave NaN, which would end as a black picture.
        """
        try:
            values = self._session.run(self._outputs, dict(feeds))
        except Exception as error:  # ONNX Runtime's errors have no common base
            raise InputError(f"a tile failed ({first_line(error)}); if memory ran out, take smaller tiles") from error
        if any(value.dtype.kind == "f" and np.isnan(value).any() for value in values):
            raise StyleError(
                "the network gave numbers that are none (NaN) on a part of this picture; nothing is written. Its "
                "weights are damaged, or leave the range of these numbers: try another network"
            )
        return dict(zip(self._outputs, values, strict=True))


def evaluate(model: ModelProto, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Run a part once, on the CPU; raises InputError."""
    return Part(model).run(feeds)


def count_threads(threads: int | None) -> int:
    """Threads to use: as many as this process may, unless a number is given."""
    check_threads(threads)
    return threads or default_threads() or os.cpu_count() or 1


def _entries(provider: Accelerator) -> Sequence[ProviderEntry]:
    try:
        prepare(provider)
    except UnavailableError as error:
        raise SettingError(f"provider {provider} cannot run here: {error}; cpu can") from error
    return provider_entries(provider, "float32", fixed=False)
