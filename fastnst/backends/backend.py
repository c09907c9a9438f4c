"""What runs a network: one method, whatever is behind it. No back-end is imported here.

ONNX Runtime on the CPU: onnx_cpu.py; on an accelerator: onnx_device.py; OpenVINO: openvino_cpu.py. Which one is taken:
choosing.py.
"""

import re
from collections.abc import Mapping
from typing import Any, Literal, Protocol, TypeAlias, get_args

import numpy.typing as npt

Provider: TypeAlias = Literal["cpu", "cuda", "tensorrt", "openvino", "coreml", "directml", "webgpu"]
ProviderChoice: TypeAlias = Literal["auto", "cpu", "cuda", "tensorrt", "openvino", "coreml", "directml", "webgpu"]
Precision: TypeAlias = Literal["float32", "float16", "bfloat16"]
Array: TypeAlias = npt.NDArray[Any]

PROVIDERS: tuple[Provider, ...] = get_args(Provider)

OUTPUT = "stylized"
"""What the contract calls the output of a network."""


class UnavailableError(Exception):
    """A provider that cannot run here; the message is the reason, without a full stop."""


MUCH_SMALLER = 16
"""A picture so many times smaller than the largest before it: memory that the large one took is given back."""


class Backend(Protocol):
    """A network file, opened to run. Calls from several threads at once are safe."""

    provider: Provider
    """What really runs it."""

    precision: Precision
    """What it computes in; inputs and outputs are the same in all of them."""

    on_cpu: tuple[str, ...]
    """Operators on whole pictures that an accelerator leaves to the CPU, such as Pad; empty if it has them all."""

    def run(self, feeds: Mapping[str, Array]) -> Array:
        """Compute the stylized pictures from the named inputs."""
        ...


# A line of ONNX Runtime's own sources, and the function that stands there.
_SOURCE_PLACE = re.compile(r"^/?\S+\.(?:cc|cpp|h):\d+ (?:[\w:<>~ ,*&]+\(.*?\)(?: const)? )?")


def first_line(error: BaseException) -> str:
    """Say what went wrong in one line: back-ends' errors run over many, with source files and stack traces."""
    text = str(error).strip()
    words = text.splitlines()[0] if text else type(error).__name__
    words = words.rsplit("failed:", 1)[-1].removeprefix("[ONNXRuntimeError] : ")
    return _SOURCE_PLACE.sub("", words).strip()[:300]
