"""Which arithmetic networks run in, float32 or, where the processor computes in it, bfloat16; on what; what is kept."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from fastnst.errors import SettingError
from fastnst.losses.settings import Precision
from fastnst.machine import processor_name


def resolve_precision(precision: Precision, device: torch.device) -> torch.dtype | None:
    """Choose the type for `autocast`: torch.bfloat16, or None for plain float32.

    auto takes bfloat16 only where the hardware has instructions for it; emulated, it is slower than float32.
    Raises SettingError for a word that is no precision.
    """
    if precision == "float32":
        return None
    if precision == "bfloat16":
        return torch.bfloat16
    if precision != "auto":
        raise SettingError(f"precision {precision!r} is unknown; expected auto, float32 or bfloat16")
    return torch.bfloat16 if has_bfloat16(device) else None


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device computes convolutions in bfloat16 natively."""
    if device.type == "cuda":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        # Private to torch and so perhaps gone one day: then the answer is no. torch.ops.mkldnn's own question is no
        # help: it also says yes to processors that only emulate.
        questions = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(bool(getattr(torch.cpu, question, bool)()) for question in questions)
    return False


def autocast(device: torch.device, dtype: torch.dtype | None) -> AbstractContextManager[object]:
    """Context in which networks compute in `dtype`; None, as resolve_precision gives it, changes nothing."""
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype=dtype)


def hardware(device: torch.device, dtype: torch.dtype | None = None) -> str:
    """Say in words what computes and in which arithmetic, for cards and reports."""
    arithmetic = str(dtype or torch.float32).removeprefix("torch.")
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, {arithmetic}"
    if device.type != "cpu":
        return f"{device.type}, {arithmetic}"
    threads = torch.get_num_threads()
    return f"{processor_name()}, {threads} thread{'' if threads == 1 else 's'}, {arithmetic}"


def kept_bytes(evaluate: Callable[[], object], weights: Iterable[Tensor] = ()) -> int:
    """Bytes of all that autograd keeps in one evaluation, some weights aside."""
    aside = {id(weight) for weight in weights}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        if id(tensor) not in aside:
            storage = tensor.untyped_storage()
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor):
        losses = evaluate()
    # Until here all of it was alive, so that no address stands for two.
    del losses
    return sum(kept.values())
