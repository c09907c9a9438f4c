import pytest
import torch

from fastnst.errors import SettingError
from fastnst.losses.weights import autocast, hardware, has_bfloat16, resolve_precision

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
QUESTIONS = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")


@pytest.mark.parametrize("answers", [(True, False), (False, True), (False, False)])
def test_auto_takes_bfloat16_where_the_processor_has_it(
    answers: tuple[bool, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    for question, answer in zip(QUESTIONS, answers, strict=True):
        monkeypatch.setattr(torch.cpu, question, lambda answer=answer: answer, raising=False)
    assert resolve_precision("auto", CPU) == (torch.bfloat16 if any(answers) else None)


def test_auto_stays_in_float32_where_torch_cannot_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    for question in QUESTIONS:
        monkeypatch.delattr(torch.cpu, question, raising=False)
    assert not has_bfloat16(CPU)


@pytest.mark.parametrize("supported", [True, False])
def test_auto_on_cuda(supported: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: supported)
    assert resolve_precision("auto", CUDA) == (torch.bfloat16 if supported else None)


def test_without_cuda_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert not has_bfloat16(CUDA)
    assert not has_bfloat16(torch.device("mps"))


def test_what_is_asked_for_is_taken() -> None:
    assert resolve_precision("float32", CPU) is None
    assert resolve_precision("bfloat16", CPU) is torch.bfloat16
    with pytest.raises(SettingError, match="precision 'half' is unknown; expected auto, float32 or bfloat16"):
        resolve_precision("half", CPU)


def test_autocast_computes_in_what_it_is_given() -> None:
    square = torch.ones(2, 2)
    with autocast(CPU, torch.bfloat16):
        assert (square @ square).dtype == torch.bfloat16
    with autocast(CPU, None):
        assert (square @ square).dtype == torch.float32


def test_hardware_names_arithmetic_and_threads() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert hardware(CPU, torch.bfloat16).endswith(", 1 thread, bfloat16")
        torch.set_num_threads(2)
        assert hardware(CPU).endswith(", 2 threads, float32")
    finally:
        torch.set_num_threads(before)
    assert hardware(CPU).endswith("float32")
    assert hardware(torch.device("mps")) == "mps, float32"
